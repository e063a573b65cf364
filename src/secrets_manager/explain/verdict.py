"""What the controller would do with the Secret of a definition. Pure, and by the controller's own code."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from secrets_manager.controller import templated
from secrets_manager.controller.decision import (
    Create,
    Delete,
    Patch,
    decide,
    decide_deletion,
    decide_orphaning,
    differing_fields,
    differing_metadata,
    has_changed,
    other_secrets,
)
from secrets_manager.controller.definition import ADOPT, LEGACY_FINALIZER, Reason, SecretDefinition
from secrets_manager.controller.desired import Desired, Resolved, desired, resolve
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.managed_fields import FieldPath
from secrets_manager.controller.merge_decision import keys_not_owned, missing
from secrets_manager.controller.metadata import is_orphaned
from secrets_manager.controller.ownership import definition_of
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.redaction import redact
from secrets_manager.controller.rollout_restart import targets_of
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.controller.spec import Spec
from secrets_manager.explain.explanation import Action, Change, Finding, Key, Release
from secrets_manager.explain.merging import own_keys, owners_of_others, releases
from secrets_manager.explain.observed import ObservedSecret, ObservedValue, Secrets, observed_value
from secrets_manager.kube.errors import Forbidden, KubeError


class Verdict(NamedTuple):
    """What would happen."""

    action: Action
    keys: tuple[Key, ...] = ()
    fields: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    releases: tuple[Release, ...] = ()
    restarts: tuple[str, ...] = ()
    problem: Finding | None = None
    problems: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def verdict_of_spec(definition: SecretDefinition, spec: Spec, documents: Documents, secrets: Secrets) -> Verdict:
    templates = templated.templates(templated.parsed(spec))
    if isinstance(templates, Problem):
        return unread(definition, templates, secrets)
    texts = dict(templated.rendered(templates, spec, documents))
    resolved = resolve(spec, documents, texts)
    target = desired(spec, documents, texts)
    if isinstance(target, Problem):
        return unread(definition, target, secrets, resolved)
    if (error := secrets.errors.get(target.name)) is not None:
        finding = _unreadable(f"Secret {target.name}", redact(error, target.values), definition.key.namespace)
        return Verdict(Action.UNKNOWN, keys=_undecided(target.data), problem=finding)
    verdict = _decided(definition, target, secrets.found.get(target.name), secrets)
    return verdict._replace(releases=tuple(_releases(definition, target, verdict.problem, secrets)))


def _decided(
    definition: SecretDefinition, target: Desired, observed: ObservedSecret | None, secrets: Secrets
) -> Verdict:
    if definition.merges_into is not None:
        return _merged(definition, target, observed)
    current = None if observed is None else observed.current
    decision = decide(definition, target, current, now="", holder=secrets.holder, owner=secrets.owner)
    if isinstance(decision, Problem):
        return refused(decision, target.data)
    owned = [each.current for each in secrets.found.values() if str(definition.key) in definition_of(each.current)]
    stale, copies = other_secrets(definition, target, owned)
    notes = [f"Secret {copy.key.name} is a copy that others made: it is left alone" for copy in copies]
    if secrets.unlisted is not None:
        finding = _unreadable("Secrets", redact(secrets.unlisted, target.values), definition.key.namespace)
        notes.append(f"Secrets of this definition under earlier names are not shown: {finding.message}")
    return Verdict(
        _action(decision),
        keys=_compared({} if observed is None else observed.values, target.data),
        fields=() if current is None else _fields(definition, target, current),
        deletes=tuple(sorted(each.current.key.name for each in stale)),
        restarts=tuple(map(str, targets_of(definition))) if has_changed(definition, target, current) else (),
        notes=tuple(notes),
    )


def _merged(definition: SecretDefinition, target: Desired, observed: ObservedSecret | None) -> Verdict:
    """Explain keys in a Secret of others."""
    if observed is None:
        return refused(missing(target), target.data)
    owners = owners_of_others(definition, target, observed)
    if owners and definition.metadata.annotations.get(ADOPT) != "true":
        return refused(keys_not_owned(target, owners), target.data)
    ours = target.data.keys() | own_keys(definition, observed)
    keys = _compared({key: value for key, value in observed.values.items() if key in ours}, target.data)
    same = all(key.change is Change.SAME for key in keys)
    return Verdict(Action.NONE if same else Action.CHANGE, keys=keys)


def _releases(
    definition: SecretDefinition, target: Desired, problem: Finding | None, secrets: Secrets
) -> Iterator[Release]:
    """Tell which keys leave Secrets that the definition merges into no more: once it has the one that it wants."""
    if problem is None:
        yield from releases(definition, secrets, but=target.name)
    elif definition.merges_into is None and problem.reason == Reason.SECRET_NOT_OWNED:
        yield from releases(definition, secrets, but="")


def _action(decision: Create | Patch | Delete | None) -> Action:
    match decision:
        case Create():
            return Action.CREATE
        case Patch():
            return Action.CHANGE
        case Delete():
            return Action.REPLACE
        case None:
            return Action.NONE


def verdict_of_deletion(definition: SecretDefinition, observed: ObservedSecret | None, secrets: Secrets) -> Verdict:
    """Explain a definition that is being deleted."""
    name = definition.spec.name
    if definition.merges_into is not None:
        return Verdict(Action.NONE, notes=(f"the definition is being deleted: its keys leave Secret {name}",))
    if LEGACY_FINALIZER not in definition.metadata.finalizers or is_orphaned(definition):
        rest = "stays" if is_orphaned(definition) else "is deleted by Kubernetes, if this definition owns it"
        return Verdict(Action.NONE, notes=(f"the definition is being deleted: its Secret {rest}",))
    notes = ("the definition is being deleted, with the finalizer of the Go original",)
    if (error := secrets.errors.get(name)) is not None:
        finding = _unreadable(f"Secret {name}", redact(error, ()), definition.key.namespace)
        return Verdict(Action.UNKNOWN, problem=finding, notes=notes)
    if observed is None or decide_deletion(definition, observed.current, secrets.holder) is None:
        return Verdict(Action.NONE, notes=notes)
    return Verdict(Action.DELETE, keys=_compared(observed.values, {}), notes=notes)


def unread(
    definition: SecretDefinition, problem: Problem, secrets: Secrets, resolved: Resolved | None = None
) -> Verdict:
    """Return the verdict of a Secret that can't be made: at most it becomes an orphan."""
    verdict, observed = refused(problem, resolved), secrets.found.get(definition.spec.name)
    if observed is None or decide_orphaning(definition, observed.current, now="") is None:
        return verdict
    return verdict._replace(
        action=Action.CHANGE, fields=_shown(differing_metadata(definition, observed.current.metadata))
    )


