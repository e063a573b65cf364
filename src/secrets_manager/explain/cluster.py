"""Read definitions and their Secrets from the cluster. Every request is a GET."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from secrets_manager.controller.definition import SECRET_DEFINITIONS, SecretDefinition
from secrets_manager.controller.names import is_object_name
from secrets_manager.controller.ownership import holder, orphan_of
from secrets_manager.controller.secret import OWNER, CurrentSecret
from secrets_manager.explain.observed import OBSERVED_SECRETS, ObservedSecret, Secrets
from secrets_manager.inputs.lists import list_all
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import KubeError, NotFound
from secrets_manager.kube.objects import ObjectKey


class Listed(NamedTuple):
    """The Secrets of a namespace that a definition has written, and why they can't be listed."""

    secrets: Mapping[str, ObservedSecret]
    error: KubeError | None = None


async def observe(client: KubeClient, definitions: Sequence[SecretDefinition]) -> list[Secrets]:
    """Read the Secrets of each definition: one list of a namespace, as the controller watches, and what it lacks.

    Raises:
        KubeError: the cluster can't be read.
    """
    listed: dict[str, Listed] = {}
    observed: list[Secrets] = []
    known = {definition.key: definition for definition in definitions}
    for definition in definitions:
        namespace = definition.key.namespace
        if namespace not in listed:
            listed[namespace] = await _list(client, namespace)
        secrets = await _complete(client, definition, listed[namespace])
        found = secrets.found.get(definition.spec.name)
        has_it = None if found is None else await _holder(client, found.current, known)
        observed.append(secrets._replace(holder=has_it))
    return observed


async def _holder(
    client: KubeClient, secret: CurrentSecret, known: Mapping[ObjectKey, SecretDefinition]
) -> SecretDefinition | None:
    """Return the definition that has a Secret without an owner, by its annotation."""
    key = secret.key._replace(name=orphan_of(secret))
    try:
        maker = known.get(key) or (await client.get(SECRET_DEFINITIONS, key) if is_object_name(key.name) else None)
    except NotFound:
        maker = None
    return holder(secret, [] if maker is None else [maker])


async def _list(client: KubeClient, namespace: str) -> Listed:
    try:
        secrets = await list_all(client, OBSERVED_SECRETS, namespace, label_selector=OWNER)
    except KubeError as error:
        return Listed({}, error)
    return Listed({each.metadata.name: each for each in secrets})


async def _complete(client: KubeClient, definition: SecretDefinition, listed: Listed) -> Secrets:
    """Add the Secret of the definition, and the last one, if they are without the controller's label."""
    found = dict(listed.secrets)
    errors: dict[str, KubeError] = {}
    for name in {definition.spec.name, definition.status.secret_name}:
        if name in found or not is_object_name(name):
            continue
        try:
            found[name] = await client.get(OBSERVED_SECRETS, ObjectKey(definition.key.namespace, name))
        except NotFound:
            pass
        except KubeError as error:
            errors[name] = error
    return Secrets(found, errors, listed.error)
