"""What becomes of each definition, and how it is printed: as Secrets, or as a line for each key.

The Secrets are what the controller would write, but for what only a cluster has: no owner, no uid, no time, no mark
that tells a copy. So the same definitions and values give the same text.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import yaml

from secrets_manager.controller.definition import Reason, SecretDefinition
from secrets_manager.controller.desired import Desired, Documents, Resolved, desired, resolve
from secrets_manager.controller.metadata import desired_metadata
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret import OWNER, Secret
from secrets_manager.kube.objects import ObjectMeta
from secrets_manager.logs import one_line
from secrets_manager.render.manifests import Found


class Outcome(NamedTuple):
    """What becomes of one definition: its Secret, or the problem; and that of each key, as far as it got."""

    subject: str
    keys: Resolved
    whole: Secret | Problem


class Rendering(NamedTuple):
    """What is to be printed. `remarks` are lines that are no part of the result."""

    text: str
    remarks: list[str]
    complete: bool


def outcome(found: Found, documents: Documents, policy: PathPolicy) -> Outcome:
    """Judge one definition, as the controller would."""
    if isinstance(found.definition, str):
        return Outcome(found.place, {}, Problem(Reason.DEFINITION_INVALID, found.definition))
    subject = f"{str(found.definition.key).removeprefix('/')} ({found.place})"
    spec = policy.admit(found.definition)
    if isinstance(spec, Problem):
        return Outcome(subject, {}, spec)
    keys = resolve(spec, documents)
    wish = desired(spec, keys)
    return Outcome(subject, keys, wish if isinstance(wish, Problem) else _secret(found.definition, wish))


def as_secrets(outcomes: Iterable[Outcome]) -> Rendering:
    """All Secrets, as documents of YAML; what is wrong with the others is remarks."""
    secrets: list[Secret] = []
    remarks: list[str] = []
    for each in outcomes:
        if isinstance(each.whole, Secret):
            secrets.append(each.whole)
        else:
            remarks += _problems(each, each.whole)
    text = "".join(f"---\n{yaml.safe_dump(msgspec.to_builtins(secret), sort_keys=False)}" for secret in secrets)
    return Rendering(text, remarks, complete=not remarks)


def as_check(outcomes: Iterable[Outcome]) -> Rendering:
    """A line for each key that is well, and one for each problem. No value is in it."""
    lines: list[str] = []
    complete = True
    for each in outcomes:
        lines += [f"{each.subject}: key {key}: ok" for key, value in each.keys.items() if isinstance(value, bytes)]
        if isinstance(each.whole, Problem):
            lines += _problems(each, each.whole)
            complete = False
    return Rendering("".join(f"{one_line(line)}\n" for line in lines), [], complete)


def _problems(each: Outcome, whole: Problem) -> list[str]:
    """Those of the keys; where none has one, that of the whole."""
    of_keys = [value for value in each.keys.values() if isinstance(value, Problem)]
    return [f"{each.subject}: {problem.reason}: {problem.message}" for problem in of_keys or [whole]]


def _secret(definition: SecretDefinition, wish: Desired) -> Secret:
    labels, annotations = desired_metadata(definition)
    return Secret(
        api_version="v1",
        metadata=ObjectMeta(
            name=wish.name,
            namespace=definition.metadata.namespace,
            labels={name: text for name, text in labels.items() if name != OWNER},
            annotations=annotations,
        ),
        type=wish.type,
        data=wish.data,
    )