def refused(problem: Problem, resolved: Resolved | None = None) -> Verdict:
    """Return the verdict of a problem: nothing is written."""
    values = {key: value for key, value in (resolved or {}).items() if isinstance(value, bytes)}
    problems = tuple(_finding(value) for value in (resolved or {}).values() if isinstance(value, Problem))
    return Verdict(Action.NONE, keys=_undecided(values), problem=_finding(problem), problems=problems)


def _finding(problem: Problem) -> Finding:
    return Finding(reason=problem.reason.value, message=problem.message)


def _unreadable(what: str, error: KubeError, namespace: str) -> Finding:
    """Return the finding that Kubernetes does not show something."""
    step = (
        f"let this user get and list Secrets in namespace {namespace}, or use the controller's kubeconfig"
        if isinstance(error, Forbidden)
        else "try again"
    )
    return Finding(reason="SecretUnreadable", message=f"{what} can't be read: {error}: {step}")


def _compared(before: Mapping[str, ObservedValue], after: Mapping[str, bytes]) -> tuple[Key, ...]:
    """Compare the values of each key, by their digests."""
    keys: list[Key] = []
    for name in sorted(before.keys() | after.keys()):
        old = before.get(name)
        new = observed_value(name, after[name]) if name in after else None
        if new is None:
            change = Change.REMOVED
        elif old is None:
            change = Change.ADDED
        else:
            change = Change.SAME if old.digest == new.digest else Change.CHANGED
        keys.append(Key(name=name, change=change, length=new and new.length, before=old and old.length))
    return tuple(keys)


def _undecided(values: Mapping[str, bytes]) -> tuple[Key, ...]:
    return tuple(Key(name=name, change=Change.UNKNOWN, length=len(values[name])) for name in sorted(values))


def _fields(definition: SecretDefinition, target: Desired, current: CurrentSecret) -> tuple[str, ...]:
    """Return the fields that differ, but the data."""
    return _shown(differing_fields(definition, target, current) - {("data",)})


def _shown(fields: Iterable[FieldPath]) -> tuple[str, ...]:
    return tuple(sorted(".".join(path[:2]) + "".join(f"[{name}]" for name in path[2:]) for path in fields))
