"""All filters there are, by name, with what each character costs.

Costs are measured, on the texts that take longest; what only copies costs one. What depends on more than the number of
characters, such as a search, is paid by the filter itself.
"""

from collections.abc import Callable

from secrets_manager.templates import data_filters, text_filters
from secrets_manager.templates.bounds import Budget
from secrets_manager.templates.errors import Refused
from secrets_manager.templates.nodes import Filter
from secrets_manager.templates.values import Value, text_of


def _text(function: Callable[[str], Value], cost: int = 1) -> Filter:
    return Filter(lambda _, values: function(text_of(values[0])), cost=cost)


def _text_and_text(function: Callable[[str, str], Value]) -> Filter:
    return Filter(lambda _, values: function(text_of(values[0]), text_of(values[1])), 1, 1)


def _replace(budget: Budget, values: tuple[Value, ...]) -> Value:
    return text_filters.replace(budget, *map(text_of, values))


def _split(budget: Budget, values: tuple[Value, ...]) -> Value:
    return text_filters.split(budget, *map(text_of, values))


def _indent(_: Budget, values: tuple[Value, ...]) -> Value:
    return text_filters.indent(text_of(values[0]), _number(values[1]))


def _json_field(_: Budget, values: tuple[Value, ...]) -> Value:
    match values:
        case [text, str() | int() as name]:
            return data_filters.json_field(text_of(text), name)
        case _:
            raise Refused("its argument is the name of a field, or the number of an item")


def _join(_: Budget, values: tuple[Value, ...]) -> Value:
    return text_filters.join(_items(values[0]), text_of(values[1]))


def _default(_: Budget, values: tuple[Value, ...]) -> Value:
    """Liquid's own for what is empty. A key that does not exist is an error all the same: it is looked up before."""
    value, otherwise = values
    return otherwise if value in ("", ()) else value


def _size(_: Budget, values: tuple[Value, ...]) -> Value:
    match values[0]:
        case int():
            raise Refused("a number has no size")
        case sized:
            return len(sized)


def _certificates(budget: Budget, values: tuple[Value, ...]) -> Value:
    from secrets_manager.templates.certificates import certificates  # noqa: PLC0415 - cryptography takes time

    return certificates(budget, *map(text_of, values))


def _private_key(budget: Budget, values: tuple[Value, ...]) -> Value:
    from secrets_manager.templates.certificates import private_key  # noqa: PLC0415 - cryptography takes time

    return private_key(budget, *map(text_of, values))


def _authorities(budget: Budget, values: tuple[Value, ...]) -> Value:
    from secrets_manager.templates.certificates import authorities  # noqa: PLC0415 - cryptography takes time

    return authorities(budget, *map(text_of, values))


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise Refused("its argument is a number, without quotes")
    return value


def _items(value: Value) -> tuple[str, ...]:
    if not isinstance(value, tuple):
        raise Refused("it takes a list, as split makes one")
    return value


FILTERS = {
    "append": _text_and_text(text_filters.append),
    "authorities": Filter(_authorities, 0, 1, cost=32, module="certificates"),
    "base64_decode": _text(data_filters.base64_decode, cost=6),
    "base64_encode": _text(data_filters.base64_encode, cost=6),
    "capitalize": _text(str.capitalize, cost=16),
    "certificates": Filter(_certificates, 0, 1, cost=32, module="certificates"),
    "default": Filter(_default, 1, 1),
    "downcase": _text(str.lower, cost=16),
    "first": Filter(lambda _, values: text_filters.first(_items(values[0]))),
    "indent": Filter(_indent, 1, 1, cost=32),
    "join": Filter(_join, 1, 1),
    "json": _text(data_filters.json, cost=8),
    "json_field": Filter(_json_field, 1, 1, cost=20),
    "last": Filter(lambda _, values: text_filters.last(_items(values[0]))),
    "lstrip": _text(str.lstrip, cost=2),
    "prepend": _text_and_text(text_filters.prepend),
    "private_key": Filter(_private_key, 0, 1, cost=32, module="certificates"),
    "remove": Filter(_replace, 1, 1),
    "replace": Filter(_replace, 1, 2),
    "rstrip": _text(str.rstrip, cost=2),
    "sha256": _text(data_filters.sha256, cost=4),
    "size": Filter(_size),
    "split": Filter(_split, 1, 1),
    "strip": _text(str.strip, cost=2),
    "strip_newlines": _text(text_filters.strip_newlines, cost=6),
    "upcase": _text(str.upper, cost=16),
    "url_decode": _text(data_filters.url_decode, cost=64),
    "url_encode": _text(data_filters.url_encode, cost=128),
    "yaml": _text(data_filters.yaml, cost=48),
}
