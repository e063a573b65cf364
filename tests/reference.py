"""The reference documents, made from the program's own tables:  python -m tests.reference  writes them.

docs/flags.md comes from the table of flags, docs/crd.md from the CRD's schema, docs/metrics.md from the metrics, the
README of the chart from its values. What deploy/monitoring has twice, or would be tedious to write, is made here too.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import yaml
from prometheus_client import CollectorRegistry

from fake_kubernetes.documents import Json, Object, at, items, mapping, text
from secrets_manager.cli.gosyntax import Flag, alternatives
from secrets_manager.cli.table import GROUPS
from secrets_manager.cli.usage import COMMANDS
from secrets_manager.config import AzureConfig, VaultConfig
from secrets_manager.controller import crd
from secrets_manager.metrics import (
    AzureMetrics,
    BackendMetrics,
    ControllerMetrics,
    KubeMetrics,
    VaultMetrics,
    register_process_metrics,
)
from tests import chart_values
from tests.documents import ROOT
from tests.monitoring.dashboard import dashboard
from tests.monitoring.rules import prometheus_rule, rules_of_the_chart

HEAD = "| Flag | Environment | Default | Meaning |\n|---|---|---|---|\n"
MADE = "<!-- Made by `just reference`; changes here are lost. -->\n"


def flags() -> str:
    """docs/flags.md."""
    tables = "".join(f"\n## {title}\n\n{HEAD}{''.join(map(_flag, group))}" for title, group in GROUPS.items())
    commands = "".join(
        f"\n### {name}\n\n{command.about}\n\n{HEAD}{''.join(map(_flag, command.groups['Flags']))}"
        for name, command in COMMANDS.items()
        if name not in {"run", "crd"}
    )
    return (
        f"{MADE}# Flags\n\n"
        "A flag is written with one dash or two, as `--flag=value` or `--flag value`. Durations are like `300ms` or\n"
        "`1m30s`. Where a flag has an environment variable, the variable wins.\n"
        f"{tables}"
        "\n## Commands\n\nThese commands have flags of their own beside those above that their `--help` lists.\n"
        f"{commands}"
    )


def schema() -> str:
    """docs/crd.md."""
    manifest = _loaded()
    names = mapping(manifest, "spec", "names")
    (version,) = items(manifest, "spec", "versions")
    spec, status = (mapping(version, "schema", "openAPIV3Schema", "properties", name) for name in ("spec", "status"))
    columns = "".join(map(_column, items(version, "additionalPrinterColumns")))
    selectable = [text(field, "jsonPath") for field in items(version, "selectableFields")]
    return (
        f"{MADE}# CRD\n\n"
        f"`{text(names, 'kind')}`, `{text(manifest, 'spec', 'group')}/{text(version, 'name')}`, namespaced. "
        f"Short name: {_list(at(names, 'shortNames'))}. Category: {_list(at(names, 'categories'))}. "
        f"Selectable field: {_list([*selectable])}.\n\n"
        "The manifest is [deploy/crd.yaml](../deploy/crd.yaml). [Definitions](definitions.md) has examples.\n\n"
        f"## Spec\n\n{_table(spec, 'spec')}\n"
        "### Rules\n\nThe API server refuses an object that breaks a rule, with its message:\n\n"
        f"{''.join(_rules(spec, 'spec'))}\n"
        "### Limits\n\nAt most, or the API server refuses the object and examines no rule:\n\n"
        f"{''.join(_limits(spec, 'spec'))}\n"
        f"## Status\n\n{_table(status, 'status')}\n"
        f"## Columns\n\nWhat `kubectl get` prints:\n\n| Column | Source |\n|---|---|\n{columns}"
    )


def chart() -> str:
    """deploy/chart/README.md."""
    return f"{MADE}{chart_values.readme()}"


def metrics() -> str:
    """docs/metrics.md."""
    rows = "".join(
        f"| `{name}` | {type_} | {', '.join(map(_code, labels))} | {help_} |\n"
        for name, type_, labels, help_ in sorted(_families(all_metrics()))
    )
    return (
        f"{MADE}# Metrics\n\n"
        "What `/metrics` may serve, of the backend in use. See also [Operations](operations.md#metrics).\n\n"
        f"| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n{rows}"
    )


def all_metrics() -> CollectorRegistry:
    """The metrics of a process that has every backend."""
    registry = CollectorRegistry()
    register_process_metrics(registry, version="")
    KubeMetrics(registry, url="")
    ControllerMetrics(registry)
    BackendMetrics(registry)
    VaultMetrics(registry, VaultConfig())
    AzureMetrics(registry, AzureConfig(name="shop"))
    return registry


REFERENCES: Mapping[str, Callable[[], str]] = {
    "docs/flags.md": flags,
    "docs/crd.md": schema,
    "docs/metrics.md": metrics,
    "deploy/chart/README.md": chart,
    "deploy/chart/files/dashboard.json": dashboard,
    "deploy/chart/files/rules.yaml": rules_of_the_chart,
    "deploy/monitoring/dashboard.json": dashboard,
    "deploy/monitoring/prometheus-rule.yaml": prometheus_rule,
}


def _families(registry: CollectorRegistry) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """The name, the type, the labels and the help of each family."""
    endings = {"counter": "_total", "info": "_info"}
    for collector in registry._collector_to_names:
        for family in collector.collect():
            labels = getattr(collector, "_labelnames", ()) or getattr(family, "_labelnames", ())
            if family.type == "info":
                labels = family.samples[0].labels
            name = f"{family.name}{endings.get(family.type, '')}"
            yield name, family.type, tuple(_grouped(labels)), family.documentation


def _grouped(labels: Iterable[str]) -> Iterator[str]:
    """The labels of a backend's server by one name."""
    return iter(dict.fromkeys(re.sub(r"^(vault|azure_kv)_(?!operation).*", r"\1_*", label) for label in labels))


