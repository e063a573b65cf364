"""One request and its whole answer, in the plainest form: to make httpx's own takes a fifth of a small request.

Neither repr tells anything that may be secret.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import httpx

Headers = list[tuple[bytes, bytes]]


class Server(NamedTuple):
    """Whom to connect to; without a port, the scheme's own."""

    scheme: bytes
    host: bytes
    port: int | None


class Request(NamedTuple):
    """The timeout, in seconds, is httpx's: for connecting and for each wait for bytes."""

    server: Server
    method: str
    target: bytes
    """Path and query."""
    headers: Headers
    content: bytes
    timeout: Mapping[str, float | None]

    def __repr__(self) -> str:
        return f"Request({self.method})"


class Answer(NamedTuple):
    """What a server said, to the last byte."""

    status: int
    raw_headers: Headers
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"

    @property
    def headers(self) -> httpx.Headers:
        """By name, whatever its case."""
        return httpx.Headers(self.raw_headers)


class Lane(Protocol):
    """A way to a server, for one request at a time."""

    async def exchange(self, request: Request, *, at_most: int) -> Answer:
        """Raises: httpx.TransportError, among them ReplyTooLarge for a body of more than `at_most` bytes."""

    async def aclose(self) -> None:
        """Leave no connection behind."""
