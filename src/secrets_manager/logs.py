"""Log format and handlers: JSON lines, or text on a terminal.

Messages are constant, data is in fields. A record is one line of bounded length: nothing in a field can imitate a
record of its own, or control a terminal. If the stream is closed or full, lines are dropped (linewriter.py), as logging
must never block the program.

Other packages log from level warning on: below, HTTP clients log URLs, and so paths in Vault.
"""

import json
import logging
import math
import traceback
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TextIO

from secrets_manager.config import LogConfig
from secrets_manager.errors import leaves
from secrets_manager.linewriter import LineWriter

Field = str | int | float | bool

ROOT_LOGGER = "secrets_manager"
MAX_TEXT = 1000
"""The maximum of characters in a field."""
MAX_FRAMES = 12
"""The maximum of frames in a traceback, from the innermost."""
FLUSH_TIMEOUT = 1.0
"""Seconds that the process waits at exit for a blocked stream."""


def configure(config: LogConfig, stream: TextIO | None) -> None:
    """Write the log to the stream. None is a stream that was closed before the start."""
    console = config.encoder == "console" or (not config.encoder and _is_terminal(stream))
    handler = NonBlockingHandler(stream, ConsoleFormatter() if console else JsonFormatter())
    logging.basicConfig(level=max(config.level, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger(ROOT_LOGGER).setLevel(config.level)


class NonBlockingHandler(logging.Handler):
    """Writes records from another thread. `logging` flushes it at exit."""

    def __init__(self, stream: TextIO | None, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._writer = LineWriter(stream, describe_dropped=self._describe_dropped)

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.write(one_line(self.format(record)))

    def flush(self) -> None:
        self._writer.flush(FLUSH_TIMEOUT)

    def close(self) -> None:
        self._writer.close(FLUSH_TIMEOUT)
        super().close()

    def _describe_dropped(self, count: int) -> str:
        about = {"msg": "log lines were dropped: the stream was blocked", "fields": {"lines": count}}
        level = {"levelno": logging.WARNING, "levelname": logging.getLevelName(logging.WARNING)}
        return one_line(self.format(logging.makeLogRecord({"name": ROOT_LOGGER, **level, **about})))


class JsonFormatter(logging.Formatter):
    """A JSON object a line. Names of fields are those of the Go original."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": _message(record),
        }
        return json.dumps({**line, **_fields(record), **line}, allow_nan=False)


class ConsoleFormatter(logging.Formatter):
    """Time, level, message, and fields as key=value, in quotes if necessary."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={_quoted(value)}" for key, value in _fields(record).items())
        return f"{_time(record)} {record.levelname:7} {_message(record)}{fields}"


def flush() -> None:
    """Wait until the log is written, unless its stream is blocked."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def write_lines(stream: TextIO | None, lines: Collection[str], *, timeout: float | None = FLUSH_TIMEOUT) -> None:
    """Write lines that are not records, after the log. Wait `timeout` seconds for the stream; None means forever."""
    flush()
    writer = LineWriter(stream, capacity=len(lines))
    for line in lines:
        writer.write(one_line(line))
    writer.close(timeout)


def one_line(text: str) -> str:
    """Escape characters that end a line or control a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    try:
        return _bounded(record.getMessage())
    except (TypeError, ValueError, LookupError):  # arguments that don't fit the message, in another package
        return _bounded(str(record.msg))


def _fields(record: logging.LogRecord) -> dict[str, Field]:
    fields: Mapping[object, object] | None = getattr(record, "fields", None)
    converted = {str(key): _field(value) for key, value in fields.items()} if isinstance(fields, Mapping) else {}
    error = record.exc_info[1] if record.exc_info else None
    return converted if error is None else converted | _error(error)


def _error(error: BaseException) -> dict[str, Field]:
    """Return error and traceback, without values of variables."""
    first, *others = leaves(error)
    more = f" (and {len(others)} more)" if others else ""
    frames = traceback.extract_tb(first.__traceback__)[-MAX_FRAMES:]
    return {
        "error": _bounded(f"{type(first).__name__}: {first}") + more,
        "stacktrace": " < ".join(
            f"{_module(frame.filename)}:{frame.lineno} {frame.name}" for frame in reversed(frames)
        ),
    }


def _module(file: str) -> str:
    """Return the path below the installation folder."""
    for root in ("/site-packages/", "/src/", "/lib/"):
        _, found, rest = file.rpartition(root)
        if found:
            return rest
    return file


def _field(value: object) -> Field:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _bounded(str(value))


def _quoted(value: Field) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    plain = value.isprintable() and value and not set(value) & set(" \"'=\\")
    return value if plain else json.dumps(value, ensure_ascii=False)


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False
