import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from types import TracebackType

import pytest

from secrets_manager import logs
from secrets_manager.config import LogConfig
from secrets_manager.logs import ROOT_LOGGER, ConsoleFormatter, JsonFormatter, NonBlockingHandler, configure, one_line

CAPACITY = 10_000

AT = 1_767_225_600.25
"""2026-01-01, a quarter of a second past midnight."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def a_record(
    message: str = "synced", *, fields: object = None, error: BaseException | None = None, args: tuple[object, ...] = ()
) -> logging.LogRecord:
    exc_info: ExcInfo | None = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("secrets_manager.controller", logging.INFO, "", 0, message, args, exc_info)
    record.created = AT
    if fields is not None:
        record.__dict__["fields"] = fields
    return record


def as_json(record: logging.LogRecord) -> dict[str, object]:
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    decoded: dict[str, object] = json.loads(line)
    return decoded


HEAD = {"ts": "2026-01-01T00:00:00.250Z", "level": "info", "logger": "secrets_manager.controller", "msg": "synced"}


class File(io.TextIOWrapper):
    """Has no buffer of text, as the process's own streams."""

    def __init__(self, below: io.BytesIO | None = None) -> None:
        self.below = below or io.BytesIO()
        super().__init__(self.below, encoding="utf-8")

    def text(self) -> str:
        logs.flush()
        return self.below.getvalue().decode()


class Terminal(File):
    def isatty(self) -> bool:
        return True


class ReaderGone(io.BytesIO):
    def write(self, _: object, /) -> int:
        raise BrokenPipeError


@pytest.fixture
def restored() -> Iterator[None]:
    """What `configure` changes is the process's; it is put back."""
    root, ours = logging.getLogger(), logging.getLogger(ROOT_LOGGER)
    before = (root.handlers[:], root.level, ours.level)
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level, level = before
    ours.setLevel(level)


def test_record_is_one_object_with_its_fields_beside_the_message() -> None:
    fields = {"namespace": "shop", "ttl": 3600, "left": 1.5, "leads": True}

    assert as_json(a_record(fields=fields)) == HEAD | fields


def test_field_can_not_take_the_place_of_what_every_line_has() -> None:
    fields = {"level": "error", "msg": "all is lost", "name": "db"}

    assert as_json(a_record(fields=fields)) == HEAD | {"name": "db"}


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        (float("inf"), "inf"),
        (None, "None"),
        ("a\nb\x1b[2J\x7f\u2028\ud800é", "a\nb\x1b[2J\x7f\u2028\ud800é"),
        ("x" * 1001, "x" * 1000 + "..."),
    ],
    ids=["infinite", "foreign type", "control characters", "long"],
)
def test_line_of_json_is_valid_ascii_and_bounded_whatever_a_field_holds(value: object, logged: str) -> None:
    assert as_json(a_record(fields={"value": value})) == HEAD | {"value": logged}


def test_message_of_another_package_is_bounded_and_may_be_wrong() -> None:
    assert as_json(a_record("%s", args=("x" * 2000,)))["msg"] == "x" * 1000 + "..."
    assert as_json(a_record("%d items", args=("many",)))["msg"] == "%d items"


def fail(value: str) -> None:
    secret = value.upper()
    raise ValueError(f"it has {len(secret)} letters")


def caught() -> ValueError:
    with pytest.raises(ValueError, match="letters") as raised:
        fail("hunter2")
    return raised.value


def test_error_has_a_traceback_without_values_of_variables() -> None:
    error = caught()
    assert error.__traceback__
    assert error.__traceback__.tb_next

    line = as_json(a_record(fields={"error": "short"}, error=error))

    places = str(line.pop("stacktrace")).split(" < ")
    assert line == HEAD | {"error": "ValueError: it has 7 letters"}
    assert [place.rpartition("/")[2] for place in places] == [
        f"test_logs.py:{error.__traceback__.tb_next.tb_lineno} fail",
        f"test_logs.py:{error.__traceback__.tb_lineno} caught",
    ]
    assert "hunter2" not in str(line).lower()


def test_single_error_in_groups_is_logged_as_itself() -> None:
    group = ExceptionGroup("a nursery", [ExceptionGroup("another", [caught()]), OSError("gone")])

    line = as_json(a_record(error=group))

    assert line["error"] == "ValueError: it has 7 letters (and 1 more)"
    assert " fail < " in str(line["stacktrace"])


