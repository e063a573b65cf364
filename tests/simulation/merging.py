"""Judge the keys that definitions merge into Secrets of others, by the managed fields that the server keeps."""

import base64
from collections.abc import Iterator

from fake_kubernetes.documents import Object, at, mapping, text
from fake_kubernetes.storage import Key
from tests.managed_fields import MERGER, managers
from tests.simulation.servers import DEFINITIONS
from tests.simulation.workload import GROUP, MERGE


def merges(definition: Object | None) -> bool:
    return text(definition, "spec", "creationPolicy") == MERGE


def adopts(definition: Object | None) -> bool:
    return at(definition, "metadata", "annotations", f"{GROUP}/adopt") == "true"


def owner(secret: Object) -> str:
    """Return the uid of the definition that made a Secret, as its label says."""
    return text(secret, "metadata", "labels", f"{GROUP}/owner")


def obstacles(name: str, definition: Object, secret: Object | None, data: dict[str, str], uids: set[str]) -> set[str]:
    """Return the reasons why a definition can't merge its keys; empty where it can. `uids` are of all definitions."""
    if secret is None:
        return {"SecretRejected"}
    if owner(secret) in uids:
        return {"SecretNotOwned"}
    ours, others = _parted(secret, name)
    present = mapping(secret, "data")
    changed = {key for key, value in data.items() if present.get(key) != base64.b64encode(value.encode()).decode()}
    if changed & others and not adopts(definition):
        return {"SecretNotOwned"}
    removed = ours - data.keys() - others
    return {"SecretRejected"} if at(secret, "immutable") and (changed or removed) else set()


def differences(name: str, secret: Object | None, data: dict[str, str]) -> Iterator[str]:
    """Describe how the keys of a definition differ from what it wants."""
    if secret is None:
        return
    present = mapping(secret, "data")
    held = {key: base64.b64decode(str(present.get(key, ""))).decode() for key in data}
    if held != data:
        yield f"has merged {held}, not {data}"
    if (ours := _parted(secret, name)[0]) != data.keys():
        yield f"manages the keys {sorted(ours)}, not {sorted(data)}"


def left_behind(
    secrets: dict[Key, Object], definitions: dict[Key, Object], settled: set[Key], *, by_namespace: bool
) -> Iterator[str]:
    """Describe the keys that stay in a Secret that their definition does not merge into any more.

    `settled` are the definitions that have got so far. A process that has been started since removes the keys of those
    that merge no more as soon as another one merges in what the program watches.
    """
    watched = {key.namespace for key, each in definitions.items() if merges(each)}
    for place, secret in secrets.items():
        if at(secret, "immutable"):
            continue  # Kubernetes refuses to remove them
        for manager, keys in managers(secret).items():
            if not manager.startswith(MERGER) or not keys:
                continue
            key = Key(DEFINITIONS, place.namespace, manager.removeprefix(MERGER))
            definition = definitions.get(key)
            unwatched = place.namespace not in watched if by_namespace else not watched
            stays = unwatched or (
                definition is not None and (key not in settled or _governs(definition, place, secret))
            )
            if not stays:
                yield f"{place.namespace}/{place.name} still has {sorted(keys)} of {key.name}"


def _governs(definition: Object, place: Key, secret: Object) -> bool:
    """Whether a definition merges into a Secret, or manages the whole of it."""
    same = text(definition, "spec", "name") == place.name
    return owner(secret) == text(definition, "metadata", "uid") or (same and merges(definition))


def _parted(secret: Object, name: str) -> tuple[set[str], set[str]]:
    """Return the keys of a definition, and those of others."""
    ours, others = set[str](), set[str]()
    for manager, keys in managers(secret).items():
        (ours if manager == f"{MERGER}{name}" else others).update(keys)
    return ours, others
