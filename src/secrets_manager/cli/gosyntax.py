"""Parse command lines as Go's package `flag` does, and values as Go's `strconv` does.

A flag starts with one dash or two. Its value follows after `=` or as the next argument; that of a boolean flag only
after `=`. The last one wins. What is accepted means the same in Go. A positional argument, at which Go silently stops
and ignores all later flags, is an error here, unless the command takes some: then flags may follow.

No error message contains an argument that may be a secret.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from secrets_manager.errors import InvalidValue, UsageError

Value = str | int | float | bool | tuple[str, ...]

ARGUMENT = ""
"""The name of a positional argument."""
SEE_HELP = "see `secrets-manager --help`"
"""The end of a message that knows nothing better."""
MAX_QUOTED = 60
_MAX_INT64 = 2**63 - 1
_MAX_LENGTH = 64
"""Characters of a number, more than any valid one has."""

_NAME = re.compile(r"(--?)([A-Za-z0-9._-]*)")
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_BOOLEANS = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "FALSE", "false", "False"), False
)


class ValueType(NamedTuple):
    """The type of a flag's value: its word in the help, its parser, and the allowed values if it is an enumeration."""

    word: str
    read: Callable[[str], Value]
    allowed: tuple[str, ...] = ()


class Flag(NamedTuple):
    """A flag.

    Attributes:
        name: Without dashes.
        type: The type of its value.
        help: One or two sentences.
        default: As a user would write it.
        fields: The fields of the configuration that it sets.
        env: Its environment variable, if there is one.
        secret: No message shows its value.
    """

    name: str
    type: ValueType
    help: str
    default: str = ""
    fields: tuple[str, ...] = ()
    env: str = ""
    secret: bool = False


def boolean(text: str) -> bool:
    """Parse as strconv.ParseBool.

    Raises:
        InvalidValue: it is not valid.
    """
    if text not in _BOOLEANS:
        raise InvalidValue("is neither true nor false")
    return _BOOLEANS[text]


def integer(text: str) -> int:
    """Parse as strconv.Atoi, without leading zeros: Go's package flag reads them as octal.

    Raises:
        InvalidValue: it is not valid.
    """
    if len(text) > _MAX_LENGTH or not _INTEGER.fullmatch(text) or abs(int(text)) > _MAX_INT64:
        raise InvalidValue("is not an integer")
    return int(text)


def text(text: str) -> str:
    """Strip white space, which comes from files and quotes.

    Raises:
        InvalidValue: it is not valid.
    """
    stripped = text.strip()
    if not stripped.isprintable():
        raise InvalidValue("holds an invisible character")
    return stripped


BOOLEAN = ValueType("", boolean)
TEXT = ValueType("TEXT", text)


def at_least(least: str, value_type: ValueType) -> ValueType:
    """Return a type of number or duration with a lower bound, written as a user would write it."""
    bound = value_type.read(least)

    def read(text: str) -> Value:
        value = value_type.read(text)
        assert isinstance(value, int | float)
        assert isinstance(bound, int | float)
        if value < bound:
            raise InvalidValue(f"is too small: the minimum is {least}")
        return value

    return ValueType(value_type.word, read)


def choice(*allowed: str) -> ValueType:
    """Return a type of an enumeration."""

    def read(text: str) -> str:
        if text not in allowed:
            raise InvalidValue(f"is unknown: use {alternatives(allowed)}")
        return text

    return ValueType("|".join(allowed), read, allowed)


def alternatives(words: Sequence[str]) -> str:
    """Join words for a sentence: "a, b or c"."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def scan(
    argv: Sequence[str], flags: Mapping[str, Flag], *, arguments: bool = False, see: str = SEE_HELP
) -> list[tuple[str, Value]]:
    """Parse a command line. Return names and values of its flags, in order.

    If the command takes `arguments`, positional ones are returned too, under the name ARGUMENT. `see` points to its
    help.

    Raises:
        UsageError: one line.
    """
    found: list[tuple[str, Value]] = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if argument == "--" and not rest:
            break
        if arguments and not argument.startswith("-"):
            found.append((ARGUMENT, argument))
            continue
        flag, raw = _split(argument, flags, after=found[-1][0] if found else "", see=see)
        if raw is None:
            if flag.type is BOOLEAN:
                raw = "true"
            elif rest:
                raw = rest.pop(0)
            else:
                raise UsageError(f"--{flag.name} needs a value: {flag.help}")
        found.append((flag.name, value_of(flag, raw, f"--{flag.name}")))
    return found


def value_of(flag: Flag, raw: str, where: str) -> Value:
    """Parse a flag's value. `where` names the flag or the environment variable.

    Raises:
        UsageError: it is not valid. The message does not contain it if it may be a secret.
    """
    try:
        return flag.type.read(raw)
    except InvalidValue as why:
        has_query = "?" in raw and ("/" in raw or "=" in raw)
        hidden = flag.secret or "@" in raw or has_query  # a URL may hold a password, or a token in its query
        raise UsageError(f"{where}: {'the value' if hidden else quoted(raw)} {why}") from None


def quoted(text: str) -> str:
    """Quote a user's text for a message: escaped and bounded."""
    return ascii(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}...")


def did_you_mean(word: str, known: Collection[str], *, prefix: str = "", see: str = SEE_HELP) -> str:
    """Return the end of a message: the closest match, or a pointer to the help."""
    nearest = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {prefix}{nearest[0]}?" if nearest else see


def _split(argument: str, flags: Mapping[str, Flag], *, after: str, see: str) -> tuple[Flag, str | None]:
    """Return the flag that an argument names, and its value if it has one. `after` is the flag before it."""
    name, equals, raw = argument.partition("=")
    bare = name.removeprefix("-").removeprefix("-")
    if not name.startswith("-") or not bare or bare.startswith("-"):
        raise UsageError(_loose(flags.get(after), flags, see=see))
    if bare not in flags:
        raise UsageError(_unknown(name, flags, see=see))
    return flags[bare], raw if equals else None


def _unknown(name: str, flags: Mapping[str, Flag], *, see: str) -> str:
    """Quote only what may be a flag: `--flag:value` and `--flag value` in one argument may contain a secret."""
    like_a_flag = _NAME.match(name)
    assert like_a_flag
    dashes, bare = like_a_flag.groups()
    if bare in flags:
        return f"--{bare}: put its value after =, or into an argument of its own"
    return f"unknown flag {dashes}{bare}: {did_you_mean(bare, flags, prefix='--', see=see)}"


def _loose(before: Flag | None, flags: Mapping[str, Flag], *, see: str) -> str:
    """Don't quote a positional argument: it may be the second half of a secret with a space."""
    if before is None:
        step = "name a file by --file (-f)" if "file" in flags else see
        return f"there is an argument that is not a flag: {step}"
    if before.type is BOOLEAN:
        return f"there is an argument after --{before.name} that is not a flag: write --{before.name}=true or =false"
    return f"there is an argument after the value of --{before.name} that is not a flag: is a quote missing?"
