"""Bodies of requests and replies, piece by piece.

Below a reply stand several async generators, one in the other, and closing the outermost would abandon the rest to the
garbage collector. A cancellation begins at the innermost, and ends them all: so what is left in its middle is ended.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import BytesIO

import httpx
import trio

PLAIN = "identity"


class ReplyTooLarge(httpx.TransportError):
    """The reply is longer than its reader allows; the connection was dropped in the middle of it."""


class OnePiece(httpx.AsyncByteStream):
    """The body of a request. httpx's own is an async generator, which a cancellation would abandon."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


class _Once(AsyncIterator[bytes]):
    def __init__(self, item: bytes) -> None:
        self._items = [item]

    async def __anext__(self) -> bytes:
        if not self._items:
            raise StopAsyncIteration
        return self._items.pop()


async def gather(chunks: AsyncIterator[bytes], *, at_most: int) -> bytes:
    """All of them as one, held once: what a BytesIO has gathered it hands over without a copy.

    Raises: ReplyTooLarge past `at_most` bytes.
    """
    body = BytesIO()
    async for chunk in chunks:
        body.write(chunk)
        if body.tell() > at_most:
            with trio.move_on_after(0, shield=True), suppress(httpx.HTTPError):
                await _exhaust(chunks)
            raise ReplyTooLarge(f"the reply is longer than {at_most} bytes")
    return body.getvalue()


async def read_whole(response: httpx.Response, *, at_most: int) -> bytes:
    """Read a streamed reply to its end, and close it. Raises: as `gather` and `streaming`."""
    async with streaming(response) as chunks:
        return await gather(chunks, at_most=at_most)


@asynccontextmanager
async def streaming(response: httpx.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """Read a streamed reply in chunks. Where the block is left before its end, its connection is closed.

    Raises: httpx.DecodingError for a reply that is compressed, against what was asked for.
    """
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    if response.headers.get("Content-Encoding", PLAIN) != PLAIN:
        await stream.aclose()
        raise compressed()
    chunks = _Chunks(aiter(stream))
    try:
        yield chunks
    finally:
        if not chunks.at_the_end:
            with trio.move_on_after(0, shield=True), suppress(httpx.HTTPError):
                await _exhaust(chunks)
        await stream.aclose()


def compressed() -> httpx.DecodingError:
    """The error for a reply whose size is not what it seems."""
    return httpx.DecodingError("the reply is compressed, which was not asked for")


class _Chunks(AsyncIterator[bytes]):
    """Knows whether all have been taken."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.at_the_end = False

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except BaseException:  # the end, a failure or a cancellation: nothing comes after any of them
            self.at_the_end = True
            raise


async def _exhaust(chunks: AsyncIterator[bytes]) -> None:
    async for _ in chunks:
        pass
