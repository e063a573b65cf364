"""What comes over the wire during a watch: one JSON object a line, cut into chunks anywhere.

The event's frame is decoded apart from the object in it, so that one object that can't be read costs only itself, and
what remains of it, its metadata, still says which object that is and how far the watch has come.
"""

from http import HTTPStatus

import msgspec

from secrets_manager.kube.errors import ApiError, MalformedReply
from secrets_manager.kube.objects import LARGEST_OBJECT, ObjectMeta, Wire
from secrets_manager.kube.refusal import error_of


class LineBuffer:
    """Joins chunks of bytes and cuts them into lines, in linear time. What has no newline yet is kept."""

    def __init__(self, *, longest_line: int = LARGEST_OBJECT) -> None:
        self._longest_line = longest_line
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take in a chunk; return the lines that it completes, without their newlines, and none that are empty.

        Raises: MalformedReply if a line is longer than allowed.
        """
        *complete, rest = chunk.split(b"\n")
        if complete:
            complete[0] = b"".join((*self._pieces, complete[0]))
            self._pieces, self._size = [], 0
        self._pieces.append(rest)
        self._size += len(rest)
        if max(self._size, *map(len, complete), 0) > self._longest_line:
            raise MalformedReply("a line of the watch is longer than any object can be")
        return [line for line in complete if line]


class Envelope(Wire, frozen=True):
    """What every object has, and all that a bookmark has."""

    metadata: ObjectMeta


class Added(msgspec.Struct, frozen=True, tag_field="type", tag="ADDED"):
    object: msgspec.Raw


class Modified(msgspec.Struct, frozen=True, tag_field="type", tag="MODIFIED"):
    object: msgspec.Raw


class Deleted(msgspec.Struct, frozen=True, tag_field="type", tag="DELETED"):
    object: Envelope


class Bookmark(msgspec.Struct, frozen=True, tag_field="type", tag="BOOKMARK"):
    object: Envelope


class Failed(msgspec.Struct, frozen=True, tag_field="type", tag="ERROR"):
    object: msgspec.Raw


WatchEvent = Added | Modified | Deleted | Bookmark | Failed

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)
"""What decoding may raise: the latter for bytes that are not UTF-8."""


class _Refusal(Wire, frozen=True):
    code: int = 0
    reason: str = ""


_event: msgspec.json.Decoder[WatchEvent] = msgspec.json.Decoder(WatchEvent)
_envelope = msgspec.json.Decoder(Envelope)
_refusal = msgspec.json.Decoder(_Refusal)


def decode_event(line: bytes) -> WatchEvent:
    """Read one line. Raises: MalformedReply, without the line's text, for it may hold a value."""
    try:
        return _event.decode(line)
    except UNREADABLE:
        raise MalformedReply("a line of the watch is not a watch event") from None


def decode_metadata(raw: msgspec.Raw) -> ObjectMeta:
    """Read no more of an object than its metadata. Raises: MalformedReply."""
    try:
        return _envelope.decode(raw).metadata
    except UNREADABLE:
        raise MalformedReply("an object of the watch has no metadata") from None


def failure_of(raw: msgspec.Raw) -> ApiError:
    """Translate the Status of an ERROR event: it tells what HTTP's own status can't once the stream runs."""
    try:
        refusal = _refusal.decode(raw)
    except UNREADABLE:
        refusal = _Refusal()
    code = HTTPStatus.GONE if refusal.reason in ("Expired", "Gone") else refusal.code
    return error_of(code, {}, bytes(raw), request="watch")
