"""The Go original, 2.x: what it left in a cluster, the CRD that it came with, and the program where it is at hand.

That CRD has the same group, version and fields, and less around them: no status subresource, no printer columns, and a
status without fields, so that the API server prunes what is written there. Fields that came later are pruned as well.
"""

import base64
import os
from pathlib import Path

import msgspec

from fake_kubernetes.documents import Object, at, items, mapping, parse, text, with_metadata
from tests.process.running import Place
from tests.real.cluster import ControlPlane
from tests.real.kube_api import wait_until
from tests.real.pod import Container

FINALIZER = "secret.finalizer.secrets-manager.tuenti.io"

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

PATH_OF_CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/secretdefinitions.secrets-manager.tuenti.io"


def install_as_upgraded(cluster: ControlPlane) -> None:
    """Install the CRD as a cluster holds it that had v1beta1 once, where nothing was pruned."""
    cluster.install(OLD)
    cluster.change_stored(
        "/registry/apiextensions.k8s.io/customresourcedefinitions/secretdefinitions.secrets-manager.tuenti.io",
        lambda stored: {**stored, "spec": {**mapping(stored, "spec"), "preserveUnknownFields": True}},
    )
    wait_until(lambda: at(cluster.get(PATH_OF_CRD), "spec", "preserveUnknownFields") is True)


RECORDED: Object = parse(Path(__file__).with_name("original_objects.json").read_bytes())
"""What the running program left, without what the API server adds, and what its /metrics showed."""
PROGRAM = os.environ.get("SECRETS_MANAGER_ORIGINAL", "")
"""The program itself, where it is at hand: it then does what else is done as recorded."""


class Original:
    """The original in one place, where its definitions are and it has not worked yet."""

    def __init__(self, here: Place, folder: Path) -> None:
        self._here = here
        self._folder = folder
        here.write("tls", crt="CERT", key="KEY")
        recorded = parse(msgspec.json.encode(RECORDED).replace(b"secret/data/shop", here.home.encode()))
        self._definitions = [text(each, "metadata", "name") for each in items(recorded, "definitions")]
        self._secrets = [mapping(each) for each in items(recorded, "secrets")]
        for each in items(recorded, "definitions"):
            here.cluster.create(with_metadata(mapping(each), namespace=here.namespace, finalizers=[]))

    def work(self, password: str) -> dict[str, Object]:
        """Let it work until nothing is left to do, with this password in the store. Returns its Secrets."""
        here = self._here
        here.write("db", username="app", password=password, blob=base64.b64encode(b"\x00\x01").decode())
        wanted = [self._with(password, secret) for secret in self._secrets]
        if PROGRAM:
            with self._program() as program:
                program.start()
                wait_until(lambda: self._is_done(wanted))
                program.terminate()
        else:
            for name in self._definitions:
                here.cluster.patch(here.path_of_definition(name), {"metadata": {"finalizers": [FINALIZER]}})
            for secret in wanted:
                self._write(secret)
        return {name: here.cluster.get(here.path_of_secret(name)) for name in map(_name, wanted)}

    def _with(self, password: str, secret: Object) -> Object:
        data = {**mapping(secret, "data")}
        if "password" in data:
            data["password"] = base64.b64encode(password.encode()).decode()
        return {**with_metadata(secret, namespace=self._here.namespace), "data": data}

    def _write(self, secret: Object) -> None:
        """It compares data alone, and writes a Secret whole."""
        present = self._here.secret(_name(secret))
        if present is None:
            self._here.cluster.create(secret)
        elif present["data"] != secret["data"]:
            self._here.cluster.replace(secret)

    def _is_done(self, wanted: list[Object]) -> bool:
        held = all(
            at(self._here.definition(name), "metadata", "finalizers") == [FINALIZER] for name in self._definitions
        )
        return held and all(at(self._here.secret(_name(each)), "data") == each["data"] for each in wanted)

    def _program(self) -> Container:
        here = self._here
        flags = ("-metrics-addr=127.0.0.1:0", f"-watch-namespaces={here.namespace}", "-reconcile-period=500ms")
        return Container(
            [PROGRAM, *flags],
            cluster=here.cluster,
            token=here.cluster.admin_token,
            namespace=here.namespace,
            folder=self._folder / "original",
            environment=here.vault,
        )


def _name(document: Object) -> str:
    return text(document, "metadata", "name")
