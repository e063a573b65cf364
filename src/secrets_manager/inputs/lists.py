"""List objects in the cluster once."""

from contextlib import aclosing
from typing import TypeVar

from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.objects import KubeObject
from secrets_manager.kube.pager import Pager
from secrets_manager.kube.resources import Resource

T = TypeVar("T", bound=KubeObject)


async def list_all(client: KubeClient, resource: Resource[T], namespace: str, *, label_selector: str = "") -> list[T]:
    """List all objects in a namespace, or in all of them for an empty one.

    Those that can't be decoded are left out.

    Raises:
        KubeError: A request failed.
    """
    async with aclosing(Pager(client, resource, namespace=namespace, label_selector=label_selector).pages()) as pages:
        return [obj async for page in pages for obj in page.items]