def test_line_on_a_terminal_is_time_level_message_and_fields() -> None:
    fields = {"namespace": "shop", "count": 3, "ok": True, "error": "no route", "empty": "", "said": 'a "b"', "o": "é"}

    assert ConsoleFormatter().format(a_record(fields=fields)) == (
        "2026-01-01T00:00:00.250Z INFO    synced "
        'namespace=shop count=3 ok=true error="no route" empty="" said="a \\"b\\"" o=é'
    )


def test_line_on_a_terminal_can_not_be_broken_or_steer_it() -> None:
    stream = Terminal()
    handler = NonBlockingHandler(stream, ConsoleFormatter())

    handler.handle(a_record("a\nb", fields={"x": "\x1b[2J\u202e\r\n"}))
    handler.close()

    assert stream.text() == '2026-01-01T00:00:00.250Z INFO    a\\nb x="\\u001b[2J\\u202e\\r\\n"\n'


def test_one_line_keeps_what_can_be_printed() -> None:
    assert one_line("Größe: 3\n\x9b\u2028") == "Größe: 3\\n\\x9b\\u2028"


@pytest.mark.parametrize(
    ("config", "stream", "first"),
    [
        (LogConfig(), File(), "{"),
        (LogConfig(), Terminal(), "2"),
        (LogConfig(encoder="json"), Terminal(), "{"),
        (LogConfig(encoder="console"), File(), "2"),
    ],
    ids=["file", "terminal", "json wanted", "console wanted"],
)
def test_form_follows_the_stream_unless_one_is_wanted(
    config: LogConfig, stream: File, first: str, restored: None
) -> None:
    configure(config, stream)

    logging.getLogger("secrets_manager.x").info("hello")

    assert stream.text()[:1] == first
    assert stream.text().count("\n") == 1


@pytest.mark.parametrize(
    ("level", "logged"),
    [
        (logging.DEBUG, ["ours 10", "ours 20", "ours 30", "ours 40", "other 30", "other 40"]),
        (logging.INFO, ["ours 20", "ours 30", "ours 40", "other 30", "other 40"]),
        (logging.ERROR, ["ours 40", "other 40"]),
    ],
)
def test_other_packages_are_heard_from_warnings_on(level: int, logged: list[str], restored: None) -> None:
    stream = File()
    configure(LogConfig(level=level), stream)

    for name, who in (("secrets_manager.kube", "ours"), ("httpx", "other")):
        for each in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger(name).log(each, "%s %d", who, each)

    assert [json.loads(line)["msg"] for line in stream.text().splitlines()] == logged


def closed() -> File:
    stream = File()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [File(ReaderGone()), closed(), None], ids=["reader gone", "closed", "never there"])
def test_blocked_stream_does_not_block_the_program(
    stream: File | None, restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(LogConfig(), stream)

    logging.getLogger("secrets_manager.x").error("hello")
    logs.flush()

    assert capsys.readouterr() == ("", "")
    assert sys.stderr is not None


class Unread(io.BytesIO):
    """Like a full pipe."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.read_on = threading.Event(), threading.Event()

    def write(self, data: object, /) -> int:
        self.asked.set()
        self.read_on.wait()
        assert isinstance(data, bytes)
        return super().write(data)


def test_unread_lines_are_kept_up_to_a_bound_and_counted_beyond(restored: None) -> None:
    below = Unread()
    stream = File(below)
    configure(LogConfig(), stream)
    log = logging.getLogger("secrets_manager.x")

    log.info("first")
    below.asked.wait(60)
    for number in range(CAPACITY + 7):
        log.info("line %d", number)
    below.read_on.set()
    stream.text()
    log.info("last")

    first, *lines, last = (json.loads(line) for line in stream.text().splitlines())
    *kept, lost = lines
    assert (first["msg"], last["msg"]) == ("first", "last")
    assert [line["msg"] for line in kept] == [f"line {number}" for number in range(CAPACITY)]
    assert (lost["level"], lost["msg"]) == ("warning", "log lines were dropped: the stream was blocked")
    assert lost["lines"] == 7
