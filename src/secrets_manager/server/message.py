"""Requests and responses, as handlers see them."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

TEXT = "text/plain; charset=utf-8"

Header = tuple[bytes, bytes]


class Request:
    """A GET or HEAD request. Its repr does not show the headers, which may hold a token."""

    __slots__ = ("headers", "path", "query")

    def __init__(self, path: str, *, query: bytes = b"", headers: tuple[Header, ...] = ()) -> None:
        self.path = path
        """The path of the route, which is what is authorized."""
        self.query = query
        self.headers = headers
        """With names in lower case."""

    def __repr__(self) -> str:
        return f"Request({self.path})"

    def header(self, name: bytes) -> list[bytes]:
        """Return the values of all headers of this name, in lower case."""
        return [value for key, value in self.headers if key == name]


class Response(NamedTuple):
    """A whole response."""

    status: int
    body: bytes = b""
    content_type: str = TEXT
    headers: tuple[Header, ...] = ()


Handler = Callable[[Request], Awaitable[Response]]


def immediate(respond: Callable[[Request], Response]) -> Handler:
    """Make a handler of a function that does not wait."""

    async def handle(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return respond(request)

    return handle
