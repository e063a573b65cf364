"""What a real API server does to the real program: it restarts, loses the CRD, refuses, and takes namespaces away."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx

from fake_kubernetes.documents import Object, text
from secrets_manager.controller import crd
from tests.definitions import CRD
from tests.process.running import Place, SecretsManager, World, world
from tests.real.cluster import ControlPlane, kubeconfig
from tests.real.kube_api import wait_until
from tests.real.network import Passed, network
from tests.real.openbao import OpenBao
from tests.real.pod import ACCOUNT, Container
from tests.real.webhook import refusing_webhook

CRD_PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd.NAME}"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces"
ANY = "*"
LITTLE = "little"
LONGEST_RETRY_AFTER = 32.0
"""Seconds that an API server asks for at most when it sheds load; the older ones always ask for one."""


def test_a_restart_of_the_api_server_is_survived_and_what_changed_meanwhile_arrives(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(own_control_plane, openbao, tmp_path) as here:
        here.define("app", {"k": here.write("app", k="first") + "#k"})
        here.program.started()
        here.wait_for("app", {"k": "first"})

        own_control_plane.apiserver.kill()
        here.write("app", k="second")
        wait_until(lambda: "failed to watch" in here.program.output.read_text())
        own_control_plane.start_apiserver()
        here.define("more", {"k": here.write("more", k="third") + "#k"})

        wait_until(lambda: here.values("app") == {"k": "second"}, seconds=30)
        wait_until(lambda: here.values("more") == {"k": "third"}, seconds=30)
        assert here.program.running


def test_a_crd_that_goes_and_comes_back_costs_nothing_by_our_hand(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    seen: list[Passed] = []
    with (
        world(own_control_plane, openbao, tmp_path) as here,
        network(own_control_plane, "us", see=seen.append) as links,
    ):
        file = kubeconfig(tmp_path / "kubeconfig", url=links["us"].url, token=own_control_plane.admin_token)
        with another(here, tmp_path, kubeconfig=file, namespaces=here.namespace) as program:
            place = here.write("app", k="first") + "#k"
            here.define("app", {"k": place})
            here.wait_for("app", {"k": "first"})

            own_control_plane.delete(CRD_PATH)
            here.wait_for("app", None)
            wait_until(lambda: "404" in program.output.read_text())
            own_control_plane.install(CRD)
            here.define("app", {"k": place})

            wait_until(lambda: here.values("app") == {"k": "first"}, seconds=30)
        assert [each for each in seen if each.method == "DELETE"] == []


def test_a_webhook_that_refuses_is_quoted_until_it_lets_pass(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with (
        world(control_plane, openbao, tmp_path) as here,
        refusing_webhook(control_plane, here.namespace, lambda _: "not on my watch") as path,
    ):
        here.program.started()
        here.define("app", {"k": here.write("app", k="hunter-1") + "#k"})
        here.wait_for_reason("app", "SecretRejected")
        assert here.message("app").endswith(
            '400 Bad Request: admission webhook "guard.example.com" denied the request: not on my watch'
        )
        assert here.secret("app") is None

        control_plane.delete(path)
        wait_until(lambda: here.values("app") == {"k": "hunter-1"}, seconds=30)
        here.wait_for_reason("app", "Synced")


def test_a_server_that_sheds_our_load_is_given_time_and_gets_all_of_it(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    """By Priority and Fairness: of our sixteen requests at a time one is served, and the others get a 429."""
    names = [f"app-{number}" for number in range(60)]
    with world(own_control_plane, openbao, tmp_path) as here:
        token = own_control_plane.service_account_token(here.namespace, "us", rules=[everything()])
        file = own_control_plane.kubeconfig_for(token, name=here.namespace)
        place = here.write("app", k="first") + "#k"
        here.define("app", {"k": place})
        with another(here, tmp_path, kubeconfig=file, namespaces=here.namespace) as program:
            here.wait_for("app", {"k": "first"})
            with little_priority(own_control_plane, user=f"system:serviceaccount:{here.namespace}:us"):
                for name in names:
                    here.define(name, {"k": place})
                wait_until(lambda: shed(own_control_plane) > 0)
                before, began = shed(own_control_plane), time.monotonic()
                wait_until(lambda: shed(own_control_plane) > before, seconds=LONGEST_RETRY_AFTER + 3)
                time.sleep(3)
                more, took = shed(own_control_plane) - before, time.monotonic() - began
                assert more <= (took + 1) * 16  # what was held starts again once a second at most
                assert here.values("app") == {"k": "first"}

            here.write("app", k="second")
            wait_until(lambda: all(here.values(name) == {"k": "second"} for name in names), seconds=60)
            wait_until(lambda: {here.reason(name) for name in names} == {"Synced"}, seconds=60)
            assert program.running
            assert program.answer("/readyz") == "ok\n"
            assert "unexpected" not in program.output.read_text()


def shed(cluster: ControlPlane) -> int:
    """How many requests of little priority the API server has turned away."""
    return cluster.counted("apiserver_flowcontrol_rejected_requests_total", priority_level=LITTLE)


@contextmanager
def little_priority(cluster: ControlPlane, *, user: str) -> Generator[None]:
    """One request of the user is served at a time, and none waits."""
    api_version = "flowcontrol.apiserver.k8s.io/v1"

    def flow_control(kind: str, name: str, spec: Object) -> Object:
        return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}

    levels = [
        flow_control("PriorityLevelConfiguration", name, {"type": "Limited", "limited": nominal(shares)})
        for name, shares in ((LITTLE, 1), (f"not-{LITTLE}", 100_000))
    ]
    everywhere: Object = {"apiGroups": [ANY], "resources": [ANY], "verbs": [ANY], "namespaces": [ANY]}
    rule: Object = {"subjects": [{"kind": "User", "user": {"name": user}}], "resourceRules": [everywhere]}
    schema = flow_control(
        "FlowSchema",
        LITTLE,
        {"priorityLevelConfiguration": {"name": LITTLE}, "matchingPrecedence": 2, "rules": [rule]},
    )
    for each in (*levels, schema):
        cluster.create(each)
    try:
        yield
    finally:
        cluster.delete(f"/apis/{api_version}/flowschemas/{LITTLE}")


def nominal(shares: int) -> Object:
    """A part of the server's concurrency that borrows nothing from others."""
    return {"limitResponse": {"type": "Reject"}, "nominalConcurrencyShares": shares, "borrowingLimitPercent": 0}


