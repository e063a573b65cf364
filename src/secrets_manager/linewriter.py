"""Writes lines to a stream from a thread of its own, so that a reader who no longer reads stops nobody else.

A pipe that is full blocks whoever writes to it, and nothing may block the event loop. So lines wait in memory, in their
order and up to a bound. Beyond that they are dropped, and as soon as the stream takes lines again, one in their place
says how many. Where the reader keeps up, none is lost, not even the last ones of the process: whoever ends it calls
`flush` or `close`, which wait for the thread.

The thread writes below the stream's own buffers. If it were to wait in there, it would hold a lock without which the
interpreter can't end.
"""

import io
import select
import threading
import time
from collections.abc import Callable
from typing import Protocol, TextIO

CAPACITY = 10_000
"""Lines that wait: some megabytes."""
GATHER = 0.01
"""Seconds for which lines are gathered: to wake the thread for each costs more than to write it."""


class Sink(Protocol):
    """A stream without a buffer."""

    def fileno(self) -> int: ...

    def write(self, data: bytes, /) -> int | None:
        """How many bytes were taken; None where none can be without waiting."""


def say_how_many(lost: int) -> str:
    return f"{lost} lines were dropped"


class LineWriter:
    """None is a stream that was closed before the start: all is dropped."""

    def __init__(
        self, stream: TextIO | None, *, describe_loss: Callable[[int], str] = say_how_many, capacity: int = CAPACITY
    ) -> None:
        self._stream = stream  # to forget it would close what is below
        self._sink = _below_buffers(stream)
        self._encoding = stream.encoding if stream is not None else "ascii"
        self._describe_loss = describe_loss
        self._capacity = capacity
        self._changed = threading.Condition()
        self._waiting: list[str] = []
        self._lost = 0
        self._busy = False
        self._stuck = False
        self._closed = self._sink is None
        if self._sink is not None:
            threading.Thread(target=self._run, args=(self._sink,), name="line writer", daemon=True).start()

    def write(self, line: str) -> None:
        """Take a line, which ends by itself, without ever waiting."""
        with self._changed:
            if self._closed:
                return
            if len(self._waiting) == self._capacity:
                self._lost += 1
                return
            self._waiting.append(line)
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def flush(self, within: float | None) -> None:
        """Wait until all is written, for so many seconds at most, and not again while the stream takes nothing."""
        with self._changed:
            if not self._stuck:
                self._stuck = not self._changed.wait_for(lambda: not (self._waiting or self._busy), within)

    def close(self, within: float | None) -> None:
        """Flush, and take no more."""
        self.flush(within)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self, sink: Sink) -> None:
        while self._has_lines():
            time.sleep(GATHER)
            text = "".join(f"{line}\n" for line in self._take_lines())
            _write(sink, text.encode(self._encoding, errors="backslashreplace"))

    def _has_lines(self) -> bool:
        """Wait for some, all former ones being written; False when it is closed."""
        with self._changed:
            self._busy = self._stuck = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return bool(self._waiting)

    def _take_lines(self) -> list[str]:
        with self._changed:
            self._busy = True
            lines, self._waiting = self._waiting, []
            if self._lost:
                lines.append(self._describe_loss(self._lost))
                self._lost = 0
            return lines


def _below_buffers(stream: TextIO | None) -> Sink | None:
    if stream is None:
        return None
    return stream.buffer.raw if isinstance(stream.buffer, io.BufferedWriter) else stream.buffer


def _write(sink: Sink, data: bytes) -> None:
    """Write all of it, if the stream takes it. A closed one is a ValueError."""
    try:
        while data:
            written = sink.write(data)
            if written is None:
                select.select([], [sink], [])
            data = data[written or 0 :]
    except (OSError, ValueError):
        return
