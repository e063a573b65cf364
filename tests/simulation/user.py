"""The client of the workload: it bypasses the network, and does nothing where Kubernetes refuses.

A refusal means that the object is gone or exists already: so plans can be shrunk.
"""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import Object, parse
from fake_kubernetes.patches import APPLY
from fake_kubernetes.requests import Reply, Request
from tests.real.kube_api import MERGE_PATCH, path_of

NO_QUERY: Mapping[str, str] = {}


class User:
    """A user with all rights."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def find(self, path: str) -> Object | None:
        """Return an object; None where there is none."""
        return self._send("GET", path)

    def create(self, document: Object) -> None:
        self._send("POST", path_of(document, named=False), document)

    def patch(self, path: str, change: Object) -> None:
        self._send("PATCH", path, change, MERGE_PATCH)

    def replace(self, path: str, document: Object) -> None:
        self._send("PUT", path, document)

    def apply_keys(self, path: str, keys: Object) -> None:
        """Apply keys of a Secret, as a manager of its own."""
        metadata: Object = {"name": path.rpartition("/")[2]}
        document: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": keys}
        self._send("PATCH", path, document, APPLY, {"fieldManager": "helm", "force": "true"})

    def delete(self, path: str) -> None:
        self._send("DELETE", path)

    def _send(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = "application/json",
        query: Mapping[str, str] = NO_QUERY,
    ) -> Object | None:
        content = b"" if body is None else msgspec.json.encode(body)
        reply = self._cluster.handle(Request(method, path, query, content, content_type))
        assert isinstance(reply, Reply)
        return parse(reply.body) if reply.status < HTTPStatus.BAD_REQUEST else None
