"""A small synchronous client for tests: any kind of object, no retries, failures raised with the server's words."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol, TypeAlias

import httpx
import msgspec

from fake_kubernetes.documents import Json, Object, items, parse, text
from fake_kubernetes.patches import APPLY

MERGE_PATCH = "application/merge-patch+json"
POLL = 0.02

Query: TypeAlias = dict[str, str | int]

PLURALS = {
    "FlowSchema": "flowschemas",
    "PriorityLevelConfiguration": "prioritylevelconfigurations",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "CustomResourceDefinition": "customresourcedefinitions",
    "DaemonSet": "daemonsets",
    "Deployment": "deployments",
    "Event": "events",
    "Lease": "leases",
    "Namespace": "namespaces",
    "PodMonitor": "podmonitors",
    "PrometheusRule": "prometheusrules",
    "ResourceQuota": "resourcequotas",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "SecretDefinition": "secretdefinitions",
    "ServiceAccount": "serviceaccounts",
    "StatefulSet": "statefulsets",
}


def path_of(document: Object, *, named: bool) -> str:
    """The URL's path of an object, or of the collection that it belongs to.

    Raises: KeyError for a kind that is not in PLURALS.
    """
    version = text(document, "apiVersion")
    parts = ["/apis" if "/" in version else "/api", version]
    if namespace := text(document, "metadata", "namespace"):
        parts += ["namespaces", namespace]
    parts.append(PLURALS[text(document, "kind")])
    if named:
        parts.append(text(document, "metadata", "name"))
    return "/".join(parts)


class Send(Protocol):
    """Makes one request, and returns the status and the body of its answer."""

    def __call__(self, method: str, path: str, query: Query, body: bytes, content_type: str) -> tuple[int, bytes]: ...


def over_http(client: httpx.Client) -> Send:
    def send(method: str, path: str, query: Query, body: bytes, content_type: str) -> tuple[int, bytes]:
        reply = client.request(method, path, params=query or None, content=body, headers={"Content-Type": content_type})
        return reply.status_code, reply.content

    return send


class KubeApi:
    """Each method is one request; what is no success raises httpx.HTTPStatusError."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def request(
        self, method: str, path: str, *, body: Json = None, query: Query | None = None, content_type: str = ""
    ) -> Object:
        content = b"" if body is None else msgspec.json.encode(body)
        return parse(self._answer(method, path, query or {}, content, content_type or "application/json"))

    def create(self, document: Object) -> Object:
        return self.request("POST", path_of(document, named=False), body=document)

    def apply(self, document: Object) -> Object:
        """Create, or merge into what is there."""
        try:
            return self.create(document)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != HTTPStatus.CONFLICT:
                raise
        return self.patch(path_of(document, named=True), document)

    def get(self, path: str, **query: str | int) -> Object:
        return self.request("GET", path, query=query)

    def find(self, path: str) -> Object | None:
        """The object, or None where there is none."""
        try:
            return self.get(path)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise
            return None

    def lines(self, path: str, query: Query) -> list[Object]:
        """All that a watch brings until the server ends it."""
        return [parse(line) for line in self._answer("GET", path, query, b"", "application/json").splitlines()]

    def list(self, path: str, **query: str | int) -> list[Object]:
        return [each for each in items(self.get(path, **query), "items") if isinstance(each, dict)]

    def patch(self, path: str, change: Object) -> Object:
        return self.request("PATCH", path, body=change, content_type=MERGE_PATCH)

    def apply_keys(self, path: str, keys: Object, *, by: str, force: bool = False) -> Object:
        """Apply keys of a Secret (server-side apply), as a manager of its own."""
        name = path.rpartition("/")[2]
        document: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": keys}
        query: Query = {"fieldManager": by, "force": "true"} if force else {"fieldManager": by}
        return self.request("PATCH", path, body=document, query=query, content_type=APPLY)

    def replace(self, document: Object) -> Object:
        return self.request("PUT", path_of(document, named=True), body=document)

    def delete(self, path: str, *, options: Object | None = None) -> Object:
        return self.request("DELETE", path, body=options)

    def _answer(self, method: str, path: str, query: Query, body: bytes, content_type: str) -> bytes:
        status, content = self._send(method, path, query, body, content_type)
        if not httpx.codes.is_success(status):
            raise httpx.HTTPStatusError(
                f"{method} {path}: {status} {content.decode()}",
                request=httpx.Request(method, f"http://any{path}"),
                response=httpx.Response(status, content=content),
            )
        return content


def wait_until(predicate: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """For what the cluster does in its own time. Raises: TimeoutError."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {seconds} s: {predicate}")
        time.sleep(POLL)
