"""Look up values in the documents that were read. Pure. No message quotes a value."""

from collections.abc import Mapping

import msgspec

from secrets_manager.backends import BackendError, Document, Source, text_of
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.problem import Problem

Documents = Mapping[Source, Document | BackendError]
"""The content of each source, or why it could not be read."""


def value_at(values: Mapping[str, str | None], name: str, where: str, *, remedy: str) -> str | Problem:
    """Return a value, or the problem that there is none; `remedy` says how to do without it."""
    if name not in values:
        return Problem(Reason.SOURCE_NOT_FOUND, f"{where} does not exist: write it, or correct the name")
    text = values[name]
    if text is None:
        return Problem(Reason.SOURCE_INVALID, f"{where} is null: give it a value, or {remedy}")
    return text


def json_fields(text: str) -> dict[str, str | None] | None:
    """Return the fields of a JSON object as texts; None if it is not one."""
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return {field: text_of(value) for field, value in raw.items()}
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
