"""The demo in a cluster of the user: create what it needs there, and delete it at the end."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import msgspec
import trio

from secrets_manager.controller import crd
from secrets_manager.controller.definition import SECRET_DEFINITIONS
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import AlreadyExists, NotFound
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, Wire
from secrets_manager.kube.resources import Resource

NAMESPACE = "secrets-manager-demo"


class Anything(Wire, frozen=True):
    """An object of which only the name matters."""

    metadata: ObjectMeta


_decode = msgspec.json.Decoder(Anything).decode
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", _decode)
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", _decode)


@asynccontextmanager
async def prepared_namespace(client: KubeClient, context: str) -> AsyncGenerator[str]:
    """A namespace to play in: `default` of the API in memory, one of our own in a cluster that others use.

    What was there before stays: the demo takes away what it brought itself, and nothing else.

    Raises: KubeError where the cluster does not allow it.
    """
    if not context:
        yield "default"
        return
    namespace: dict[str, object] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    brought = [
        (resource, name)
        for resource, name, body in ((CRDS, crd.NAME, crd.definition()), (NAMESPACES, NAMESPACE, namespace))
        if await _bring(client, resource, body)
    ]
    try:
        await _served(client)
        yield NAMESPACE
    finally:
        with trio.move_on_after(10, shield=True):
            for resource, name in reversed(brought):
                await _take_away(client, resource, name)


async def _bring(client: KubeClient, resource: Resource[Anything], body: dict[str, object]) -> bool:
    try:
        await client.create(resource, "", body)
    except AlreadyExists:
        return False
    return True


async def _served(client: KubeClient) -> None:
    """A new kind is served a moment after its CRD was made."""
    with trio.fail_after(10):
        while True:
            with suppress(NotFound):
                await client.list_page(SECRET_DEFINITIONS, namespace=NAMESPACE)
                return
            await trio.sleep(0.1)


async def _take_away(client: KubeClient, resource: Resource[Anything], name: str) -> None:
    with suppress(NotFound):
        key = ObjectKey("", name)
        there = await client.get(resource, key)
        await client.delete(resource, key, uid=there.metadata.uid)
