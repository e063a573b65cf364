"""Choose the keys of a document that an entry of `dataFrom` takes, and name them. Pure.

include, exclude   choose by globs on the names in the document
rename             gives a key its whole name
prefix             is put before all other names
conversion         replaces what a key of a Secret can't have, in these names too
"""

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from functools import lru_cache

from secrets_manager.controller import rules
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.names import is_key, listed
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.spec import DataFrom

_NOT_IN_KEYS = re.compile(r"[^-._a-zA-Z0-9]")


def chosen_keys(entry: DataFrom, names: Iterable[str], *, where: str) -> Mapping[str, str] | Problem:
    """Return the name in the document of each key of the Secret. `where` is the document, for messages."""
    found = sorted(names)
    if not found:
        return Problem(Reason.SOURCE_INVALID, f"{where} is empty: write its keys, or remove it from dataFrom")
    included, excluded = _one_of(entry.include), _one_of(entry.exclude)
    chosen = [
        name
        for name in found
        if not (included and not included.match(name)) and not (excluded and excluded.match(name))
    ]
    if not chosen:
        text = f"{where} has no key that include and exclude leave: correct the globs"
        return Problem(Reason.SOURCE_INVALID, text)
    keys = [(_key(entry, name), name) for name in chosen]
    bad = [name for key, name in keys if not is_key(key)]
    if bad:
        text = (
            f"{where} has keys that a Secret can't have: {listed(bad)}: set conversion: {rules.UNDERSCORE}, or rename"
        )
        return Problem(Reason.SOURCE_INVALID, text)
    named = dict(keys)
    if len(named) < len(keys):
        same = [name for key, name in keys if named[key] != name]
        text = f"{where} has keys that get the name of another one: {listed(same)}: rename or exclude them"
        return Problem(Reason.SOURCE_INVALID, text)
    return named


@lru_cache(maxsize=1024)
def _one_of(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return the pattern of all names that match one of the globs: a name is looked at once, however many there are."""
    return re.compile("|".join(map(translate, globs))) if globs else None


def _key(entry: DataFrom, name: str) -> str:
    if name in entry.rename:
        return entry.rename[name]
    key = entry.prefix + name
    return _NOT_IN_KEYS.sub("_", key) if entry.conversion else key
