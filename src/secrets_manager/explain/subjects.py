"""Find what is to be explained: definitions in the cluster, or those of files as `kubectl apply` would leave them."""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import msgspec

from secrets_manager.controller.definition import API_VERSION, KIND, SECRET_DEFINITIONS, SecretDefinition
from secrets_manager.controller.redaction import redact
from secrets_manager.errors import SecretsManagerError
from secrets_manager.explain.applied import EXISTING_DEFINITIONS, applied
from secrets_manager.explain.explanation import Explanation, unknown
from secrets_manager.inputs.lists import list_all
from secrets_manager.inputs.manifests import FoundDefinition
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.discovery import resources
from secrets_manager.kube.errors import Forbidden, NotFound
from secrets_manager.kube.objects import KubeObject, ObjectKey
from secrets_manager.kube.resources import Resource

T = TypeVar("T", bound=KubeObject)


class NotInstalled(SecretsManagerError):
    """There are no definitions, nor can there be."""

    def __init__(self) -> None:
        super().__init__(f"the CRD of {KIND} is not installed: secrets-manager crd | kubectl apply -f -")


class Subject(NamedTuple):
    """A definition to explain, or the explanation that there is none; and its location."""

    definition: SecretDefinition | Explanation
    location: str = ""


async def of_namespace(client: KubeClient, namespace: str) -> list[Subject]:
    """Return all definitions in a namespace.

    Raises:
        KubeError: the cluster can't be read.
        NotInstalled: it has no CRD; so for the others.
    """
    try:
        found = await list_all(client, SECRET_DEFINITIONS, namespace)
    except NotFound as error:
        missing = error
    else:
        return [Subject(definition) for definition in found]
    await _check_installed(client)
    raise missing


async def of_keys(client: KubeClient, keys: Iterable[ObjectKey]) -> list[Subject]:
    """Return the definitions of these keys.

    Raises:
        KubeError: the cluster can't be read.
    """
    reader = _Reader(client)
    return [Subject(await _get(reader, key)) for key in keys]


async def of_files(client: KubeClient, found: Iterable[FoundDefinition], *, namespace: str) -> list[Subject]:
    """Return the definitions of files as they are in the cluster. `namespace` is that of those without one.

    Raises:
        KubeError: the cluster can't be read.
    """
    reader = _Reader(client)
    return [
        Subject(_invalid(each.definition), each.location)
        if isinstance(each.definition, str)
        else Subject(await _get(reader, _in_namespace(each.definition, namespace).key))
        for each in found
    ]


async def of_files_applied(client: KubeClient, found: Iterable[FoundDefinition], *, namespace: str) -> list[Subject]:
    """Return the definitions of files as they would be if they were applied. `namespace` is that of those without one.

    Raises:
        KubeError: the cluster can't be read.
    """
    reader = _Reader(client)
    return [
        Subject(
            _invalid(each.definition)
            if isinstance(each.definition, str)
            else await _apply(reader, _in_namespace(each.definition, namespace)),
            each.location,
        )
        for each in found
    ]


class _Reader:
    """Reads definitions. Where there is none, it checks that the CRD is there, once."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._is_installed = False

    async def read(self, resource: Resource[T], key: ObjectKey) -> T | None:
        """Return an object; None if there is none."""
        try:
            return await self._client.get(resource, key)
        except NotFound:
            if not self._is_installed:
                await _check_installed(self._client)
            self._is_installed = True
            return None


async def _check_installed(client: KubeClient) -> None:
    """Tell that the CRD is not there from an object that is not."""
    try:
        is_installed = SECRET_DEFINITIONS.plural in await resources(client, API_VERSION)
    except NotFound:
        is_installed = False
    except Forbidden:  # what an API has is open to all who have logged in, by default
        return
    if not is_installed:
        raise NotInstalled


async def _get(reader: _Reader, key: ObjectKey) -> SecretDefinition | Explanation:
    try:
        found = await reader.read(SECRET_DEFINITIONS, key)
    except Forbidden as error:
        return _unreadable(key, error)
    text = f"there is no {KIND} {key}: correct the name, or the context of the kubeconfig"
    return found or unknown(key, "DefinitionNotFound", text)


async def _apply(reader: _Reader, manifest: SecretDefinition) -> SecretDefinition | Explanation:
    try:
        existing = await reader.read(EXISTING_DEFINITIONS, manifest.key)
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
