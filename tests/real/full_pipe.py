"""A pipe that is full, and is not read until the test does."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

CHUNKS = (4096, 1)
"""Sizes of the pieces that fill it: a pipe takes a piece of up to a page whole or not at all."""


class FullPipe:
    """A named pipe. Others open it to write, and then block."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        self._read = b""
        self.fill()

    def fill(self) -> None:
        """Leave no room for a single byte."""
        for size in CHUNKS:
            with suppress(BlockingIOError):
                while True:
                    os.write(self._writer, b"." * size)

    def read(self) -> str:
        """All that came through it until now, but for what has filled it at first."""
        with suppress(BlockingIOError):
            while chunk := os.read(self._reader, 65536):
                self._read += chunk
        return self._read.decode().lstrip(".")

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


@contextmanager
def full_pipe(path: Path) -> Generator[FullPipe]:
    pipe = FullPipe(path)
    try:
        yield pipe
    finally:
        pipe.close()
