import io
import os
import threading
from pathlib import Path

import pytest

from secrets_manager.linewriter import LineWriter
from tests.real.full_pipe import full_pipe

LONG = 60.0
"""Seconds: what is waited for comes at once."""


class Below(io.RawIOBase):
    """An unbuffered stream that takes a few bytes at a time, when it is open for any."""

    def __init__(self, *, at_a_time: int = 1000, is_open: bool = True) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.open = threading.Event()
        self.written = b""
        self._at_a_time = at_a_time
        if is_open:
            self.open.set()

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        self.asked.set()
        self.open.wait()
        assert isinstance(data, bytes)
        taken = data[: self._at_a_time]
        self.written += taken
        return len(taken)


def over(below: io.RawIOBase, *, encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(below), encoding=encoding)


def test_lines_are_written_in_their_order_by_the_end() -> None:
    below = Below()
    writer = LineWriter(over(below))

    for number in range(5_000):
        writer.write(f"line {number}")
    writer.close(LONG)

    assert below.written.decode().splitlines() == [f"line {number}" for number in range(5_000)]


def test_stream_may_take_less_than_it_is_given() -> None:
    below = Below(at_a_time=3)
    writer = LineWriter(over(below))

    writer.write("one two three")
    writer.close(LONG)

    assert below.written == b"one two three\n"


def test_letters_that_the_stream_lacks_are_escaped() -> None:
    below = Below()
    writer = LineWriter(over(below, encoding="ascii"))

    writer.write("Größe")
    writer.close(LONG)

    assert below.written == b"Gr\\xf6\\xdfe\n"


def test_what_is_too_much_is_dropped_and_counted_once_the_stream_takes_lines_again() -> None:
    below = Below(is_open=False)
    writer = LineWriter(over(below), capacity=2)
    writer.write("under way")
    below.asked.wait(LONG)
    for line in ("a", "b", "c", "d"):
        writer.write(line)

    below.open.set()
    writer.flush(LONG)
    writer.write("e")
    writer.close(LONG)

    assert below.written.decode().splitlines() == ["under way", "a", "b", "2 lines were dropped", "e"]


def test_the_end_is_not_kept_waiting_for_a_stream_that_takes_nothing() -> None:
    below = Below(is_open=False)
    writer = LineWriter(over(below))
    writer.write("under way")

    writer.flush(0.01)
    writer.close(None)  # would wait for ever: that it takes nothing is known

    assert below.written == b""
    below.open.set()


def test_stream_that_does_not_wait_is_waited_for(tmp_path: Path) -> None:
    class Below(io.FileIO):
        asked = threading.Event()

        def write(self, data: object, /) -> int:
            assert isinstance(data, bytes)
            written = super().write(data)
            self.asked.set()
            return written

    path = tmp_path / "pipe"
    with full_pipe(path) as pipe, Below(os.open(path, os.O_WRONLY | os.O_NONBLOCK), "w") as below:
        writer = LineWriter(over(below))
        writer.write("hello")
        below.asked.wait(LONG)
        pipe.read()
        writer.close(LONG)

        assert pipe.read() == "hello\n"


@pytest.mark.parametrize("fault", [BrokenPipeError(), ValueError("I/O operation on closed file")], ids=repr)
def test_closed_stream_drops_lines_and_does_not_block(fault: Exception) -> None:
    tried: list[object] = []

    class Gone(Below):
        def write(self, data: object, /) -> int:
            tried.append(data)
            raise fault

    writer = LineWriter(over(Gone()))
    writer.write("hello")
    writer.flush(LONG)
    writer.write("again")
    writer.close(LONG)

    assert tried == [b"hello\n", b"again\n"]


def test_without_a_stream_all_is_dropped() -> None:
    writer = LineWriter(None)
    writer.write("hello")
    writer.close(0.0)

    assert not writer._stuck