def _flag(flag: Flag) -> str:
    values = f" {alternatives([*map(_code, flag.type.allowed)])}." if flag.type.allowed else ""
    return f"| `{flag.name}` | {_code(flag.env)} | {_code(flag.default)} | {flag.help}{values} |\n"


def _code(words: str) -> str:
    return f"`{words}`" if words else ""


def _loaded() -> Object:
    document: Object = yaml.safe_load(crd.manifest())
    return document


def _fields(schema: Json, path: str) -> Iterator[tuple[str, Json, bool]]:
    """The fields below a schema with their paths, each before those in it, and whether it is required."""
    required = at(schema, "required")
    for name, field in mapping(schema, "properties").items():
        inner = f"{path}.{name}"
        yield inner, field, isinstance(required, list) and name in required
        yield from _fields(field, inner)
        if (item := at(field, "items")) is not None:
            yield from _fields(item, f"{inner}[]")
        if isinstance(value := at(field, "additionalProperties"), dict):
            yield from _fields(value, f"{inner}.KEY")


def _table(schema: Json, path: str) -> str:
    rows = (
        f"| `{name}` | {_type(field)} | {'yes' if required else ''} | {text(field, 'description')} |\n"
        for name, field, required in _fields(schema, path)
    )
    return f"| Field | Type | Required | Meaning |\n|---|---|---|---|\n{''.join(rows)}"


def _type(field: Json) -> str:
    if at(field, "x-kubernetes-int-or-string") is True:
        return "integer or string"
    if isinstance(at(field, "additionalProperties"), dict):
        return "map"
    return text(field, "format") or text(field, "type")


def _schemas(schema: Json, path: str) -> Iterator[tuple[str, Json]]:
    """A schema and all those in it, also of items and values, with their paths."""
    yield path, schema
    for name, field in mapping(schema, "properties").items():
        yield from _schemas(field, f"{path}.{name}")
    for key, end in (("items", "[]"), ("additionalProperties", ".KEY")):
        if isinstance(inner := at(schema, key), dict):
            yield from _schemas(inner, f"{path}{end}")


def _rules(schema: Json, path: str) -> Iterator[str]:
    for name, field in _schemas(schema, path):
        for rule in items(field, "x-kubernetes-validations"):
            yield f"- `{name}`: {text(rule, 'message')}\n"


def _limits(schema: Json, path: str) -> Iterator[str]:
    units = {"maxItems": "entries", "maxProperties": "entries", "maxLength": "characters"}
    for name, field in _schemas(schema, path):
        for key, unit in units.items():
            if (limit := at(field, key)) is not None:
                yield f"- `{name}`: {limit} {unit}\n"


def _column(column: Json) -> str:
    wide = " (with `--output=wide`)" if at(column, "priority") else ""
    return f"| {text(column, 'name')}{wide} | `{text(column, 'jsonPath')}` |\n"


def _list(words: Json) -> str:
    return ", ".join(f"`{word}`" for word in words) if isinstance(words, list) else ""


if __name__ == "__main__":
    for name, made in REFERENCES.items():
        (ROOT / name).write_text(made())
