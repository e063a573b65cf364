"""Command lines as Go's package `flag` reads them, and values as Go's `strconv` does.

A flag has one dash or two. Its value follows after `=`, or as the next argument; that of a flag of yes or no only after
`=`. The last one counts. What is accepted here means in Go the same; a loose argument, at which Go silently stops and
forgets the flags behind it, is an error here.

No error text holds an argument of which one can't tell that it is no secret.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from secrets_manager.errors import Unfit, UsageError

Value = str | int | float | bool | tuple[str, ...]

MAX_SHOWN = 60
_MAX_INT64 = 2**63 - 1
_MAX_LENGTH = 64
"""Characters of a number: more than any that fits."""

_NAME = re.compile(r"(--?)([A-Za-z0-9._-]*)")
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_BOOLEANS = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "FALSE", "false", "False"), False
)


class Kind(NamedTuple):
    """What a flag takes: a word for the help, the parser, and all values where they can be counted."""

    word: str
    read: Callable[[str], Value]
    allowed: tuple[str, ...] = ()


class Flag(NamedTuple):
    """One flag, its environment variable and the fields of the configuration that it fills, each if there are any.

    `default` is written as a user would write it. A secret flag's value is shown nowhere.
    """

    name: str
    kind: Kind
    help: str
    default: str = ""
    fills: tuple[str, ...] = ()
    env: str = ""
    secret: bool = False


def boolean(text: str) -> bool:
    """As strconv.ParseBool. Raises: Unfit."""
    if text not in _BOOLEANS:
        raise Unfit("is neither true nor false")
    return _BOOLEANS[text]


def integer(text: str) -> int:
    """As strconv.Atoi, but no leading zeros, which Go's package flag takes for octal. Raises: Unfit."""
    if len(text) > _MAX_LENGTH or not _INTEGER.fullmatch(text) or abs(int(text)) > _MAX_INT64:
        raise Unfit("is no whole number")
    return int(text)


def text(text: str) -> str:
    """Text without the white space around it, which comes from files and quotes. Raises: Unfit."""
    stripped = text.strip()
    if not stripped.isprintable():
        raise Unfit("holds an invisible character")
    return stripped


BOOLEAN = Kind("", boolean)
TEXT = Kind("TEXT", text)


def at_least(least: str, kind: Kind) -> Kind:
    """The same kind of number or duration, with a lower bound, written as a user would write it."""
    bound = kind.read(least)

    def read(text: str) -> Value:
        value = kind.read(text)
        assert isinstance(value, int | float)
        assert isinstance(bound, int | float)
        if value < bound:
            raise Unfit(f"is too little: it is {least} at least")
        return value

    return Kind(kind.word, read)


def choice(*allowed: str) -> Kind:
    """One of a few words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise Unfit(f"is unknown: it is {alternatives(allowed)}")
        return text

    return Kind("|".join(allowed), read, allowed)


def alternatives(words: Sequence[str]) -> str:
    """Words in a row, for a sentence: "a, b or c"."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def scan(argv: Sequence[str], flags: Mapping[str, Flag]) -> list[tuple[str, Value]]:
    """All flags of a command line, in their order, each by the name of its row and with its value.

    Raises: UsageError, in one line.
    """
    found: list[tuple[str, Value]] = []
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        if argument == "--" and not rest:
            break
        flag, given = _split(argument, flags, after=found[-1][0] if found else "")
        if given is None:
            if flag.kind is BOOLEAN:
                given = "true"
            elif rest:
                given = rest.pop(0)
            else:
                raise UsageError(f"--{flag.name} needs a value: {flag.help}")
        found.append((flag.name, value_of(flag, given, f"--{flag.name}")))
    return found


def value_of(flag: Flag, given: str, where: str) -> Value:
    """What a text means for this flag. `where` it was found: the flag, or an environment variable.

    Raises: UsageError, without the text where it could be a secret.
    """
    try:
        return flag.kind.read(given)
    except Unfit as why:
        hidden = flag.secret or "@" in given  # a URL may hold a password
        raise UsageError(f"{where}: {'the value' if hidden else shown(given)} {why}") from None


def shown(text: str) -> str:
    """What a user typed, quoted, escaped and cut: it may be anything."""
    return ascii(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")


def did_you_mean(word: str, known: Collection[str], *, prefix: str = "") -> str:
    """The end of a sentence: the nearest word that is known, or where all of them are listed."""
    nearest = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {prefix}{nearest[0]}?" if nearest else "`secrets-manager --help` lists what there is"


def _split(argument: str, flags: Mapping[str, Flag], *, after: str) -> tuple[Flag, str | None]:
    """The flag that an argument names, and the value that stands in it. `after` is the flag before it."""
    name, equals, given = argument.partition("=")
    bare = name.removeprefix("-").removeprefix("-")
    if not name.startswith("-") or not bare or bare.startswith("-"):
        raise UsageError(_loose(flags.get(after)))
    if bare not in flags:
        raise UsageError(_unknown(name, flags))
    return flags[bare], given if equals else None


def _unknown(name: str, flags: Mapping[str, Flag]) -> str:
    """Only what looks like a flag is shown: `--flag:value` and `--flag value` in one argument may hold a secret."""
    like_a_flag = _NAME.match(name)
    assert like_a_flag
    dashes, bare = like_a_flag.groups()
    if bare in flags:
        return f"--{bare}: its value stands after =, or in an argument of its own"
    return f"unknown flag {dashes}{bare}: {did_you_mean(bare, flags, prefix='--')}"


def _loose(before: Flag | None) -> str:
    """An argument that is no flag may be the second half of a secret with a space in it: it is not shown."""
    if before is None:
        return "there is an argument that is no flag: `secrets-manager --help` lists what there is"
    if before.kind is BOOLEAN:
        return f"there is an argument after --{before.name} that is no flag: write --{before.name}=true or =false"
    return f"there is an argument after the value of --{before.name} that is no flag: is a quote missing?"
