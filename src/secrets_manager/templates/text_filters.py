"""Filters for text. Those that may make much of little say no before they do."""

import re

from secrets_manager.templates.bounds import MAX_ITEMS, Budget, check_length, search_cost
from secrets_manager.templates.errors import Refused

MAX_INDENT = 64
_LINE = re.compile(r"\n(?=[^\n])")


def append(text: str, suffix: str) -> str:
    return text + suffix


def prepend(text: str, prefix: str) -> str:
    return append(prefix, text)


def replace(budget: Budget, text: str, old: str, new: str = "") -> str:
    """Put `new` for each `old`."""
    if not old:
        raise Refused("it looks for an empty text: name what is to be replaced")
    budget.pay(2 * search_cost(text, old))
    check_length(len(text) + text.count(old) * (len(new) - len(old)))
    return text.replace(old, new)


def strip_newlines(text: str) -> str:
    return text.replace("\r\n", "").replace("\n", "")


def indent(text: str, width: int) -> str:
    """Put spaces before each line but the first, which stands where the template has put it, and but empty ones."""
    if width > MAX_INDENT:
        raise Refused(f"it indents by {MAX_INDENT} at most")
    check_length(len(text) + text.count("\n") * width)
    return _LINE.sub("\n" + " " * width, text)


def split(budget: Budget, text: str, separator: str) -> tuple[str, ...]:
    """Return the parts between separators. As in Liquid, a text that is empty has none."""
    if not separator:
        raise Refused("it splits at an empty text: name what is between the parts")
    budget.pay(search_cost(text, separator))
    parts = text.split(separator, MAX_ITEMS) if text else []
    if len(parts) > MAX_ITEMS:
        raise Refused(f"a list has {MAX_ITEMS} items at most")
    return tuple(parts)


def join(items: tuple[str, ...], separator: str) -> str:
    check_length(sum(map(len, items)) + len(items) * len(separator))
    return separator.join(items)


def first(items: tuple[str, ...]) -> str:
    return _item(items, 0)


def last(items: tuple[str, ...]) -> str:
    return _item(items, -1)


def _item(items: tuple[str, ...], index: int) -> str:
    if not items:
        raise Refused("the list is empty")
    return items[index]
