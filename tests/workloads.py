"""Workloads, for any Kubernetes API."""

from fake_kubernetes.documents import Json, Object

LABELS: Object = {"app": "web"}


def workload(kind: str = "Deployment", name: str = "web", *, namespace: str = "") -> Object:
    """A Deployment, StatefulSet or DaemonSet that a real API server accepts."""
    containers: list[Json] = [{"name": "web", "image": "images.example.com/web"}]
    template: Object = {"metadata": {"labels": LABELS}, "spec": {"containers": containers}}
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    spec: Object = {"selector": {"matchLabels": LABELS}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}
