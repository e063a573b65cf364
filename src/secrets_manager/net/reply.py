"""Puts together one reply of HTTP/1.1 from the bytes that a server sends. No I/O; llhttp parses them, by httptools."""

from http import HTTPStatus
from io import BytesIO

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from secrets_manager.net.exchange import Answer, Headers
from secrets_manager.net.streams import PLAIN, ReplyTooLarge, compressed

MAX_FRAMING = 100 * 1024
"""Bytes that may come without a byte of the body among them: a head, interim replies, trailers."""


class ReplyReader:
    """One reply to a request other than HEAD, with a body of `at_most` bytes. Methods named on_ are httptools'."""

    def __init__(self, *, at_most: int) -> None:
        self.complete = False
        self.keep_alive = False
        """Whether the connection can serve another request, once the reply is complete."""
        self._at_most = at_most
        self._status = 0
        self._headers: Headers = []
        self._head_complete = False
        self._ends_with_connection = False
        self._body = BytesIO()
        """It hands over what it has gathered without a copy."""
        self._framing = 0
        self._parser = HttpResponseParser(self)

    @property
    def answer(self) -> Answer:
        """The whole reply, once it is complete."""
        return Answer(self._status, self._headers, self._body.getvalue())

    def feed(self, data: bytes) -> None:
        """Take what the server sends next; nothing, where it has closed the connection.

        Raises: httpx.RemoteProtocolError, httpx.DecodingError for a compressed reply, ReplyTooLarge.
        """
        if not data:
            self._end_of_stream()
            return
        length = self._body.tell()
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise httpx.RemoteProtocolError("the server has changed the protocol") from None
        except HttpParserError as error:
            self.keep_alive = False
            if not self.complete:
                raise httpx.RemoteProtocolError(f"not a reply of HTTP/1.1: {error}") from None
        self._framing = 0 if self._body.tell() > length else self._framing + len(data)
        if self._framing > MAX_FRAMING and not self.complete:
            raise httpx.RemoteProtocolError(f"more than {MAX_FRAMING} bytes came without any of the body")
        if self._body.tell() > self._at_most:
            raise ReplyTooLarge(f"the reply is longer than {self._at_most} bytes")
        if self._head_complete:
            self._check_codings()

    def on_message_begin(self) -> None:
        self.keep_alive = False  # nothing may follow a complete reply

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_complete:  # trailers are of no use here
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        self._status = self._parser.get_status_code()
        self._head_complete = self._status >= HTTPStatus.OK
        if not self._head_complete:
            self._headers.clear()
        names = {name.lower() for name, _ in self._headers}
        self._ends_with_connection = not names & {b"content-length", b"transfer-encoding"}

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self._body.write(body)

    def on_message_complete(self) -> None:
        if self._head_complete and not self.complete:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()

    def _check_codings(self) -> None:
        for name, value in self._headers:
            match name.lower():
                case b"content-encoding" if value != PLAIN.encode():
                    raise compressed()
                case b"transfer-encoding" if value.lower() != b"chunked":
                    raise httpx.RemoteProtocolError("the transfer coding is not known")

    def _end_of_stream(self) -> None:
        if not (self._head_complete and self._ends_with_connection):
            raise httpx.RemoteProtocolError("the server closed the connection before the end of its reply")
        self.complete = True
