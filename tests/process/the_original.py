"""The Go original: what it left in a cluster, the CRD that it came with, and the program itself beside ours.

That CRD has the same group, version and fields, and less around them: no status subresource, no printer columns, and a
status without fields, so that the API server prunes what is written there. Fields that came later are pruned as well.
"""

import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from secrets_manager.demo.api.documents import Object, at, items, mapping, parse, text, with_metadata
from tests.process.running import Place
from tests.real.cluster import ControlPlane, assets
from tests.real.openbao import OpenBao
from tests.real.pod import Container
from tests.real.program import free_port

FINALIZER = "secret.finalizer.secrets-manager.tuenti.io"
MISSING = "no secrets-manager-go beside the control plane's programs: nothing to take over from"

TEXT: Object = {"type": "string"}
PLACE: Object = {
    "type": "object",
    "required": ["key", "path"],
    "properties": {"encoding": TEXT, "key": TEXT, "path": TEXT},
}
SPEC: Object = {
    "type": "object",
    "required": ["keysMap", "name"],
    "properties": {"keysMap": {"type": "object", "additionalProperties": PLACE}, "name": TEXT, "type": TEXT},
}
WHOLE: Object = {
    "type": "object",
    "properties": {
        "apiVersion": TEXT,
        "kind": TEXT,
        "metadata": {"type": "object"},
        "spec": SPEC,
        "status": {"type": "object"},
    },
}

OLD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "secretdefinitions.secrets-manager.tuenti.io"},
    "spec": {
        "group": "secrets-manager.tuenti.io",
        "names": {
            "kind": "SecretDefinition",
            "listKind": "SecretDefinitionList",
            "plural": "secretdefinitions",
            "singular": "secretdefinition",
        },
        "scope": "Namespaced",
        "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": WHOLE}}],
    },
}


RECORDED = Path(__file__).with_name("original_objects.json")
"""Recorded from the running program, without what the API server adds."""


def leave_objects(here: Place) -> dict[str, Object]:
    """Make the recorded objects as if the original had been here, and write their sources. Returns its Secrets."""
    recording = parse(RECORDED.read_text().replace("secret/data/shop", here.home).encode())
    for definition in items(recording, "definitions"):
        here.cluster.create(with_metadata(mapping(definition), namespace=here.namespace))
    secrets = {
        text(secret, "metadata", "name"): here.cluster.create(with_metadata(mapping(secret), namespace=here.namespace))
        for secret in items(recording, "secrets")
    }
    here.write("db", username="app", password="correct-horse", blob=base64.b64encode(b"\x00\x01").decode())
    here.write("tls", crt="CERT", key="KEY")
    return secrets


class Scene(NamedTuple):
    """One namespace, and both programs with the same flags; neither is started yet."""

    here: Place
    original: Container
    ours: Container

    def finalizers(self, name: str) -> object:
        return at(self.here.definition(name), "metadata", "finalizers")

    def owner(self, name: str) -> str:
        """The uid of the definition that owns the Secret; empty while it is the original's."""
        owners = at(self.here.secret(name), "metadata", "ownerReferences")
        return text(owners[0], "uid") if isinstance(owners, list) else ""

    def holder(self) -> str:
        """Who holds the lease; empty while nobody does."""
        lease = "5ac9a181.secrets-manager.tuenti.io"
        found = self.here.cluster.find(f"/apis/coordination.k8s.io/v1/namespaces/{self.here.namespace}/leases/{lease}")
        return text(found, "spec", "holderIdentity") if found else ""


def original_or_skip() -> Path:
    """The program; a test that asks is skipped where it is missing."""
    binaries = assets()
    if binaries is None or not (binaries / "secrets-manager-go").exists():
        pytest.skip(MISSING)
    return binaries / "secrets-manager-go"


@contextmanager
def scene(cluster: ControlPlane, bao: OpenBao, folder: Path, *flags: str) -> Iterator[Scene]:
    original_program = original_or_skip()
    here = Place(cluster, bao, namespace=cluster.namespace())

    def container(name: str, *command: str) -> Container:
        return Container(
            [*command, f"-metrics-addr=127.0.0.1:{free_port()}", f"-watch-namespaces={here.namespace}",
             "-reconcile-period=500ms", *flags],
            cluster=cluster, token=cluster.admin_token, namespace=here.namespace, folder=folder / name,
            environment=here.vault,
        )  # fmt: skip

    original = container("original", str(original_program))
    ours = container("ours", sys.executable, "-m", "secrets_manager")
    with original, ours:
        yield Scene(here, original, ours)
