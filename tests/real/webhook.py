"""Admission webhooks for the Secrets of one namespace: one that refuses, and one that is not there."""

import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fake_kubernetes.documents import Object, mapping, parse, text
from tests.real.cluster import ControlPlane

REGISTRATION = "admissionregistration.k8s.io"
NAME = "guard.example.com"


@contextmanager
def refusing_webhook(cluster: ControlPlane, namespace: str, why: Callable[[Object], str]) -> Generator[str]:
    """A webhook that refuses each new Secret, and says why of the object. Gives the path of its configuration."""

    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = parse(self.rfile.read(int(self.headers["Content-Length"])))
            status: Object = {"code": 400, "message": why(mapping(review, "request", "object"))}
            verdict: Object = {"uid": text(review, "request", "uid"), "allowed": False, "status": status}
            body = json.dumps({**review, "response": verdict}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    certificate = cluster.ca_file
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bundle = b64encode(certificate.read_bytes()).decode()
    try:
        with validating_webhook(cluster, namespace, f"https://127.0.0.1:{server.server_address[1]}/", bundle) as path:
            yield path
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def validating_webhook(cluster: ControlPlane, namespace: str, url: str, bundle: str = "") -> Generator[str]:
    """A webhook that has to agree to each new and each changed Secret, wherever it is. Gives its own path."""
    webhook: Object = {
        "name": NAME,
        "clientConfig": {"url": url, "caBundle": bundle or None},
        "namespaceSelector": marked(cluster, namespace),
        "rules": [rule()],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    with registered(cluster, "ValidatingWebhookConfiguration", "v1", namespace, {"webhooks": [webhook]}) as path:
        yield path


@contextmanager
def registered(cluster: ControlPlane, kind: str, version: str, name: str, content: Object) -> Generator[str]:
    """Something of admission registration, until it is deleted, at the end of the block at the latest."""
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    path = f"/apis/{REGISTRATION}/{version}/{plural.lower()}"
    document: Object = {"apiVersion": f"{REGISTRATION}/{version}", "kind": kind, "metadata": {"name": name}}
    cluster.request("POST", path, body=document | content)
    try:
        yield f"{path}/{name}"
    finally:
        if cluster.find(f"{path}/{name}") is not None:
            cluster.delete(f"{path}/{name}")


def marked(cluster: ControlPlane, namespace: str) -> Object:
    """Label the namespace. Gives the selector of it alone."""
    labels: Object = {"guarded": namespace}
    cluster.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}})
    return {"matchLabels": labels}


def rule() -> Object:
    """Secrets that are made or changed."""
    return {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE", "UPDATE"]}
