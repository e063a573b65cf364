"""Paths that lead out of the secrets engines: the program says what to mend, and the real OpenBao sees no request."""

from pathlib import Path

from fake_kubernetes.documents import Object
from tests.process.running import world
from tests.real.cluster import ControlPlane
from tests.real.openbao import OpenBao

REFUSED = (
    "secret/../sys/mounts",
    "secret/data/../../sys/mounts",
    "secret/./data/app",
    "../secret/data/app",
    "secret//data/app",
    "//secret/data/app",
    "secret/data/app//",
    "secret/data/app?version=1",
    "secret/data/app#key",
    "secret\\data\\app",
    "secret/data/app\nX-Vault-Token: x",
    "secret/data/\u0000",
    "secret/data/\u007f",
    "secret/data/\u202eppa",
    "sys/mounts",
    "/sys/mounts",
    "auth/token/lookup-self",
    "identity/entity/id",
    "cubbyhole/app",
    "/",
)


def test_each_refused_path_is_reported_without_a_request(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        for number, path in enumerate(REFUSED):
            spec: Object = {"name": f"bad-{number}", "keysMap": {"k": {"path": path, "key": "k"}}}
            here.define_as_it_is(f"bad-{number}", spec)
        here.define("good", {"k": here.write("good", k="v") + "#k"})
        asked = len(openbao.requested())
        here.program.started()
        here.wait_for("good", {"k": "v"})
        for number in range(len(REFUSED)):
            here.wait_for_reason(f"bad-{number}", "SourceInvalid")
        here.program.terminate()

        of_the_token = {"auth/approle/login", "auth/token/lookup-self", "auth/token/revoke-self"}
        assert set(openbao.requested()[asked:]) - of_the_token == {f"{here.home}/good"}
