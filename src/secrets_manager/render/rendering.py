"""Render definitions: as Secrets, or as a line for each key.

The Secrets are those that the controller would write, without what only a cluster has: owner, uid, time, and the
controller's label. So the output depends only on definitions and values.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import yaml

from secrets_manager.controller import templated
from secrets_manager.controller.definition import Reason, SecretDefinition
from secrets_manager.controller.desired import Desired, Resolved, combine, resolve
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.metadata import Metadata, desired_metadata
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret import OWNER, Secret
from secrets_manager.inputs.manifests import FoundDefinition
from secrets_manager.kube.objects import ObjectMeta
from secrets_manager.logs import one_line


class Result(NamedTuple):
    """The result of a definition: its Secret or a problem, and those of its keys, if they were resolved."""

    subject: str
    keys: Resolved
    secret: Secret | Problem


class Rendering(NamedTuple):
    """The output. `messages` are lines for standard error."""

    text: str
    messages: list[str]
    complete: bool


def evaluate(found: FoundDefinition, documents: Documents, policy: PathPolicy) -> Result:
    """Evaluate a definition as the controller does."""
    if isinstance(found.definition, str):
        return Result(found.location, {}, Problem(Reason.DEFINITION_INVALID, found.definition))
    subject = f"{str(found.definition.key).removeprefix('/')} ({found.location})"
    spec = policy.admit(found.definition)
    if isinstance(spec, Problem):
        return Result(subject, {}, spec)
    templates = templated.templates(templated.parsed(spec))
    if isinstance(templates, Problem):
        return Result(subject, {}, templates)
    keys = resolve(spec, documents, dict(templated.rendered(templates, spec, documents)))
    target = combine(spec, keys)
    return Result(subject, keys, target if isinstance(target, Problem) else _secret(found.definition, target))


def render_secrets(results: Iterable[Result]) -> Rendering:
    """Render the Secrets as YAML documents, and the problems as messages."""
    secrets: list[Secret] = []
    messages: list[str] = []
    for each in results:
        if isinstance(each.secret, Secret):
            secrets.append(each.secret)
        else:
            messages += _problems(each, each.secret)
    text = "".join(f"---\n{yaml.safe_dump(msgspec.to_builtins(secret), sort_keys=False)}" for secret in secrets)
    return Rendering(text, messages, complete=not messages)


def render_check(results: Iterable[Result]) -> Rendering:
    """Render a line for each resolved key and each problem, without values."""
    lines: list[str] = []
    complete = True
    for each in results:
        lines += [f"{each.subject}: key {key}: ok" for key, value in each.keys.items() if isinstance(value, bytes)]
        if isinstance(each.secret, Problem):
            lines += _problems(each, each.secret)
            complete = False
    return Rendering("".join(f"{one_line(line)}\n" for line in lines), [], complete)


def _problems(each: Result, secret: Problem) -> list[str]:
    """Return the problems of the keys, or that of the definition if no key has one."""
    of_keys = [value for value in each.keys.values() if isinstance(value, Problem)]
    return [f"{each.subject}: {problem.reason}: {problem.message}" for problem in of_keys or [secret]]


def _secret(definition: SecretDefinition, target: Desired) -> Secret:
    """Return the Secret; its keys alone where these are merged into a Secret of others."""
    merges = definition.merges_into is not None
    labels, annotations = Metadata({}, {}) if merges else desired_metadata(definition)
    return Secret(
        api_version="v1",
        metadata=ObjectMeta(
            name=target.name,
            namespace=definition.metadata.namespace,
            labels={name: text for name, text in labels.items() if name != OWNER},
            annotations=annotations,
        ),
        type=target.type,
        data=target.data,
        immutable=target.immutable,
    )
