"""The client's end of TLS, on a stream of Trio's, for one task at a time.

In place of trio.SSLStream, which refers to itself: a closed connection kept its buffers until the garbage collector
came to the oldest generation, hours later.
"""

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import trio

RECORD = 16 * 1024
"""Bytes of the longest record of TLS, which is what one read gives at most."""
CHUNK = 64 * 1024
"""Bytes that are received at a time."""

T = TypeVar("T")


class TlsStream(trio.abc.Stream):
    """Call `do_handshake` first. An end without a goodbye is an end: HTTP has lengths of its own."""

    def __init__(self, stream: trio.abc.Stream, context: ssl.SSLContext, *, server_hostname: str) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    async def do_handshake(self) -> None:
        """Raises: trio.BrokenResourceError, by an ssl.SSLError where that is why."""
        await self._complete(ssl.SSLObject.do_handshake)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all data. Raises: trio.BrokenResourceError."""
        if data:
            await self._complete(lambda tls: tls.write(data))

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has come next; nothing at the end. Raises: trio.BrokenResourceError."""
        limit = min(max_bytes or RECORD, RECORD)
        try:
            return await self._complete(lambda tls: tls.read(limit))
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, ssl.SSLEOFError):
                return b""
            raise

    async def aclose(self) -> None:
        """Close the stream below, for good. No goodbye is said: a peer that reads nothing could hold us."""
        with suppress(AttributeError):  # closed before
            del self._tls  # its buffers, which the traceback of a cancellation would keep
        await self._stream.aclose()

    async def _complete(self, step: Callable[[ssl.SSLObject], T]) -> T:
        """Take a step until it is complete, and send and receive what it needs."""
        while True:
            try:
                result = step(self._tls)
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(str(error)) from error
            else:
                await self._flush()
                return result
            if data := await self._stream.receive_some(CHUNK):
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._stream.send_all(data)
