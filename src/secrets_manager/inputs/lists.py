"""List objects in the cluster once, page by page."""

from typing import TypeVar

from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import ResponseTooLarge
from secrets_manager.kube.objects import KubeObject
from secrets_manager.kube.resources import Resource

T = TypeVar("T", bound=KubeObject)

PAGE = 500
"""Objects in a page of a list, unless they are too large."""


async def list_all(client: KubeClient, resource: Resource[T], namespace: str, *, label_selector: str = "") -> list[T]:
    """List all objects in a namespace, or in all of them for an empty one.

    Those that can't be decoded are left out.

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
