"""Label and field selectors, in the textual form of a query parameter."""

import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from fake_kubernetes.documents import Object, mapping, text
from fake_kubernetes.kinds import Kind
from fake_kubernetes.refusals import bad_request

Requirement: TypeAlias = Callable[[Object], bool]

SET = re.compile(r"^(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)$")
EQUALITY = re.compile(r"^(?P<key>[^\s!=]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s!=]*)$")
EXISTENCE = re.compile(r"^(?P<not>!?)\s*(?P<key>[^\s!=()]+)$")
OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")


class Selection(NamedTuple):
    """Which objects of one kind a list or a watch shows. An empty namespace means all of them."""

    resource: str
    namespace: str = ""
    requirements: tuple[Requirement, ...] = ()

    def has(self, document: Object) -> bool:
        if self.namespace and text(document, "metadata", "namespace") != self.namespace:
            return False
        return all(accepts(document) for accepts in self.requirements)


def label_requirements(selector: str) -> tuple[Requirement, ...]:
    """Parse `a=b,a!=b,a in (b,c),a notin (b),a,!a`. Raises: Refusal (400)."""
    return tuple(label_requirement(part.strip()) for part in OUTSIDE_PARENTHESES.split(selector) if part.strip())


def label_requirement(part: str) -> Requirement:
    if match := SET.match(part):
        values = {value.strip() for value in match["values"].split(",")}
        return one_of(match["key"], values, wanted=match["operator"] == "in")
    if match := EQUALITY.match(part):
        return one_of(match["key"], {match["value"]}, wanted=match["operator"] != "!=")
    if match := EXISTENCE.match(part):
        return existing(match["key"], wanted=not match["not"])
    raise bad_request(f"unable to parse requirement: {part}")


def one_of(key: str, values: set[str], *, wanted: bool) -> Requirement:
    def accepts(document: Object) -> bool:
        labels = mapping(document, "metadata", "labels")
        return (key in labels and text(labels, key) in values) == wanted

    return accepts


def existing(key: str, *, wanted: bool) -> Requirement:
    return lambda document: (key in mapping(document, "metadata", "labels")) == wanted


def field_requirements(selector: str, *, kind: Kind) -> tuple[Requirement, ...]:
    """Parse `metadata.name=x,type!=y`. Raises: Refusal (400) for a field that can't be selected by."""
    return tuple(field_requirement(part.strip(), kind=kind) for part in selector.split(",") if part.strip())


def field_requirement(part: str, *, kind: Kind) -> Requirement:
    match = EQUALITY.match(part)
    if not match:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    field, value, wanted = match["key"], match["value"], match["operator"] != "!="
    if field not in ("metadata.name", "metadata.namespace", *kind.selectable):
        raise bad_request(f"field label not supported: {field}")
    path = field.split(".")
    return lambda document: (text(document, *path) == value) == wanted
