"""Check that the program has converged: compare Secrets, statuses and metrics with what the servers hold."""

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fake_kubernetes.documents import Json, Object, at, items, mapping, number, text
from fake_kubernetes.storage import Key
from tests.controller.invariants import holders
from tests.definitions import condition_of
from tests.simulation import merging, metrics
from tests.simulation.invariants import ORPHAN_OF, WRITTEN_AS
from tests.simulation.replica import Replica
from tests.simulation.servers import DEFINITIONS, DEPLOYMENTS, NAMESPACES
from tests.simulation.wanted import Wanted, paths, wanted_by
from tests.simulation.warned import WARNS
from tests.simulation.workload import FINALIZER, GROUP, ORPHAN

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation


MARKS, UNSHARED = ("team", "tier"), "tier"
"""Names of labels and annotations that definitions give their Secrets; people give them only the other one."""


def differences(simulation: "Simulation") -> list[str]:
    """Describe each difference between the actual and the desired state."""
    return [*_of_objects(simulation), *_of_leader(simulation)]


def differences_of(simulation: "Simulation", key: Key) -> list[str]:
    """Describe the differences of one definition."""
    definition = simulation.kubernetes.objects(DEFINITIONS).get(key)
    if definition is None:
        return []
    secrets = simulation.kubernetes.objects("secrets")
    return [f"{key.name} {problem}" for problem in _of_definition(simulation, key, definition, secrets)]


def is_synced(definition: Object) -> bool:
    return _reason(definition) == "Synced"


def _has_given_up(definition: Object) -> bool:
    """Whether a definition wants a Secret for itself that others have."""
    return _reason(definition) == "SecretNotOwned" and not merging.merges(definition)


def leaks(simulation: "Simulation") -> list[str]:
    """Describe what the leader keeps in memory and metrics without need."""
    leader = _leader(simulation)
    return list(_of_memory(simulation, leader)) if leader is not None else []


def _of_objects(simulation: "Simulation") -> Iterator[str]:
    definitions, secrets = simulation.kubernetes.objects(DEFINITIONS), simulation.kubernetes.objects("secrets")
    uids = {text(each, "metadata", "uid") for each in definitions.values()}
    for key, secret in secrets.items():
        controller = _controller(secret)
        if text(controller, "kind") == "SecretDefinition" and text(controller, "uid") not in uids:
            yield f"{key.namespace}/{key.name} is there, and its definition is not"
    for key, definition in definitions.items():
        if text(definition, "metadata", "deletionTimestamp"):
            yield f"{key.namespace}/{key.name} is still being deleted"
        else:
            for problem in _of_definition(simulation, key, definition, secrets):
                yield f"{key.namespace}/{key.name} {problem}"
    settled = {key for key, each in definitions.items() if is_synced(each) or _has_given_up(each)}
    by_namespace = simulation.plan.settings.by_namespace
    yield from simulation.invariants.restarts.differences(
        definitions, secrets, simulation.kubernetes.objects(DEPLOYMENTS)
    )
    yield from merging.left_behind(secrets, definitions, settled, by_namespace=by_namespace)


def _of_definition(simulation: "Simulation", key: Key, definition: Object, secrets: dict[Key, Object]) -> Iterator[str]:
    wanted = wanted_by(definition, key.namespace, simulation.vault, simulation.plan.settings)
    secret = secrets.get(_place(key, definition))
    reasons = wanted.reasons or _obstacles(simulation, key, definition, secret, wanted)
    ready = condition_of(definition)
    reason = text(ready, "reason")
    if reason == "Synced" and wanted.covered and reasons == {"SourceForbidden"}:
        reasons = set()
    if reason not in (reasons or {"Synced"}):
        yield f"has reason {reason}: {text(ready, 'message')}; expected {reasons or 'Synced'}"
    yield from _of_conditions(definition, reason)
    if number(definition, "status", "observedGeneration") != number(definition, "metadata", "generation"):
        yield "has not observed its generation"
    if not reasons:
        yield from _of_warning(simulation, key, definition, ready)
        yield from _of_synced(key, definition, secrets, wanted)


def _obstacles(
    simulation: "Simulation", key: Key, definition: Object, secret: Object | None, wanted: Wanted
) -> set[str]:
    """Return the reasons why the Secret can't be written, though it can be built."""
    if merging.merges(definition):
        uids = {text(each, "metadata", "uid") for each in simulation.kubernetes.objects(DEFINITIONS).values()}
        return merging.obstacles(key.name, definition, secret, wanted.data, uids)
    if secret is None or _is_named_by(definition, secret):
        return set()
    others = holders(_place(key, definition), secret, simulation.kubernetes.objects(DEFINITIONS))
    return set() if not others and _is_free(definition, secret) else {"SecretNotOwned"}


