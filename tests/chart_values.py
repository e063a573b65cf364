"""The values of the chart as its values.yaml documents them: the comment above each key."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import yaml

from fake_kubernetes.documents import Json
from tests.documents import ROOT

VALUES = ROOT / "deploy" / "chart" / "values.yaml"


class Value(NamedTuple):
    """One value. `name` has dots: image.tag."""

    name: str
    default: Json
    meaning: str


def values() -> list[Value]:
    """All values, in their order. Raises: ValueError where one has no comment."""
    written = VALUES.read_text()
    root = yaml.compose(written, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    return list(_below(root, written.splitlines(), ""))


def _below(node: yaml.MappingNode, lines: list[str], path: str) -> Iterator[Value]:
    """A mapping with a comment is one value; without one it is a group of values."""
    for key, inner in node.value:
        name, meaning = f"{path}{key.value}", _comment(lines, key.start_mark.line)
        if meaning:
            yield Value(name, yaml.safe_load(yaml.serialize(inner)), meaning)
        elif isinstance(inner, yaml.MappingNode):
            yield from _below(inner, lines, f"{name}.")
        else:
            raise ValueError(f"{VALUES.name}: {name} has no comment above it")


def _comment(lines: list[str], line: int) -> str:
    """The comment that ends right above a line."""
    found: list[str] = []
    while line and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].lstrip("# "))
    return " ".join(found)


def readme() -> str:
    """deploy/chart/README.md, below its first line."""
    rows = "".join(f"| `{one.name}` | `{json.dumps(one.default)}` | {one.meaning} |\n" for one in values())
    return (
        "# The chart secrets-manager\n\n"
        "[Install](../../docs/install.md#helm) has the commands, and says what comes before and after.\n"
        "`values.schema.json` refuses a value that is not in this table, and one that can't be.\n\n"
        f"| Value | Default | Meaning |\n|---|---|---|\n{rows}"
    )
