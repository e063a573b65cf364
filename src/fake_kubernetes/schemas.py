"""Structural schemas, as far as CRDs commonly use them: unknown fields are dropped, defaults set, the rest checked.

Left out: CEL rules (`x-kubernetes-validations`), `oneOf` and its kin, list types.
"""

import json
import re
from collections.abc import Iterator

from fake_kubernetes.documents import Json, Object, at, mapping
from fake_kubernetes.refusals import Cause, required, wrong

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
LIMITS = {
    # keyword: the type it speaks of, is it a lower bound, words
    "minimum": ("number", True, "greater than or equal to"),
    "maximum": ("number", False, "less than or equal to"),
    "minLength": ("string", True, "at least {} chars long"),
    "maxLength": ("string", False, "at most {} chars long"),
    "minItems": ("array", True, "should have at least {} items"),
    "maxItems": ("array", False, "should have at most {} items"),
    "minProperties": ("object", True, "should have at least {} properties"),
    "maxProperties": ("object", False, "should have at most {} properties"),
}


def fitted(schema: Object, value: Json, *, path: str = "", unknown: list[str]) -> Json:
    """Copy the value without the fields that the schema does not know, which go to `unknown`, and with its defaults."""
    if isinstance(value, list):
        each = mapping(schema, "items")
        return [fitted(each, item, path=f"{path}[{at}]", unknown=unknown) for at, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    properties = mapping(schema, "properties")
    others = schema.get("additionalProperties")
    keeps_all = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or others is True
    kept: Object = {}
    for name, field in value.items():
        inner = f"{path}.{name}" if path else name
        if name in properties:
            kept[name] = fitted(mapping(properties, name), field, path=inner, unknown=unknown)
        elif isinstance(others, dict):
            kept[name] = fitted(others, field, path=inner, unknown=unknown)
        elif keeps_all:
            kept[name] = field
        else:
            unknown.append(inner)
    for name, known in properties.items():
        if name not in kept and (default := at(known, "default")) is not None:
            kept[name] = default
    return kept


def causes(schema: Object, value: Json, *, path: str = "") -> Iterator[Cause]:
    """Say what the schema has against the value, field by field."""
    if value is None and schema.get("nullable"):
        return
    expected = str(schema.get("type", ""))
    if not is_a(expected, value) and not (schema.get("x-kubernetes-int-or-string") and isinstance(value, str | int)):
        found = type_name(value)
        yield wrong(path, f'"{found}"', f'{path} in body must be of type {expected}: "{found}"')
        return
    yield from scalar_causes(schema, value, path=path)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from causes(mapping(schema, "items"), item, path=f"{path}[{index}]")
    if isinstance(value, dict):
        yield from object_causes(schema, value, path=path)


def object_causes(schema: Object, value: Object, *, path: str) -> Iterator[Cause]:
    properties = mapping(schema, "properties")
    needed = schema.get("required")
    for name in needed if isinstance(needed, list) else []:
        if isinstance(name, str) and name not in value:
            yield required(f"{path}.{name}" if path else name)
    for name, field in value.items():
        known = mapping(properties, name) if name in properties else mapping(schema, "additionalProperties")
        yield from causes(known, field, path=f"{path}.{name}" if path else name)


def scalar_causes(schema: Object, value: Json, *, path: str) -> Iterator[Cause]:
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        supported = ", ".join(json.dumps(each) for each in allowed)
        message = f"Unsupported value: {json.dumps(value)}: supported values: {supported}"
        yield Cause(path, "FieldValueNotSupported", message)
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and isinstance(value, str) and not re.search(pattern, value):
        yield wrong(path, json.dumps(value), f"{path} in body should match '{pattern}'")
    for keyword, limit in schema.items():
        if keyword not in LIMITS:
            continue
        kind, lower, words = LIMITS[keyword]
        if isinstance(limit, int | float) and is_a(kind, value):
            size = (
                value if isinstance(value, int | float) else len(value) if isinstance(value, str | list | dict) else 0
            )
            if size < limit if lower else size > limit:
                expected = words.format(limit) if "{}" in words else f"{words} {limit}"
                yield wrong(path, json.dumps(value), f"{path} in body should be {expected}")


def is_a(expected: str, value: Json) -> bool:
    """Compare with a JSON schema type; an empty one fits all. A boolean is no number, unlike in Python."""
    if not expected:
        return True
    if isinstance(value, bool):
        return expected == "boolean"
    return isinstance(value, TYPES.get(expected, ()))


def type_name(value: Json) -> str:
    return next((name for name in TYPES if is_a(name, value)), "null")
