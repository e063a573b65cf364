"""Find what is to be explained: definitions in the cluster, or those of files as `kubectl apply` would leave them."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from secrets_manager.controller.definition import KIND, SECRET_DEFINITIONS, SecretDefinition
from secrets_manager.controller.redaction import redact
from secrets_manager.explain.applied import EXISTING_DEFINITIONS, applied
from secrets_manager.explain.explanation import Explanation, unknown
from secrets_manager.inputs.lists import list_all
from secrets_manager.inputs.manifests import FoundDefinition
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import Forbidden, NotFound
from secrets_manager.kube.objects import ObjectKey


class Subject(NamedTuple):
    """A definition to explain, or the explanation that there is none; and its location."""

    definition: SecretDefinition | Explanation
    location: str = ""


async def of_namespace(client: KubeClient, namespace: str) -> list[Subject]:
    """Return all definitions in a namespace.

    Raises:
        KubeError: the cluster can't be read.
    """
    return [Subject(definition) for definition in await list_all(client, SECRET_DEFINITIONS, namespace)]


async def of_keys(client: KubeClient, keys: Iterable[ObjectKey]) -> list[Subject]:
    """Return the definitions of these keys.

    Raises:
        KubeError: the cluster can't be read.
    """
    return [Subject(await _get(client, key)) for key in keys]


async def of_files(client: KubeClient, found: Iterable[FoundDefinition], *, namespace: str) -> list[Subject]:
    """Return the definitions of files as they are in the cluster. `namespace` is that of those without one.

    Raises:
        KubeError: the cluster can't be read.
    """
    return [
        Subject(_invalid(each.definition), each.location)
        if isinstance(each.definition, str)
        else Subject(await _get(client, _in_namespace(each.definition, namespace).key))
        for each in found
    ]


async def of_files_applied(client: KubeClient, found: Iterable[FoundDefinition], *, namespace: str) -> list[Subject]:
    """Return the definitions of files as they would be if they were applied. `namespace` is that of those without one.

    Raises:
        KubeError: the cluster can't be read.
    """
    return [
        Subject(
            _invalid(each.definition)
            if isinstance(each.definition, str)
            else await _apply(client, _in_namespace(each.definition, namespace)),
            each.location,
        )
        for each in found
    ]


async def _get(client: KubeClient, key: ObjectKey) -> SecretDefinition | Explanation:
    try:
        return await client.get(SECRET_DEFINITIONS, key)
    except NotFound:
        text = f"there is no {KIND} {key}: correct the name, or the context of the kubeconfig"
        return unknown(key, "DefinitionNotFound", text)
    except Forbidden as error:
        return _unreadable(key, error)


async def _apply(client: KubeClient, manifest: SecretDefinition) -> SecretDefinition | Explanation:
    try:
        existing = await client.get(EXISTING_DEFINITIONS, manifest.key)
    except NotFound:
        existing = None
    except Forbidden as error:
        return _unreadable(manifest.key, error)
    return applied(manifest, existing)


def _invalid(fault: str) -> Explanation:
    return unknown(ObjectKey("", ""), "DefinitionInvalid", fault)


def _unreadable(key: ObjectKey, error: Forbidden) -> Explanation:
    step = f"let this user get {SECRET_DEFINITIONS.plural} in namespace {key.namespace}"
    return unknown(key, "DefinitionUnreadable", f"{KIND} {key} can't be read: {redact(error, ())}: {step}")


def _in_namespace(definition: SecretDefinition, default: str) -> SecretDefinition:
    metadata = definition.metadata
    if metadata.namespace:
        return definition
    return msgspec.structs.replace(definition, metadata=msgspec.structs.replace(metadata, namespace=default))
