"""How the program's log looks: a line of JSON for each record, or a line for people on a terminal.

A line is a constant phrase and its data. Whatever a field holds, it stays one line of bounded length: nothing that
others wrote can look like a record of ours, or steer a terminal. A stream that is closed, full or read by nobody loses
lines and stops nothing (linewriter.py): to keep Secrets in sync matters more than to tell of it.

The log of other packages begins at warnings: an HTTP client tells every URL below that, and so every path in Vault.
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

OURS = "secrets_manager"
MAX_TEXT = 1000
"""Characters of one field."""
MAX_FRAMES = 12
"""Of a traceback, the innermost ones."""
PARTING = 1.0
"""Seconds for which the end of the process waits for a stream that takes nothing."""


def configure(config: LogConfig, stream: TextIO | None) -> None:
    """Send the log of this process to the stream; None is a stream that was closed before the start."""
    console = config.encoder == "console" or (not config.encoder and _is_terminal(stream))
    handler = LossyHandler(stream, ConsoleFormatter() if console else JsonFormatter())
    logging.basicConfig(level=max(config.level, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger(OURS).setLevel(config.level)


class LossyHandler(logging.Handler):
    """Writes what can be written, at once, but without waiting for it. `logging` flushes it when the process ends."""

    def __init__(self, stream: TextIO | None, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._writer = LineWriter(stream, describe_loss=self._loss)

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.write(one_line(self.format(record)))

    def flush(self) -> None:
        self._writer.flush(PARTING)

    def close(self) -> None:
        self._writer.close(PARTING)
        super().close()

    def _loss(self, count: int) -> str:
        about = {"msg": "log lines were dropped: nobody read them in time", "fields": {"lines": count}}
        level = {"levelno": logging.WARNING, "levelname": logging.getLevelName(logging.WARNING)}
        return one_line(self.format(logging.makeLogRecord({"name": OURS, **level, **about})))


class JsonFormatter(logging.Formatter):
    """One object a line. The names ts, level, logger, msg, error and stacktrace are those of the Go original."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": _message(record),
        }
        return json.dumps({**line, **_fields(record), **line}, allow_nan=False)


class ConsoleFormatter(logging.Formatter):
    """Time, level, message, then each field as key=value; quotes only where a value needs them."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={_quoted(value)}" for key, value in _fields(record).items())
        return f"{_time(record)} {record.levelname:7} {_message(record)}{fields}"


def flush() -> None:
    """Wait until the log is written, if its stream takes it."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def say(stream: TextIO | None, lines: Collection[str], *, within: float | None = PARTING) -> None:
    """Write lines that are no records, after all that are, and wait so long for them to be taken; None is for ever."""
    flush()
    writer = LineWriter(stream, capacity=len(lines))
    for line in lines:
        writer.write(one_line(line))
    writer.close(within)


def one_line(text: str) -> str:
    """The text without anything that could end the line or steer a terminal: such characters are escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    try:
        return _bounded(record.getMessage())
    except (TypeError, ValueError, LookupError):  # arguments that don't fit the message, in somebody else's package
        return _bounded(str(record.msg))


def _fields(record: logging.LogRecord) -> dict[str, Field]:
    fields: object = getattr(record, "fields", None)
    told = {str(key): _field(value) for key, value in fields.items()} if isinstance(fields, Mapping) else {}
    error = record.exc_info[1] if record.exc_info else None
    return told if error is None else told | _error(error)


def _error(error: BaseException) -> dict[str, Field]:
    """What went wrong, and where. The values of variables are nowhere in it."""
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
    """The file from its package on: where things are installed helps nobody."""
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
