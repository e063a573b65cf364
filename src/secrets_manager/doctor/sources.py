"""The sources that definitions use, and whether the allowed paths let them."""

from collections.abc import Iterable
from typing import NamedTuple

from secrets_manager.backends import Source
from secrets_manager.controller.definition import Reason, SecretDefinition
from secrets_manager.controller.path_policy import PathPolicy, Segments
from secrets_manager.controller.spec import Spec
from secrets_manager.doctor.finding import Finding, ok, warning
from secrets_manager.kube.objects import ObjectKey

CHECK = "allowed-paths"
MAX_NAMED = 10
"""Findings of one kind. Of more, the number is shown."""


class Used(NamedTuple):
    """Each source, with a definition that uses it; and what was found."""

    sources: dict[Source, ObjectKey]
    findings: list[Finding]


def used(definitions: Iterable[SecretDefinition], patterns: Iterable[str], segments: Segments, *, flag: str) -> Used:
    """Return what valid definitions use. `flag` is that of the allowed paths."""
    policy = PathPolicy(patterns, segments)
    sources: dict[Source, ObjectKey] = {}
    findings: list[Finding] = []
    for definition in definitions:
        admitted = policy.admit(definition)
        if isinstance(admitted, Spec):
            for source in admitted.read_sources:
                sources.setdefault(source, definition.key)
        elif admitted.reason is Reason.PATH_NOT_ALLOWED:
            fix = f"correct the definition, or extend --{flag}"
            findings.append(warning(CHECK, f"{definition.key}: {admitted.message}", fix=fix))
    if patterns and not findings:
        findings.append(ok(CHECK, "every definition uses paths that its namespace may use"))
    return Used(sources, bounded(findings))


def bounded(findings: list[Finding]) -> list[Finding]:
    """Return the first findings of one kind, the last of which tells how many others there are."""
    if len(findings) <= MAX_NAMED:
        return findings
    first, others = findings[0], len(findings) - MAX_NAMED
    return [*findings[:MAX_NAMED], Finding(first.check, first.state, f"and {others} more like these", first.fix)]
