"""An HTTP client for one server, on any transport of httpx's: what Kubernetes and Vault are asked by.

A whole exchange has one deadline, since httpx's timeouts start again with each byte that drips in. A response has a
largest size, and comes uncompressed, so that its size is what it seems. What fails is an HttpError of errors.py.
`httpx.AsyncClient` would add cookies, redirects, merging and hooks, which cost as much again as a whole request.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import NamedTuple
from urllib.parse import urlencode

import httpx
import trio

from secrets_manager.net.errors import MalformedResponse, ResponseTooLarge, TimedOut, Translated

IDENTITY = "identity"
"""The content coding of what is not compressed."""

_parsed = lru_cache(maxsize=256)(httpx.URL)
"""Listings, creations and probes repeat their URLs, and to parse one is a tenth of a request's cost."""


class Response(NamedTuple):
    """A whole response, whatever its status."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_success(self) -> bool:
        return httpx.codes.is_success(self.status)

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"


class Chunks(AsyncIterator[bytes]):
    """Those of a body; what fails is an HttpError."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    async def __anext__(self) -> bytes:
        with Translated():
            return await anext(self._chunks)

    async def aclose(self) -> None:
        """Close an iterator that must be closed: one of httpx's own bodies is an async generator."""
        match self._chunks:
            case AsyncGenerator() as generator:
                await generator.aclose()
            case _:
                pass


class StreamedResponse:
    """A response whose head has come. `chunks` are its body: to be read once, and cut anywhere.

    `credential` is that of the request. A server, or a proxy, that quotes it in an error is not passed on.
    """

    def __init__(self, response: httpx.Response, credential: str = "") -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self.status = response.status_code
        self.headers = response.headers
        self.chunks = Chunks(aiter(response.stream))
        self._stream = response.stream
        self._credential = credential.encode()

    def __repr__(self) -> str:
        return f"StreamedResponse({self.status})"

    @property
    def is_success(self) -> bool:
        return httpx.codes.is_success(self.status)

    async def read(self, *, max_body: int) -> bytes:
        """Read all that is left; nothing of an error that has the credential in it.

        Raises: ResponseTooLarge past `max_body` bytes.
        """
        body = BytesIO()  # it hands over what it has gathered without a copy
        async for chunk in self.chunks:
            body.write(chunk)
            if body.tell() > max_body:
                raise ResponseTooLarge(f"the response is longer than {max_body} bytes")
        whole = body.getvalue()
        return b"" if not self.is_success and self._credential and self._credential in whole else whole

    async def aclose(self) -> None:
        """Give the connection back where the body has ended, else close it."""
        await self.chunks.aclose()
        await self._stream.aclose()


class Authorization(ABC):
    """Who we are, by the header Authorization."""

    @abstractmethod
    async def present(self) -> str:
        """Return the header's value; empty for none."""

    @abstractmethod
    async def renewed(self, refused: str) -> str:
        """Return another one in place of one that was answered with 401."""


class HttpClient:
    """Sends requests to one server.

    `headers` go with every request. `timeout`, in seconds, is httpx's: for connecting, and for each wait for bytes.
    `deadline`, in seconds, is that of a whole exchange, without what authorization takes; `max_body` is in bytes. A
    request that is answered with 401 is sent once more, with renewed authorization. `transport.aclose` closes idle
    connections, and leaves it fit for use.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        base_url: httpx.URL | str,
        headers: Iterable[tuple[str, str]] = (),
        timeout: float | None = None,
        deadline: float = 60.0,
        max_body: int = 64 * 1024 * 1024,
        authorization: Authorization | None = None,
    ) -> None:
        self._transport = transport
        self._base_url = str(httpx.URL(base_url).copy_with(username=None, password=None)).rstrip("/")
        self._headers = [
            (b"Host", httpx.URL(base_url).netloc),
            (b"Accept-Encoding", IDENTITY.encode()),
            *_encoded(headers),
        ]
        self._timeout = timeout
        self._timeouts = httpx.Timeout(timeout).as_dict()
        self._deadline = deadline
        self._max_body = max_body
        self._authorization = authorization

    def __repr__(self) -> str:
        return f"HttpClient({self._base_url})"

    async def aclose(self) -> None:
        """Close what is idle. What is under way goes on, and other requests may follow."""
        await self._transport.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
    ) -> Response:
        """Return the whole response. `path` is encoded, and follows the base URL's.

        Raises: HttpError, and what the authorization raises.
        """
        request = self._request(method, path, query, headers, content=content, read_timeout=self._timeout)
        with trio.CancelScope() as limit:
            async with aclosing(await self._open(request, limit, within=self._deadline)) as response:
                return Response(response.status, response.headers, await response.read(max_body=self._max_body))
        raise TimedOut(f"no whole response within {self._deadline:g} s")

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        silence: float,
    ) -> AsyncGenerator[StreamedResponse]:
        """Yield the response when its head has come; its connection is closed where the block is left before its end.

        `silence`, in seconds, is how long the body may bring nothing.
        Raises: as `request`, also where the chunks are read.
        """
        request = self._request(method, path, query, headers, read_timeout=silence)
        with trio.CancelScope() as limit:
            async with aclosing(await self._open(request, limit, within=self._timeout or math.inf)) as response:
                limit.deadline = math.inf
                yield response
        if limit.cancelled_caught:
            raise TimedOut(f"no response within {self._timeout:g} s")

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None = None,
        *,
        content: bytes = b"",
        read_timeout: float | None,
    ) -> httpx.Request:
        url = f"{self._base_url}{path}?{urlencode(query)}" if query else f"{self._base_url}{path}"
        with Translated():
            target = _parsed(url)
        own = [(b"Content-Length", b"%d" % len(content))] if content else []
        return httpx.Request(
            method,
            target,
            headers=[*self._headers, *_encoded((headers or {}).items()), *own],
            stream=httpx.ByteStream(content),
            extensions={"timeout": {**self._timeouts, "read": read_timeout}},
        )

    async def _open(self, request: httpx.Request, limit: trio.CancelScope, *, within: float) -> StreamedResponse:
        """Send a request, and wait for the head of its response: `limit` ends so many seconds after it was sent."""
        if self._authorization is None:
            return await self._send(request, limit, within)
        used = await self._authorization.present()
        _authorize(request, used)
        response = await self._send(request, limit, within)
        if response.status != HTTPStatus.UNAUTHORIZED:
            return response
        limit.deadline = math.inf
        await response.aclose()
        await self._transport.aclose()  # a refused client certificate stays with its connection
        _authorize(request, await self._authorization.renewed(used))
        return await self._send(request, limit, within)

    async def _send(self, request: httpx.Request, limit: trio.CancelScope, within: float) -> StreamedResponse:
        limit.deadline = trio.current_time() + within
        with Translated():
            response = StreamedResponse(await self._transport.handle_async_request(request), _credential(request))
        if response.headers.get("Content-Encoding", IDENTITY) != IDENTITY:
            await response.aclose()
            raise MalformedResponse("the response is compressed, which was not asked for")
        return response


def _authorize(request: httpx.Request, authorization: str) -> None:
    if authorization:
        request.headers["Authorization"] = authorization


def _credential(request: httpx.Request) -> str:
    """Return what authorizes a request, without its scheme; empty for nothing."""
    authorization: str = request.headers.get("Authorization", "")
    return authorization.rpartition(" ")[2]


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]
