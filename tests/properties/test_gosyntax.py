from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secrets_manager.cli.flags import parse
from secrets_manager.cli.gosyntax import Flag, boolean, integer
from secrets_manager.cli.table import FLAGS
from secrets_manager.durations import duration
from secrets_manager.errors import InvalidValue, UsageError

MAX_INT64 = 2**63 - 1
UNITS = (("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("µs", 10**3), ("ns", 1))


def in_units(nanoseconds: int) -> str:
    """One text of many that mean this duration: "1h0m0s3ms0µs1ns"."""
    parts = []
    for unit, size in UNITS:
        count, nanoseconds = divmod(nanoseconds, size)
        parts.append(f"{count}{unit}")
    return "".join(parts)


@given(st.integers(0, MAX_INT64))
def test_duration_in_all_its_units_is_read_back(nanoseconds: int) -> None:
    assert duration(in_units(nanoseconds)) == nanoseconds / 10**9
    assert duration(f"-{in_units(nanoseconds)}") == -nanoseconds / 10**9


@given(st.integers(0, 10**6), st.integers(0, 999_999_999))
def test_duration_with_a_fraction_is_read_back(seconds: int, nanoseconds: int) -> None:
    assert duration(f"{seconds}.{nanoseconds:09}s") == (seconds * 10**9 + nanoseconds) / 10**9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("-0", 0.0),
        ("+5s", 5.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("300ms", 0.3),
        (".5s", 0.5),
        ("5.s", 5.0),
        ("30s1m", 90.0),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        ("2μs", 2e-6),
        ("0.9ns", 0.0),
    ],
)
def test_duration_is_what_go_says(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", ".s", "1 s", "1s ", "1d", "--1s", "1s-1s", "1e3s", "٣s", "1S", "+"])
def test_duration_that_go_refuses_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        duration(text)


@given(st.integers(-MAX_INT64, MAX_INT64))
def test_whole_number_is_read_back(number: int) -> None:
    assert integer(str(number)) == number


@pytest.mark.parametrize("text", ["", "1_0", "0x10", "010", "٣", " 1", "1.0", str(2**63), "9" * 5000])
def test_number_that_go_reads_in_another_way_or_not_at_all_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        integer(text)


@given(st.text())
@example("yes")
@example("true")
@example("tRUE")
def test_boolean_takes_the_twelve_words_of_go(text: str) -> None:
    if text in {"1", "t", "T", "true", "True", "TRUE"}:
        assert boolean(text)
    elif text in {"0", "f", "F", "false", "False", "FALSE"}:
        assert not boolean(text)
    else:
        with pytest.raises(InvalidValue):
            boolean(text)


NAMES = st.sampled_from([f"-{name}" for name in FLAGS] + [f"--{name}" for name in FLAGS])
VALUES = st.text() | st.sampled_from(["5s", "kv2", "vault", "azure-kv", "1", "true", "https://vault:8200", ":0", "a,b"])
ARGUMENTS = st.lists(NAMES | VALUES | st.builds("{}={}".format, NAMES, VALUES))
ENVIRONMENTS = st.dictionaries(st.sampled_from([flag.env for flag in FLAGS.values() if flag.env]), VALUES)


def complaint(argv: Sequence[str], environ: Mapping[str, str]) -> UsageError | None:
    try:
        parse(argv, environ)
    except UsageError as error:
        return error
    return None


@given(ARGUMENTS, ENVIRONMENTS)
def test_any_input_gives_a_configuration_or_one_printable_line(argv: list[str], environ: dict[str, str]) -> None:
    error = complaint(argv, environ)

    assert error is None or str(error).isprintable()


SECRET = "hunter2"
LOOSE = st.text(max_size=3).map(lambda text: f"{SECRET}{text}")


@given(st.sampled_from([flag for flag in FLAGS.values() if flag.secret]), LOOSE, st.data())
def test_no_error_shows_a_secret(flag: Flag, secret: str, data: st.DataObject) -> None:
    name = f"--{flag.name}"
    argv = data.draw(
        st.sampled_from(
            [[f"{name}={secret}"], [name, secret], [f"{name}=", secret], [f"{name}:{secret}"], [f"{name} {secret}"]]
        )
    )
    environ = data.draw(st.sampled_from([{}, {flag.env: secret}]))

    error = complaint(argv, environ)

    assert error is None or SECRET not in f"{error!r} {error.__cause__!r} {error.__context__!r}"
