"""Whether the cluster is as the model says: one sentence for each thing that is not."""

import base64
from collections import defaultdict
from collections.abc import Iterator

from benchmarks.program import API_VERSION
from benchmarks.soak.model import NAMESPACES, Definition, Expected, Model
from fake_kubernetes.documents import Object, at, items, mapping, text
from tests.definitions import condition_of
from tests.real.kube_api import KubeApi


def discrepancies(model: Model, cluster: KubeApi) -> list[str]:
    return [sentence for namespace in NAMESPACES for sentence in _in_namespace(namespace, model, cluster)]


def _in_namespace(namespace: str, model: Model, cluster: KubeApi) -> Iterator[str]:
    shown = cluster.list(f"/apis/{API_VERSION}/namespaces/{namespace}/secretdefinitions")
    definitions = {text(each, "metadata", "name"): each for each in shown}
    owned: defaultdict[str, list[Object]] = defaultdict(list)
    for secret in cluster.list(f"/api/v1/namespaces/{namespace}/secrets"):
        owned[_owner(secret)].append(secret)

    uids = {text(each, "metadata", "uid") for each in shown}
    for uid in owned.keys() - uids:
        for secret in owned[uid]:
            yield f"{namespace}: Secret {text(secret, 'metadata', 'name')} is there without a definition"
    for definition in model.definitions.values():
        if definition.namespace == namespace:
            there = definitions[definition.name]
            expected = model.expected(definition)
            for fault in (
                *_in_conditions(there, expected),
                *_in_secrets(owned[text(there, "metadata", "uid")], definition, expected),
            ):
                yield f"{namespace}/{definition.name}: {fault}"


def _in_conditions(definition: Object, expected: Expected) -> Iterator[str]:
    ready = condition_of(definition)
    if text(ready, "reason") != expected.reason:
        yield f"the reason is {text(ready, 'reason') or 'missing'}, not {expected.reason}: {text(ready, 'message')}"
    generation = at(definition, "metadata", "generation")
    if at(ready, "observedGeneration") != generation:
        yield f"the condition is of generation {at(ready, 'observedGeneration')}, not {generation}"


def _in_secrets(secrets: list[Object], definition: Definition, expected: Expected) -> Iterator[str]:
    names = [text(secret, "metadata", "name") for secret in secrets]
    if expected.values is None:
        if definition.has_secret and not secrets:
            yield "its Secret is gone, though no client deleted it"
        return
    if names != [definition.secret]:
        yield f"its Secrets are {names}, not only {definition.secret}"
        return
    data = mapping(secrets[0], "data")
    values = {key: base64.b64decode(str(value)).decode() for key, value in data.items()}
    # All values are made up here, so they may be printed.
    if values != expected.values:
        yield f"Secret {definition.secret} holds {values}, not {expected.values}"


def _owner(secret: Object) -> str:
    return next((text(each, "uid") for each in items(secret, "metadata", "ownerReferences")), "")
