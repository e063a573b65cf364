"""Decode the stream of a watch: one JSON object per line, in chunks of any size.

The event is decoded apart from its object. So an object that can't be decoded does not fail the watch, and its metadata
still gives its key and version.
"""

from http import HTTPStatus

import msgspec

from secrets_manager.kube.errors import ApiError, MalformedResponse
from secrets_manager.kube.objects import MAX_OBJECT_BYTES, ObjectMeta, Wire
from secrets_manager.kube.status import error_from_status


class LineBuffer:
    """Splits chunks into lines, in linear time. An incomplete line is kept."""

    def __init__(self, *, max_line: int = MAX_OBJECT_BYTES) -> None:
        self._max_line = max_line
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that a chunk completes, without newlines and empty lines.

        Raises:
            MalformedResponse: A line is longer than allowed.
        """
        *complete, rest = chunk.split(b"\n")
        if complete:
            complete[0] = b"".join((*self._pieces, complete[0]))
            self._pieces, self._size = [], 0
        self._pieces.append(rest)
        self._size += len(rest)
        if max(self._size, *map(len, complete), 0) > self._max_line:
            raise MalformedResponse("a line of the watch is longer than any object can be")
        return [line for line in complete if line]


class Envelope(Wire, frozen=True):
    """The part that every object has, and all of a bookmark."""

    metadata: ObjectMeta


class Added(msgspec.Struct, frozen=True, tag_field="type", tag="ADDED"):
    object: msgspec.Raw


class Modified(msgspec.Struct, frozen=True, tag_field="type", tag="MODIFIED"):
    object: msgspec.Raw


class Deleted(msgspec.Struct, frozen=True, tag_field="type", tag="DELETED"):
    object: Envelope


class Bookmark(msgspec.Struct, frozen=True, tag_field="type", tag="BOOKMARK"):
    object: Envelope


class ErrorEvent(msgspec.Struct, frozen=True, tag_field="type", tag="ERROR"):
    object: msgspec.Raw


WatchEvent = Added | Modified | Deleted | Bookmark | ErrorEvent

DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError)
"""Errors of decoding; the second one for bytes that are not UTF-8."""


class _Status(Wire, frozen=True):
    code: int = 0
    reason: str = ""


_event: msgspec.json.Decoder[WatchEvent] = msgspec.json.Decoder(WatchEvent)
_envelope = msgspec.json.Decoder(Envelope)
_status = msgspec.json.Decoder(_Status)


def decode_event(line: bytes) -> WatchEvent:
    """Decode a line. Raises: MalformedResponse, without the line: it may contain a value."""
    try:
        return _event.decode(line)
    except DECODE_ERRORS:
        raise MalformedResponse("a line of the watch is not a watch event") from None


def decode_metadata(raw: msgspec.Raw) -> ObjectMeta:
    """Decode only the metadata of an object. Raises: MalformedResponse."""
    try:
        return _envelope.decode(raw).metadata
    except DECODE_ERRORS:
        raise MalformedResponse("an object of the watch has no metadata") from None


def error_from_event(raw: msgspec.Raw) -> ApiError:
    """Translate the Status of an ERROR event."""
    try:
        status = _status.decode(raw)
    except DECODE_ERRORS:
        status = _Status()
    code = HTTPStatus.GONE if status.reason in ("Expired", "Gone") else status.code
    return error_from_status(code, {}, bytes(raw), request="watch")
