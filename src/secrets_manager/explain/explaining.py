"""Explain a definition by its documents and its Secrets. Pure."""

from collections.abc import Iterator

from secrets_manager.backends import BackendError
from secrets_manager.config import ControllerConfig
from secrets_manager.controller.definition import KIND, ROLLOUT_RESTART, SecretDefinition
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.ownership import claim, definition_of
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.controller.spec import Spec
from secrets_manager.explain.explanation import Explanation, Owner, Reported, SourceRead
from secrets_manager.explain.observed import Secrets
from secrets_manager.explain.verdict import unread, verdict_of_deletion, verdict_of_spec
from secrets_manager.inputs.documents import Reading


def explain(
    definition: SecretDefinition, reading: Reading, secrets: Secrets, config: ControllerConfig, *, identity: str
) -> Explanation:
    """Explain a definition by its documents and Secrets. `config` and `identity` are those of the controller."""
    admitted = reading.policy.admit(definition)
    spec = admitted if isinstance(admitted, Spec) else None
    observed = secrets.found.get(definition.spec.name)
    if definition.metadata.deletion_timestamp is not None:
        verdict, spec = verdict_of_deletion(definition, observed, secrets), None
    elif isinstance(admitted, Problem):
        verdict = unread(definition, admitted, secrets)
    else:
        verdict = verdict_of_spec(definition, admitted, reading.documents, secrets)
    return Explanation(
        namespace=definition.key.namespace,
        name=definition.key.name,
        action=verdict.action,
        secret=definition.spec.name,
        owner=None if observed is None else _owner(definition, observed.current, secrets.holder),
        keys=verdict.keys,
        fields=verdict.fields,
        deletes=verdict.deletes,
        releases=verdict.releases,
        restarts=verdict.restarts,
        identity=identity,
        period=None if spec is None else spec.period or config.reconcile_period,
        period_from="" if spec is None else "spec.refreshInterval" if spec.period else "reconcile-period",
        sources=() if spec is None else tuple(_sources(spec, reading.documents)),
        reported=_reported(definition),
        problem=verdict.problem,
        problems=verdict.problems,
        notes=(*verdict.notes, *_restarts(definition), *_scope(definition, config)),
    )


def _sources(spec: Spec, documents: Documents) -> Iterator[SourceRead]:
    for source in sorted(spec.read_sources, key=str):
        document = documents[source]
        if isinstance(document, BackendError):
            yield SourceRead(path=source.path, version=source.version, problem=str(document))
        else:
            yield SourceRead(path=source.path, version=document.version, changed=document.changed)


def _owner(definition: SecretDefinition, current: CurrentSecret, holder: SecretDefinition | None) -> Owner:
    owner = current.controller
    if owner is not None:
        name = f"{owner.kind} {owner.name}"
    elif found := definition_of(current):
        name = f"none, made by {KIND} {found[0].rpartition('/')[2]}"
    else:
        name = "none"
    return Owner(name=name, claim=claim(definition, current, holder).name.lower())


def _reported(definition: SecretDefinition) -> Reported | None:
    ready = definition.status.ready
    if ready is None:
        return None
    return Reported(
        ready=ready.status,
        reason=ready.reason,
        message=ready.message,
        since=ready.last_transition_time,
        current=definition.status.observed_generation == definition.metadata.generation,
    )


def _restarts(definition: SecretDefinition) -> Iterator[str]:
    """Tell if the controller has reported that workloads are not restarted."""
    for condition in definition.status.conditions:
        if condition.type == ROLLOUT_RESTART and condition.status != "True":
            yield f"workloads wait for a restart: {condition.reason}: {condition.message}"


def _scope(definition: SecretDefinition, config: ControllerConfig) -> Iterator[str]:
    """Tell if the controller leaves the namespace alone."""
    namespace, watched = definition.key.namespace, config.watch_namespaces
    if namespace in config.exclude_namespaces or (watched and namespace not in watched):
        yield f"a controller with these flags does not watch namespace {namespace}"
