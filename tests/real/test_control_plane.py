"""What the other cluster tests rely on: rights, counters, restarts, and clear words when something is missing."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from fake_kubernetes.documents import Json, Object
from tests.contracts.widgets import secret
from tests.real.cluster import ControlPlane
from tests.real.program import Program, ProgramFailed

pytestmark = pytest.mark.real

SECRETS: list[Json] = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]


def test_a_service_account_may_do_what_its_rules_say_and_no_more(control_plane: ControlPlane, namespace: str) -> None:
    token = control_plane.service_account_token(namespace, "reader", rules=SECRETS)
    with control_plane.client_for(token) as client:
        answers = [
            client.get(f"/api/v1/namespaces/{namespace}/secrets").status_code,
            client.delete(f"/api/v1/namespaces/{namespace}/secrets/a").status_code,
            client.get("/api/v1/secrets").status_code,
        ]
    assert answers == [200, 403, 403]


def test_a_service_account_can_have_rights_everywhere(control_plane: ControlPlane, namespace: str) -> None:
    token = control_plane.service_account_token(namespace, "reader", rules=SECRETS, cluster=True)
    with control_plane.client_for(token) as client:
        assert client.get("/api/v1/secrets").status_code == 200


def test_requests_are_counted(control_plane: ControlPlane, namespace: str) -> None:
    before = control_plane.request_counts()
    for name in "ab":
        control_plane.create(in_namespace(secret(name), namespace))
    after = control_plane.request_counts()
    assert after["POST", "secrets"] - before.get(("POST", "secrets"), 0) == 2


def test_apply_makes_and_changes(control_plane: ControlPlane, namespace: str) -> None:
    document = in_namespace(secret(data={"a": "MQ=="}), namespace)
    control_plane.apply(document)
    assert control_plane.apply({**document, "data": {"a": "Mg=="}})["data"] == {"a": "Mg=="}


def test_kubectl_is_the_administrator(control_plane: ControlPlane) -> None:
    assert control_plane.kubectl("auth", "can-i", "delete", "nodes").strip() == "yes"


def test_a_restarted_api_server_has_the_same_address_and_objects(own_control_plane: ControlPlane) -> None:
    namespace = own_control_plane.namespace()
    own_control_plane.apiserver.kill()
    with pytest.raises(httpx.ConnectError):
        own_control_plane.get("/api/v1/namespaces")
    own_control_plane.start_apiserver()
    assert own_control_plane.find(f"/api/v1/namespaces/{namespace}") is not None


ANY_CLUSTER_TEST = "tests/real/test_control_plane.py::test_kubectl_is_the_administrator"


def run_without_cluster(nowhere: Path, *, require: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"KUBEBUILDER_ASSETS": str(nowhere), "REQUIRE_CLUSTER": require}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ANY_CLUSTER_TEST]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


def test_without_a_cluster_its_tests_are_skipped_and_the_last_lines_say_so(tmp_path: Path) -> None:
    run = run_without_cluster(tmp_path, require="0")
    assert run.returncode == 0
    assert "1 skipped" in run.stdout
    assert "Get them with: just envtest" in run.stdout


def test_without_a_cluster_a_run_that_requires_one_fails(tmp_path: Path) -> None:
    run = run_without_cluster(tmp_path, require="1")
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "REQUIRE_CLUSTER=1" in run.stderr


def test_a_program_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    program = Program(["sh", "-c", "echo the reason; exit 1"], log=tmp_path / "sh.log")
    program.start()
    with pytest.raises(ProgramFailed, match="the reason"):
        program.wait_until(lambda: False, seconds=10)
    program.kill()


def test_a_program_that_is_not_ready_in_time(tmp_path: Path) -> None:
    with Program(["sleep", "60"], log=tmp_path / "sleep.log") as program:
        program.start()
        with pytest.raises(ProgramFailed, match="not ready"):
            program.wait_until(lambda: False, seconds=0.1)
    assert not program.running


def in_namespace(document: Object, namespace: str) -> Object:
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    return {**document, "metadata": {**metadata, "namespace": namespace}}
