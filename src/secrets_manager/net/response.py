"""Parses one HTTP/1.1 response from the bytes that a server sends. No I/O; llhttp does the work, by httptools."""

from http import HTTPStatus

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

Headers = list[tuple[bytes, bytes]]

MAX_FRAMING = 100 * 1024
"""Bytes that may come without a byte of the body among them: a head, interim responses, trailers."""


class ResponseParser:
    """The response to one request other than HEAD. Methods named on_ are httptools'.

    httptools' parser refers back to this one, so it lives from the first byte to the last: at any other time both go
    without the garbage collector, which would let 900 responses gather.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.has_head = False
        self.is_complete = False
        self.keep_alive = False
        """Whether the connection can serve another request, once the response is complete."""
        self._ends_with_connection = False
        self._body: list[bytes] = []
        """What has come of the body since the last `take_body`."""
        self._framing = 0
        self._parser: HttpResponseParser | None = None

    def take_body(self) -> bytes:
        """Return what has come of the body since the last call."""
        body = b"".join(self._body)
        self._body.clear()
        return body

    def feed(self, data: bytes) -> None:
        """Take what the server sends next; nothing, where it has closed the connection.

        Raises: httpx.RemoteProtocolError.
        """
        if not data:
            self._end_of_stream()
            return
        if self.is_complete:
            self.keep_alive = False
            return
        pieces = len(self._body)
        self._parser = HttpResponseParser(self) if self._parser is None else self._parser
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise httpx.RemoteProtocolError("the server has changed the protocol") from None
        except HttpParserError as error:
            self.keep_alive = False
            if not self.is_complete:
                raise httpx.RemoteProtocolError(f"not a response of HTTP/1.1: {error}") from None
        if self.is_complete:
            self._parser = None
        self._framing = 0 if len(self._body) > pieces else self._framing + len(data)
        if self._framing > MAX_FRAMING and not self.is_complete:
            raise httpx.RemoteProtocolError(f"more than {MAX_FRAMING} bytes came without any of the body")

    def on_message_begin(self) -> None:
        self.keep_alive = False  # nothing may follow a complete response

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:  # trailers are of no use here
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.is_complete:
            return
        assert self._parser is not None, "it is what calls"
        self.status = self._parser.get_status_code()
        self.has_head = self.status >= HTTPStatus.OK
        if not self.has_head:
            self.headers.clear()
        fields = {name.lower(): value.lower() for name, value in self.headers}
        self._ends_with_connection = not fields.keys() & {b"content-length", b"transfer-encoding"}
        if fields.get(b"transfer-encoding", b"chunked") != b"chunked":
            raise httpx.RemoteProtocolError("the transfer coding is not known")

    def on_body(self, body: bytes) -> None:
        if not self.is_complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self.has_head and not self.is_complete:
            assert self._parser is not None, "it is what calls"
            self.is_complete = True
            self.keep_alive = self._parser.should_keep_alive()

    def _end_of_stream(self) -> None:
        if not (self.has_head and self._ends_with_connection):
            raise httpx.RemoteProtocolError("the server closed the connection before the end of its response")
        self.is_complete = True
        self._parser = None