def test_a_namespace_that_is_deleted_and_created_again_is_synced_again(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        path = f"/api/v1/namespaces/{here.namespace}"
        place = here.write("app", k="first") + "#k"
        here.define("app", {"k": place})
        here.program.started()
        here.wait_for("app", {"k": "first"})

        control_plane.delete(path)
        wait_until(lambda: control_plane.find(path) is None, seconds=30)
        control_plane.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": here.namespace}})
        here.define("app", {"k": place})

        here.wait_for("app", {"k": "first"})


def test_a_namespace_without_a_role_or_without_existence_is_named_and_picked_up_when_it_has_both(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        late = f"{here.namespace}-late"
        token = control_plane.service_account_token(here.namespace, "us", rules=[everything()])
        file = control_plane.kubeconfig_for(token, name=here.namespace)
        here.define("app", {"k": here.write("app", k="first") + "#k"})
        with another(here, tmp_path, kubeconfig=file, namespaces=f"{here.namespace},{late}") as program:
            here.wait_for("app", {"k": "first"})
            refusal = f"can't watch secrets in {late}: GET /api/v1/namespaces/{late}/secrets: 403 Forbidden"
            ready, warning = program.answer("/readyz").splitlines()
            assert ready == "ok"
            assert warning.startswith(refusal)
            assert f'secrets_manager_watch_up{{kind="Secret",namespace="{late}"}} 0.0' in program.answer("/metrics")
            assert f"/api/v1/namespaces/{late}/secrets" in program.output.read_text()

            control_plane.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": late}})
            grant(control_plane, late, account=("us", here.namespace))
            here.namespace = late
            here.define("app", {"k": here.write("app", k="second") + "#k"})

            wait_until(lambda: here.values("app") == {"k": "second"}, seconds=30)
            wait_until(lambda: program.answer("/readyz") == "ok\n")
            assert f'secrets_manager_watch_up{{kind="Secret",namespace="{late}"}} 1.0' in program.answer("/metrics")


def test_a_program_that_can_watch_no_namespace_is_not_ready_until_it_can(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        token = control_plane.service_account_token(here.namespace, "us", rules=[])
        file = control_plane.kubeconfig_for(token, name=here.namespace)
        here.define("app", {"k": here.write("app", k="first") + "#k"})
        with another(here, tmp_path, kubeconfig=file, namespaces=here.namespace, ready=False) as program:
            program.wait_until(lambda: "403 Forbidden" in program.answer("/readyz"), seconds=20)
            reply = httpx.get(f"http://127.0.0.1:{program.port}/readyz", trust_env=False)
            assert reply.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            assert reply.text.splitlines()[0] == "no namespace can be watched"

            control_plane.patch(f"{ROLES}/{here.namespace}/roles/us", {"rules": [everything()]})

            wait_until(lambda: here.values("app") == {"k": "first"}, seconds=30)
            assert program.answer("/readyz") == "ok\n"


def test_a_token_that_is_replaced_and_dies_is_replaced_in_the_program_too(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    """As Kubernetes does it for a pod: the file changes well before the old token ends."""
    place = Place(control_plane, openbao, namespace=control_plane.namespace())
    control_plane.install(CRD)
    control_plane.service_account_token(place.namespace, "us", rules=[everything()])
    flags = [f"-watch-namespaces={place.namespace}", "-reconcile-period=500ms", "-metrics-addr=127.0.0.1:0"]
    first = token_of_ten_minutes(control_plane, place.namespace, bound_to="first")
    with Container(
        [sys.executable, "-m", "secrets_manager", *flags],
        cluster=control_plane,
        token=first,
        namespace=place.namespace,
        folder=tmp_path,
        environment=place.vault,
    ) as program:
        program.start()
        place.define("app", {"k": place.write("app", k="value-0") + "#k"})
        place.wait_for("app", {"k": "value-0"})

        second = token_of_ten_minutes(control_plane, place.namespace, bound_to="second")
        program.mount({ACCOUNT / "token": second})
        control_plane.delete(place.path_of_secret("first"))
        wait_until(lambda: is_dead(control_plane, first), seconds=30)

        for number in range(1, 4):
            place.write("app", k=f"value-{number}")
            place.wait_for("app", {"k": f"value-{number}"})
        assert "retrying" not in program.output.read_text()


def token_of_ten_minutes(cluster: ControlPlane, namespace: str, *, bound_to: str) -> str:
    """Of the ServiceAccount `us`. It dies with the Secret that it is bound to, which is made for it."""
    secret: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": bound_to, "namespace": namespace}}
    reference: Object = {"apiVersion": "v1", "kind": "Secret", "name": bound_to}
    uid = text(cluster.create(secret), "metadata", "uid")
    asked: Object = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [], "expirationSeconds": 600, "boundObjectRef": reference | {"uid": uid}},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/us/token"
    return text(cluster.request("POST", path, body=asked), "status", "token")


def is_dead(cluster: ControlPlane, token: str) -> bool:
    """An API server remembers for some seconds that a token was good."""
    with cluster.client_for(token) as client:
        return client.get("/api/v1/namespaces").status_code == HTTPStatus.UNAUTHORIZED


def everything() -> Object:
    return {"apiGroups": [ANY], "resources": [ANY], "verbs": [ANY]}


def grant(cluster: ControlPlane, namespace: str, *, account: tuple[str, str]) -> None:
    """Let a ServiceAccount, by name and namespace, do everything here."""
    rbac = "rbac.authorization.k8s.io"
    metadata: Object = {"name": "us", "namespace": namespace}
    cluster.create({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": [everything()]})
    name, home = account
    cluster.create(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "us"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": home}],
        }
    )


@contextmanager
def another(
    here: World, folder: Path, *, kubeconfig: Path, namespaces: str, ready: bool = True
) -> Generator[SecretsManager]:
    """A program that logs in to Kubernetes in another way than the world's own."""
    flags = (f"-watch-namespaces={namespaces}", "-reconcile-period=500ms")
    environment = {**here.environment, "KUBECONFIG": str(kubeconfig)}
    with SecretsManager(folder, flags=flags, environment=environment) as program:
        if ready:
            program.started()
        else:
            program.start()
        yield program