def _of_synced(key: Key, definition: Object, secrets: dict[Key, Object], wanted: Wanted) -> Iterator[str]:
    """Expect the Secret that the definition wants, and no other one of it."""
    place = _place(key, definition)
    secret = secrets.get(place)
    if FINALIZER in items(definition, "metadata", "finalizers"):
        yield "still bears the finalizer of the original"
    if merging.merges(definition):
        yield from merging.differences(key.name, secret, wanted.data)
    else:
        yield from _of_secret(definition, secret, wanted.data)
    for other, each in secrets.items():
        written_as = text(each, "metadata", "annotations", WRITTEN_AS)
        is_seen = bool(merging.owner(each))  # without the label, only the garbage collector finds it
        if other != place and is_seen and _is_of(definition, each) and written_as in ("", other.name):
            yield f"still has {other.name}"
    sources = sorted((text(each, "path"), number(each, "version")) for each in items(definition, "status", "sources"))
    if sources != wanted.versions:
        yield f"has the sources {sources}, not {wanted.versions}"


def _place(key: Key, definition: Object) -> Key:
    """Return the Secret of a definition."""
    return Key("secrets", key.namespace, text(definition, "spec", "name"))


def _of_warning(simulation: "Simulation", key: Key, definition: Object, ready: Json) -> Iterator[str]:
    _, _, warning = text(ready, "message").partition(WARNS)
    leader = simulation.kubernetes.holder or simulation.replicas[0].identity
    merger = key.name if merging.merges(definition) else ""
    expected = simulation.last_writes.expected(_place(key, definition), merger, leader)
    if warning not in expected:
        yield f"shows the warning {warning!r}; expected {sorted(expected)}"


def _of_conditions(definition: Object, reason: str) -> Iterator[str]:
    """Expect Ready alone where it is True, and beside it Stalled or Reconciling where it is False."""
    conditions = {text(each, "type"): each for each in items(definition, "status", "conditions")}
    ready = conditions.get("Ready")
    beside = "" if reason == "Synced" else "Stalled" if reason in metrics.STALLED else "Reconciling"
    if text(ready, "status") != ("False" if beside else "True"):
        yield f"has Ready {text(ready, 'status')} with reason {reason}"
    for kind in ("Stalled", "Reconciling"):
        found = conditions.get(kind)
        same = all(text(found, field) == text(ready, field) for field in ("reason", "message"))
        if (found is not None) != (kind == beside) or (found is not None and text(found, "status") != "True"):
            yield f"has reason {reason} and {kind}: {found}"
        elif found is not None and not same:
            yield f"has different words in Ready and {kind}"


def _of_secret(definition: Object, secret: Object | None, data: dict[str, str]) -> Iterator[str]:
    if secret is None:
        yield "has no Secret"
        return
    held = {name: base64.b64decode(str(value)).decode() for name, value in mapping(secret, "data").items()}
    if held != data:
        yield f"holds {held}, not {data}"
    if text(secret, "type") != (text(definition, "spec", "type") or "Opaque"):
        yield f"has a Secret of type {text(secret, 'type')}"
    if (name := text(secret, "metadata", "annotations", WRITTEN_AS)) not in ("", text(secret, "metadata", "name")):
        yield f"has a Secret that is marked as a copy of {name}"
    yield from _of_ownership(definition, secret)
    if at(definition, "spec", "immutable") and not at(secret, "immutable"):
        yield "has a Secret that is not immutable"
    for kind in ("labels", "annotations"):
        copied = (
            mapping(definition, "metadata", kind) if at(definition, "spec", "metadata", "copy") is not False else {}
        )
        wanted_marks = copied | mapping(definition, "spec", "metadata", kind)
        found = {name: text(secret, "metadata", kind, name) for name in MARKS}
        if any(found[name] != wanted_marks.get(name, "") for name in MARKS if name in wanted_marks or name == UNSHARED):
            yield f"has a Secret with the {kind} {found}, not {wanted_marks}"


def _of_ownership(definition: Object, secret: Object) -> Iterator[str]:
    """Expect an owner, or with the policy Orphan none, and the name of the definition."""
    uid, owner = text(definition, "metadata", "uid"), _controller(secret)
    orphan_of = text(secret, "metadata", "annotations", ORPHAN_OF)
    name = text(definition, "metadata", "name") if text(definition, "spec", "creationPolicy") == ORPHAN else ""
    if text(owner, "uid") != ("" if name else uid) or orphan_of != name or merging.owner(secret) != uid:
        yield f"has a Secret of the owner {owner}, an orphan of {orphan_of!r}"


