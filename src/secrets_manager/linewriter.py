"""Write lines to a stream from a thread, so that a blocked reader does not block the program.

Writing to a full pipe blocks, and nothing may block the event loop. So lines wait in memory, in order, up to a limit.
Further lines are dropped; when the stream accepts lines again, one line says how many. If the reader keeps up, no line
is lost, not even the last ones: `flush` and `close` wait for the thread at exit.

The thread writes below the stream's buffers: waiting there would hold a lock that the interpreter needs to exit.
"""

import io
import select
import threading
import time
from collections.abc import Callable
from typing import Protocol, TextIO

CAPACITY = 10_000
"""The maximum of waiting lines: a few megabytes."""
BATCH_DELAY = 0.01
"""Seconds to collect lines: waking the thread for each costs more than writing it."""


class Sink(Protocol):
    """An unbuffered stream."""

    def fileno(self) -> int: ...

    def write(self, data: bytes, /) -> int | None:
        """Return the number of bytes written; None if the stream would block."""


def describe_dropped(dropped: int) -> str:
    return f"{dropped} lines were dropped"


class LineWriter:
    """Writes lines. With None, a stream that was closed before the start, all are dropped."""

    def __init__(
        self,
        stream: TextIO | None,
        *,
        describe_dropped: Callable[[int], str] = describe_dropped,
        capacity: int = CAPACITY,
    ) -> None:
        self._stream = stream  # garbage collection would close the sink
        self._sink = _below_buffers(stream)
        self._encoding = stream.encoding if stream is not None else "ascii"
        self._describe_dropped = describe_dropped
        self._capacity = capacity
        self._changed = threading.Condition()
        self._waiting: list[str] = []
        self._dropped = 0
        self._busy = False
        self._stuck = False
        self._closed = self._sink is None
        if self._sink is not None:
            threading.Thread(target=self._run, args=(self._sink,), name="line writer", daemon=True).start()

    def write(self, line: str) -> None:
        """Queue a line, without its end, and return at once."""
        with self._changed:
            if self._closed:
                return
            if len(self._waiting) == self._capacity:
                self._dropped += 1
                return
            self._waiting.append(line)
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def flush(self, timeout: float | None) -> None:
        """Wait until all is written, `timeout` seconds at most, and not again while the stream is blocked."""
        with self._changed:
            if not self._stuck:
                self._stuck = not self._changed.wait_for(lambda: not (self._waiting or self._busy), timeout)

    def close(self, timeout: float | None) -> None:
        """Flush, and drop later lines."""
        self.flush(timeout)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self, sink: Sink) -> None:
        while self._has_lines():
            time.sleep(BATCH_DELAY)
            text = "".join(f"{line}\n" for line in self._take_lines())
            _write(sink, text.encode(self._encoding, errors="backslashreplace"))

    def _has_lines(self) -> bool:
        """Wait for lines. Return False when the writer is closed."""
        with self._changed:
            self._busy = self._stuck = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return bool(self._waiting)

    def _take_lines(self) -> list[str]:
        with self._changed:
            self._busy = True
            lines, self._waiting = self._waiting, []
            if self._dropped:
                lines.append(self._describe_dropped(self._dropped))
                self._dropped = 0
            return lines


def _below_buffers(stream: TextIO | None) -> Sink | None:
    if stream is None:
        return None
    match stream.buffer:
        case io.BufferedWriter(raw=io.RawIOBase() as raw):
            return raw
        case buffer:
            return buffer


def _write(sink: Sink, data: bytes) -> None:
    """Write all data, unless the stream fails. A closed stream raises ValueError."""
    try:
        while data:
            written = sink.write(data)
            if written is None:
                select.select([], [sink], [])
            data = data[written or 0 :]
    except (OSError, ValueError):
        return
