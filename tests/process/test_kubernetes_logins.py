"""Logins by a kubeconfig, to a real API server."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fake_kubernetes.documents import Object, parse
from secrets_manager.config import KubeConfig
from secrets_manager.kube.client import KubeClient, open_client
from secrets_manager.kube.credentials import find_cluster
from secrets_manager.kube.errors import Forbidden
from secrets_manager.kube.objects import ObjectMeta, Wire
from secrets_manager.kube.resources import Resource
from tests.definitions import CRD
from tests.kube.certificates import Authority
from tests.kube.test_kubeconfig import write
from tests.process.running import Place
from tests.real.cluster import ControlPlane, kubeconfig
from tests.real.openbao import OpenBao
from tests.real.pod import Container, entering


class UserInfo(Wire, frozen=True):
    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] | None = None


class Known(Wire, frozen=True):
    user_info: UserInfo


class Review(Wire, frozen=True):
    """The API server's answer to who asks."""

    status: Known
    metadata: ObjectMeta = ObjectMeta()


REVIEWS = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", msgspec.json.Decoder(Review).decode
)
ASKED: Object = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


def with_user(cluster: ControlPlane, file: Path, user: Object) -> Path:
    """The administrator's kubeconfig, with more about its user."""
    kubeconfig(file, url=cluster.url, ca_file=cluster.ca_file, token=cluster.admin_token)
    document = parse(file.read_bytes())
    more: Object = {**user, "token": cluster.admin_token}
    file.write_bytes(msgspec.json.encode(document | {"users": [{"name": "test", "user": more}]}))
    return file


async def watch(client: KubeClient) -> None:
    async with client.watch(REVIEWS._replace(plural="tokenreviews"), resource_version="1", timeout_seconds=1):
        pass


async def test_requests_are_made_as_whom_the_kubeconfig_says(control_plane: ControlPlane, tmp_path: Path) -> None:
    extra: Object = {"example.com/Scope": ["x", "y"]}
    file = with_user(
        control_plane,
        tmp_path / "config",
        {"as": "jane", "as-uid": "7", "as-groups": ["team", "more"], "as-user-extra": extra},
    )
    async with open_client(await find_cluster(KubeConfig(kubeconfig=str(file)), environ={})) as client:
        user = (await client.create(REVIEWS, "", ASKED)).status.user_info
        assert (user.username, user.uid, user.extra) == ("jane", "7", {"example.com/scope": ("x", "y")})
        assert {"team", "more"} <= set(user.groups)
        with pytest.raises(Forbidden, match='User "jane" cannot watch') as refused:
            await watch(client)
        assert refused.value.by_authorization


def test_the_program_runs_with_a_kubeconfig_where_nothing_can_be_written(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    certificate, key = Authority(tmp_path).issue("me")
    inline: Object = {
        "client-certificate-data": base64.b64encode(certificate.read_bytes()).decode(),
        "client-key-data": base64.b64encode(key.read_bytes()).decode(),
    }
    file = with_user(control_plane, tmp_path / "config", inline)
    control_plane.install(CRD)
    place = Place(control_plane, openbao, namespace=control_plane.namespace())
    flags = [f"-watch-namespaces={place.namespace}", "-metrics-addr=127.0.0.1:0"]
    with Container(
        [sys.executable, "-m", "secrets_manager", *flags],
        cluster=control_plane,
        token="none",
        namespace=place.namespace,
        folder=tmp_path / "pod",
        environment={**place.vault, "KUBECONFIG": str(file)},
    ) as program:
        probe = entering(tmp_path, [sys.executable, "-c", "import tempfile; tempfile.gettempdir()"])
        assert b"No usable temporary directory" in subprocess.run(probe, check=False, capture_output=True).stderr
        program.start()
        place.define("app", {"k": place.write("app", k="first") + "#k"})

        place.wait_for("app", {"k": "first"})


@pytest.mark.real
def test_without_the_package_kubernetes_an_auth_provider_is_refused_with_the_way_out(tmp_path: Path) -> None:
    as_in_the_image = (
        "import sys; sys.modules['kubernetes'] = None; from secrets_manager.cli.main import main; sys.exit(main())"
    )
    plugin: dict[str, object] = {"auth-provider": {"name": "oidc"}}
    file = write(tmp_path / "config", user=plugin)
    environment = {**os.environ, "VAULT_ADDR": "http://127.0.0.1:1", "VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"}
    command = [sys.executable, "-c", as_in_the_image, f"--kubeconfig={file}", "--metrics-addr=127.0.0.1:0"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "an auth-provider needs the Python package kubernetes" in done.stderr
    assert "Traceback" not in done.stderr