def _is_of(definition: Object, secret: Object) -> bool:
    """Whether a definition has made a Secret, as the Secret says."""
    uid, controller = text(definition, "metadata", "uid"), _controller(secret)
    if controller is not None:
        return text(controller, "uid") == uid
    name = text(definition, "metadata", "name")
    return merging.owner(secret) == uid and text(secret, "metadata", "annotations", ORPHAN_OF) == name


def _is_named_by(definition: Object, secret: Object) -> bool:
    """Whether a Secret says that a definition of this name has made it, by its owner or its annotation."""
    controller, name = _controller(secret), text(definition, "metadata", "name")
    if controller is not None:
        return text(controller, "kind") == "SecretDefinition" and text(controller, "name") == name
    by_label = merging.owner(secret) == text(definition, "metadata", "uid")
    return by_label or text(secret, "metadata", "annotations", ORPHAN_OF) == name


def _is_free(definition: Object, secret: Object) -> bool:
    """Whether a definition may take over a Secret that no other one has, by the rules of the README."""
    if _controller(secret) is not None:
        return False
    if merging.adopts(definition):
        return True
    meta = mapping(secret, "metadata")
    by_the_original = text(meta, "labels", "app.kubernetes.io/managed-by") == "secrets-manager"
    by_the_original = by_the_original or bool(text(meta, "annotations", f"{GROUP}/lastUpdateTime"))
    return by_the_original and not items(meta, "ownerReferences") and not text(meta, "annotations", ORPHAN_OF)


def _reason(definition: Object) -> str:
    return text(condition_of(definition), "reason")


def _controller(secret: Object) -> Json:
    return next((each for each in items(secret, "metadata", "ownerReferences") if at(each, "controller")), None)


def _leader(simulation: "Simulation") -> Replica | None:
    if not simulation.plan.settings.lease.enabled:
        return simulation.replicas[0]
    return next(
        (each for each in simulation.replicas if each.identity and each.identity == simulation.kubernetes.holder), None
    )


def _of_leader(simulation: "Simulation") -> Iterator[str]:
    leader = _leader(simulation)
    if leader is None or leader.controller is None:
        yield f"no replica leads: the lease names {simulation.kubernetes.holder!r}"
        return
    for replica in simulation.replicas:
        if replica.controller is None or replica.ending:
            yield f"replica {replica.number} does not live"
        elif replica.controller.watches.unsynced:
            yield f"replica {replica.number} is not ready: {replica.controller.watches.unsynced}"
    definitions = simulation.kubernetes.objects(DEFINITIONS)
    yield from metrics.differences(simulation, leader, {key: _reason(each) for key, each in definitions.items()})


def _of_memory(simulation: "Simulation", leader: Replica) -> Iterator[str]:
    """Expect series and entries for existing objects alone."""
    there = {(key.namespace, key.name) for key in simulation.kubernetes.objects(DEFINITIONS)}
    wanted = {
        (key.namespace, text(each, "spec", "name")) for key, each in simulation.kubernetes.objects(DEFINITIONS).items()
    }
    families = ("last_sync_status", "sync_errors", "secret_read_errors")
    for family in leader.registry.collect():
        if family.name in {f"secrets_manager_controller_{name}" for name in families}:
            for sample in family.samples:
                series = (sample.labels["namespace"], sample.labels["name"])
                if series not in wanted and series[0] in NAMESPACES:
                    yield f"the series of {series} are left"
        elif family.name.startswith("secrets_manager_") and "unexpected" in family.name:
            yield from (f"{sample.name} is {sample.value:g}" for sample in family.samples if sample.value)
    assert leader.controller is not None
    controller = leader.controller
    objects = simulation.kubernetes.objects(DEFINITIONS)
    retried = {(key.namespace, key.name) for key, each in objects.items() if not is_synced(each)}
    if waiting := {key for keys in controller._queue._waiting.values() for key in keys if key not in retried}:
        yield f"the queue is not empty: {sorted(waiting)} in {controller._queue}"
    stored = {(each.key.namespace, each.key.name) for each in controller.watches.definitions}
    if stored != there:
        yield f"the store of definitions has {sorted(stored)}, not {sorted(there)}"
    aged = {*controller._freshness._resting, *controller._freshness._waiting}
    if aged != stored:
        yield f"the ages are those of {sorted(aged)}, not {sorted(stored)}"
    definitions = simulation.kubernetes.objects(DEFINITIONS).values()
    named = {path for each in definitions for path in paths(each)}
    held = {source.path for source in controller._sources._table.entries}
    if not held <= named:
        yield f"the sources in memory are {sorted(held)}, not {sorted(named)}"
