"""A client for contract tests of a Kubernetes API: plain httpx, on the double or a real server."""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Self

import httpx
import msgspec
import trio

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import Json, Object, at, items, parse, text, without
from tests.contracts.widgets import API_VERSION
from tests.real.kube_api import MERGE_PATCH, Query

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
OBJECT_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
LIST_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Answer:
    """A status code and the JSON that came with it; `managers` are the object's managedFields, if it is one."""

    def __init__(self, response: httpx.Response) -> None:
        self.code = response.status_code
        is_json = response.headers["content-type"].startswith("application/json")
        whole = parse(response.content) if is_json else {}
        self.document = without_bookkeeping(whole)
        self.managers = items(whole, "metadata", "managedFields")

    def __repr__(self) -> str:
        return f"Answer({self.code}, {self.document})"

    @property
    def outcome(self) -> tuple[int, str]:
        """The code and the reason of a refusal."""
        return self.code, text(self.document, "reason")

    @property
    def names(self) -> list[str]:
        return [text(item, "metadata", "name") for item in items(self.document, "items")]

    @property
    def causes(self) -> set[tuple[str, str]]:
        """Which fields were refused, and why; without the wording."""
        causes = items(self.document, "details", "causes")
        return {(text(cause, "field"), text(cause, "reason")) for cause in causes}

    def at(self, *path: str) -> Json:
        return at(self.document, *path)

    def text(self, *path: str) -> str:
        return text(self.document, *path)

    @property
    def version(self) -> str:
        return text(self.document, "metadata", "resourceVersion")

    def expect(self, code: int) -> Self:
        assert self.code == code, self
        return self


def without_bookkeeping(document: Object) -> Object:
    """Leave out managedFields, which the double keeps for Secrets alone, and which have times."""
    metadata = document.get("metadata")
    return {**document, "metadata": without(metadata, "managedFields")} if isinstance(metadata, dict) else document


class Api:
    """One API with a namespace of the test's own. `cluster` is the double's inside, None for the real server."""

    def __init__(self, client: httpx.AsyncClient, *, namespace: str, cluster: Cluster | None) -> None:
        self.client = client
        self.namespace = namespace
        self.cluster = cluster
        self.secrets = f"/api/v1/namespaces/{namespace}/secrets"
        self.widgets = f"/apis/{API_VERSION}/namespaces/{namespace}/widgets"
        self.meters = f"/apis/{API_VERSION}/namespaces/{namespace}/meters"
        self.gadgets = f"/apis/{API_VERSION}/namespaces/{namespace}/gadgets"
        self.leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self.events = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        self.core_events = f"/api/v1/namespaces/{namespace}/events"

    async def call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        raw: bytes = b"",
        content_type: str = "application/json",
        accept: str = "application/json",
        query: Query | None = None,
    ) -> Answer:
        response = await self.client.request(
            method,
            path,
            params=query,
            content=raw if body is None else msgspec.json.encode(body),
            headers={"Content-Type": content_type, "Accept": accept},
        )
        return Answer(response)

    async def get(self, path: str, **query: str | int) -> Answer:
        return await self.call("GET", path, query=query)

    async def table(self, path: str) -> Answer:
        return await self.call("GET", path, accept=TABLE)

    async def post(self, path: str, body: Object) -> Answer:
        return await self.call("POST", path, body)

    async def put(self, path: str, body: Object) -> Answer:
        return await self.call("PUT", path, body)

    async def patch(self, path: str, change: Object) -> Answer:
        return await self.call("PATCH", path, change, content_type=MERGE_PATCH)

    async def delete(self, path: str, options: Object | None = None) -> Answer:
        return await self.call("DELETE", path, options)

    async def until(self, path: str, holds: Callable[[Answer], bool]) -> Answer:
        """Poll for what a cluster does asynchronously."""
        with trio.fail_after(60):
            while not holds(found := await self.get(path)):  # noqa: ASYNC110 - another process does it
                await trio.sleep(0.05)
            return found

    @asynccontextmanager
    async def watch(
        self, path: str, *, accept: str = "application/json", **query: str | int
    ) -> AsyncGenerator["Events"]:
        params: Query = {"watch": "1", **query}
        headers = {"Accept": accept}
        send, receive = trio.open_memory_channel[bytes](math.inf)
        with trio.fail_after(60):
            watch = self.client.stream("GET", path, params=params, headers=headers)
            async with watch as response, trio.open_nursery() as nursery:
                nursery.start_soon(pump, response, send)
                with receive:
                    yield Events(receive, code=response.status_code)
                nursery.cancel_scope.cancel("seen enough")


async def pump(response: httpx.Response, channel: trio.MemorySendChannel[bytes]) -> None:
    """Read a body until cancelled.

    httpx reads through a chain of async generators, which can be left without a warning only while they wait.
    """
    with channel:
        async for chunk in response.aiter_bytes():
            channel.send_nowait(chunk)


class Events:
    """The events of one watch, one by one."""

    def __init__(self, chunks: trio.MemoryReceiveChannel[bytes], *, code: int) -> None:
        self.code = code
        self._chunks = chunks
        self._rest = b""

    async def next(self) -> Object:
        """Wait for an event. Raises: trio.EndOfChannel at the stream's end."""
        while b"\n" not in self._rest:
            self._rest += await self._chunks.receive()
        line, _, self._rest = self._rest.partition(b"\n")
        event = parse(line)
        shown = event["object"]
        assert isinstance(shown, dict)
        return {**event, "object": without_bookkeeping(shown)}

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Wait for so many events; their types and the objects' names."""
        events = [await self.next() for _ in range(count)]
        return [(text(event, "type"), text(event, "object", "metadata", "name")) for event in events]
