"""The real program and a real API server whose lists are of more bytes than are read at once."""

import base64
from pathlib import Path

from fake_kubernetes.documents import Object
from tests.process.running import world
from tests.real.cluster import ControlPlane
from tests.real.openbao import OpenBao

MIB = 1024 * 1024
VALUE = base64.b64encode(b"x" * MIB).decode()


def test_fifty_owned_secrets_of_a_mebibyte_each_do_not_keep_the_program_from_being_ready(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        for number in range(50):
            labels: Object = {"secrets-manager.tuenti.io/owner": "some-uid"}
            metadata: Object = {"name": f"large-{number}", "namespace": here.namespace, "labels": labels}
            control_plane.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"k": VALUE}})

        here.program.started()
        here.define("app", {"k": here.write("app", k="first") + "#k"})

        here.wait_for("app", {"k": "first"})
        assert "failed to watch" not in here.program.output.read_text()
