"""Read definitions and their Secrets from the cluster. Every request is a GET."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.names import is_object_name
from secrets_manager.controller.secret import OWNER
from secrets_manager.explain.observed import OBSERVED_SECRETS, ObservedSecret, Secrets
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import KubeError, NotFound, ResponseTooLarge
from secrets_manager.kube.objects import KubeObject, ObjectKey
from secrets_manager.kube.resources import Resource

T = TypeVar("T", bound=KubeObject)

PAGE = 500
"""Objects in a page of a list, unless they are too large."""


class Listed(NamedTuple):
    """The Secrets of a namespace that a definition has written, and why they can't be listed."""

    secrets: Mapping[str, ObservedSecret]
    error: KubeError | None = None


async def list_all(client: KubeClient, resource: Resource[T], namespace: str, *, label_selector: str = "") -> list[T]:
    """List all objects in a namespace. Those that can't be decoded are left out.

    Raises:
        KubeError: A request failed.
    """
    found: list[T] = []
    limit, after = PAGE, ""
    while True:
        try:
            page = await client.list_page(
                resource, namespace=namespace, label_selector=label_selector, limit=limit, continue_token=after
            )
        except ResponseTooLarge:
            if limit == 1:
                raise
            limit //= 2
            continue
        found += page.items
        if not page.continue_token:
            return found
        after = page.continue_token


async def observe(client: KubeClient, definitions: Iterable[SecretDefinition]) -> list[Secrets]:
    """Read the Secrets of each definition: one list of a namespace, as the controller watches, and what it lacks."""
    listed: dict[str, Listed] = {}
    observed: list[Secrets] = []
    for definition in definitions:
        namespace = definition.key.namespace
        if namespace not in listed:
            listed[namespace] = await _list(client, namespace)
        observed.append(await _complete(client, definition, listed[namespace]))
    return observed


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
