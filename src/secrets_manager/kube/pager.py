"""List the objects of one kind page by page: client-go's ListPager.

A page that is too large is requested again with half the limit, down to one; each page that fits raises the limit by
one. The limit is kept for the next list. A page may be empty and others still follow, so what ends a list that goes on
and on is a largest number of pages.
"""

from collections.abc import AsyncGenerator
from typing import Generic, Protocol, TypeVar

from secrets_manager.kube.errors import MalformedResponse, ResponseTooLarge
from secrets_manager.kube.objects import KubeObject
from secrets_manager.kube.page import Page
from secrets_manager.kube.resources import Resource

T = TypeVar("T", bound=KubeObject)

PAGE_SIZE = 500
"""Objects per page, as in client-go."""
MAX_PAGES = 2000
"""A million objects in pages of that size, half as many in those of the watcher."""


class Lister(Protocol):
    """The part of KubeClient that the pager uses. It raises KubeError only."""

    async def list_page(
        self,
        resource: Resource[T],
        *,
        namespace: str,
        label_selector: str,
        limit: int,
        continue_token: str,
    ) -> Page[T]: ...


class Pager(Generic[T]):
    """Lists one kind in one namespace; an empty namespace means all."""

    def __init__(
        self,
        client: Lister,
        resource: Resource[T],
        *,
        namespace: str,
        label_selector: str = "",
        page_size: int = PAGE_SIZE,
    ) -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._label_selector = label_selector
        self._page_size = page_size
        self._limit = page_size

    async def pages(self) -> AsyncGenerator[Page[T]]:
        """Yield the pages of one list. Each is requested when the one before it has been used.

        Raises:
            KubeError: A request failed; ResponseTooLarge only for a page of one object. MalformedResponse: the list
                does not end.
        """
        token = ""
        for _ in range(MAX_PAGES):
            page = await self._page(token)
            yield page
            token = page.continue_token
            if not token:
                return
        raise MalformedResponse(f"GET {self._resource.path(self._namespace)}: no end after {MAX_PAGES} pages")

    async def _page(self, continue_token: str) -> Page[T]:
        while True:
            try:
                page = await self._client.list_page(
                    self._resource,
                    namespace=self._namespace,
                    label_selector=self._label_selector,
                    limit=self._limit,
                    continue_token=continue_token,
                )
            except ResponseTooLarge:
                if self._limit == 1:
                    raise
                self._limit //= 2
            else:
                self._limit = min(self._page_size, self._limit + 1)
                return page
