"""Read definitions and their Secrets from the cluster. Every request is a GET."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from secrets_manager.controller.definition import SECRET_DEFINITIONS, SecretDefinition
from secrets_manager.controller.names import is_object_name
from secrets_manager.controller.ownership import holder, maker_of, owner
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
        if found is not None:
            makers = await _makers(client, found.current, known)
            secrets = secrets._replace(holder=holder(found.current, makers), owner=owner(found.current, makers))
        observed.append(secrets)
    return observed


async def _makers(
    client: KubeClient, secret: CurrentSecret, known: Mapping[ObjectKey, SecretDefinition]
) -> list[SecretDefinition]:
    """Return the definition that the owner of a Secret is, or its annotation names, if any."""
    key = secret.key._replace(name=maker_of(secret))
    try:
        maker = known.get(key) or (await client.get(SECRET_DEFINITIONS, key) if is_object_name(key.name) else None)
    except NotFound:
        maker = None
    except KubeError:
        if secret.controller is None:
            raise
        maker = None  # that it has an owner is known; the definition would only say more of it
    return [] if maker is None else [maker]


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
