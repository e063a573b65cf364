"""The values of expressions: a text; a number, which literals and `size` make; a list, which `split` makes.

There is no true, false or nil: in Liquid every text is true, `"false"` too, so a condition has to compare.
"""

from secrets_manager.templates.errors import Refused

Value = str | int | tuple[str, ...]


def text_of(value: Value) -> str:
    """Return the value as a text. Raises: Refused."""
    match value:
        case str():
            return value
        case int():
            return str(value)
        case _:
            raise Refused("a list has no text of its own: join it, or take its first or last")


def utf8(text: str) -> bytes:
    """Return the text in UTF-8. Raises: Refused."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Refused("the value holds half a character (a lone surrogate), which no text encoding has") from None


def characters(value: Value) -> int:
    """Return how many characters the value holds."""
    match value:
        case str():
            return len(value)
        case int():
            return 1
        case _:
            return sum(map(len, value)) + len(value)
