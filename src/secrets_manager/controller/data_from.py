"""Choose the keys of a document that an entry of `dataFrom` takes, and name them. Pure.

include, exclude   choose by globs on the names in the document
rename             gives a key its whole name
prefix             is put before all other names
conversion         replaces what a key of a Secret can't have, in these names too

A document may have a megabyte of names, and an entry 128 globs. So all of this is done in small steps, between which
the caller decides what runs, and each step is paid for: a unit is a nanosecond and a half at most.
"""

import re
from collections.abc import Generator, Iterable, Mapping
from fnmatch import translate

from secrets_manager.controller import rules
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.names import is_key, listed
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.spec import DataFrom
from secrets_manager.controller.validation import MAX_SECRET_BYTES
from secrets_manager.errors import SecretsManagerError

MAX_WORK = 2**29
"""Units for one definition."""
MAX_STEP = 2**23
"""Units between two turns of others: what all globs of an entry take for the longest key of a Secret."""
NAME = 1024
"""Units for a name, whatever becomes of it."""
MATCH = 128
"""Units for a name and a glob, beside what their characters take."""
COMPILED = 4096
"""Units for reading a character of a glob."""
TOO_MANY_NAMES = Problem(
    Reason.SECRET_REJECTED,
    f"the names of the keys are more than {MAX_SECRET_BYTES} bytes together, and a Secret holds no more: "
    "split it into several",
)

_NOT_IN_KEYS = re.compile(r"[^-._a-zA-Z0-9]")


class _TooMuch(SecretsManagerError):
    """The definition has spent all its work."""


class Work:
    """What is left to spend on the names and globs of one definition."""

    def __init__(self) -> None:
        self._left = MAX_WORK
        self._since_turn = 0

    def pay(self, units: int) -> bool:
        """Pay for a step, and return whether others are to have a turn before it. Raises: _TooMuch."""
        self._left -= units
        if self._left < 0 or units > MAX_STEP:
            raise _TooMuch
        self._since_turn += units
        if self._since_turn < MAX_STEP // 4:
            return False
        self._since_turn = 0
        return True


def chosen_keys(
    entry: DataFrom, names: Iterable[str], work: Work, *, where: str
) -> Generator[None, None, Mapping[str, str] | Problem]:
    """Return the name in the document of each key of the Secret, and yield where others are to have a turn.

    `where` is the document, for messages.
    """
    found = sorted(names)
    if not found:
        return Problem(Reason.SOURCE_INVALID, f"{where} is empty: write its keys, or remove it from dataFrom")
    try:
        chosen = yield from _chosen(entry, found, work)
        if chosen:
            return (yield from _named(entry, chosen, work, where))
    except _TooMuch:
        text = f"{where}: the names and globs up to here are too many or too long: use fewer or shorter ones"
        return Problem(Reason.SOURCE_INVALID, text)
    text = f"{where} has no key that include and exclude leave: correct the globs"
    return Problem(Reason.SOURCE_INVALID, text)


def _chosen(entry: DataFrom, names: list[str], work: Work) -> Generator[None, None, list[str]]:
    """Return the names that include and exclude leave. Raises: _TooMuch."""
    globs = entry.include + entry.exclude
    patterns: list[re.Pattern[str]] = []
    for glob in globs:
        if work.pay(COMPILED * len(glob)):
            yield
        patterns.append(re.compile(translate(glob)))
    included, excluded = patterns[: len(entry.include)], patterns[len(entry.include) :]
    for_each = NAME + sum(MATCH + len(glob) for glob in globs)
    for_each_character = sum(len(glob.partition("*")[2]) for glob in globs)  # what may begin anywhere in the name
    chosen: list[str] = []
    for name in names:
        if work.pay(for_each + for_each_character * len(name)):
            yield
        if (not included or _any_matches(included, name)) and not _any_matches(excluded, name):
            chosen.append(name)
    return chosen


def _any_matches(patterns: list[re.Pattern[str]], name: str) -> bool:
    return any(pattern.match(name) for pattern in patterns)


def _named(
    entry: DataFrom, names: list[str], work: Work, where: str
) -> Generator[None, None, Mapping[str, str] | Problem]:
    """Return the names by the keys of the Secret that they become. Raises: _TooMuch."""
    named: dict[str, str] = {}
    bad: list[str] = []
    same: list[str] = []
    room = MAX_SECRET_BYTES
    for name in names:
        if work.pay(NAME):
            yield
        key = _key(entry, name)
        if not is_key(key):
            bad.append(name)
            continue
        room -= len(key)
        if room < 0:
            return TOO_MANY_NAMES
        if key in named:
            same.append(named[key])
        named[key] = name
    if bad:
        step = "rename or exclude them" if entry.conversion else f"set conversion: {rules.UNDERSCORE}, or rename"
        text = f"{where} has keys that a Secret can't have: {listed(bad)}: {step}"
        return Problem(Reason.SOURCE_INVALID, text)
    if same:
        text = f"{where} has keys that get the name of another one: {listed(same)}: rename or exclude them"
        return Problem(Reason.SOURCE_INVALID, text)
    return named


def _key(entry: DataFrom, name: str) -> str:
    if name in entry.rename:
        return entry.rename[name]
    key = entry.prefix + name
    return _NOT_IN_KEYS.sub("_", key) if entry.conversion else key
