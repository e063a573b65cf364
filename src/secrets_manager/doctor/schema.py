"""Check the installed CRD against this program's own.

Reads what the API server publishes of it, not the CRD itself: the controller has no right to that, and needs none.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from secrets_manager.controller import crd
from secrets_manager.controller.definition import API_VERSION, KIND, SECRET_DEFINITIONS
from secrets_manager.doctor.checkup import Result
from secrets_manager.doctor.finding import Finding, failure, ok, skipped, warning
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.discovery import resources, schema
from secrets_manager.kube.errors import Forbidden, NotFound

CHECK = "crd"
FIX = "secrets-manager crd | kubectl apply -f -"
MAX_NAMED = 3


class _Rule(msgspec.Struct, frozen=True):
    rule: str = ""


class Schema(msgspec.Struct, frozen=True):
    """The part of a schema that lists fields and rules."""

    properties: dict[str, "Schema"] = {}
    items: "Schema | None" = None
    additional_properties: "Schema | bool | None" = msgspec.field(name="additionalProperties", default=None)
    validations: tuple[_Rule, ...] = msgspec.field(name="x-kubernetes-validations", default=())


class Difference(NamedTuple):
    """The fields that a schema lacks, and those that lack a rule, by path."""

    fields: list[str]
    rules: list[str]


async def check(client: KubeClient) -> Result[bool]:
    """Return whether the CRD is there. Check that it has the subresource status, and all fields and rules.

    Raises:
        KubeError: The request failed.
    """
    plural = SECRET_DEFINITIONS.plural
    try:
        served = await resources(client, API_VERSION)
    except NotFound:
        served = frozenset[str]()
    if plural not in served:
        return Result([failure(CHECK, f"the CRD of {KIND} is not installed", fix=FIX)], value=False)
    if f"{plural}/status" not in served:
        message = "the installed CRD has no subresource status, as that of the Go original: nothing can be reported"
        return Result([failure(CHECK, message, fix=FIX)], value=True)
    try:
        installed = await schema(client, API_VERSION, KIND, Schema)
    except (NotFound, Forbidden):
        installed = None
    if installed is None:
        return Result([skipped(CHECK, "it is installed; the API server does not publish its schema")], value=True)
    return Result([judge(difference(installed, own_schema()))], value=True)


def judge(lacks: Difference) -> Finding:
    """Return the finding about the schema."""
    if lacks.fields:
        return failure(CHECK, f"the installed CRD is older than this program: it lacks {_named(lacks.fields)}", fix=FIX)
    if lacks.rules:
        return warning(
            CHECK, f"the installed CRD is older than this program: it lacks rules of {_named(lacks.rules)}", fix=FIX
        )
    return ok(CHECK, "it is installed, and as new as this program")


def difference(installed: Schema, wanted: Schema) -> Difference:
    """Return what is installed less than wanted, in spec and status."""
    there, ours = dict(_walk(installed, "")), dict(_walk(wanted, ""))
    fields = [path for path in ours if path not in there]
    rules = [path for path, needed in ours.items() if path in there and not needed <= there[path]]
    tops = [path for path in fields if path.rpartition(".")[0] not in fields]
    return Difference(tops, rules)


def own_schema() -> Schema:
    """Return the schema of this program's own CRD."""
    return msgspec.convert(crd.schema(), Schema)


def _walk(schema: Schema, path: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each field with its rules. What describes objects of every kind is left out."""
    for name, field in schema.properties.items():
        if path or name in ("spec", "status"):
            inner = f"{path}.{name}" if path else name
            yield inner, frozenset(rule.rule for rule in field.validations)
            yield from _walk(field, inner)
    below = schema.additional_properties if isinstance(schema.additional_properties, Schema) else schema.items
    if below is not None:
        yield f"{path}.*", frozenset(rule.rule for rule in below.validations)
        yield from _walk(below, f"{path}.*")


def _named(paths: list[str]) -> str:
    more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
    return f"{', '.join(paths[:MAX_NAMED])}{more}"
