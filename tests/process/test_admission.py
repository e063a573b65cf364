"""What admission and others do to the Secrets of the real program: they fail, they change what is written, they quote.

Policies that mutate need an API server that serves them by default, which not every one does.
"""

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from fake_kubernetes.documents import Object, at, items, text
from tests.process.running import World, world
from tests.real.cluster import ControlPlane
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao
from tests.real.program import free_port
from tests.real.webhook import REGISTRATION, marked, refusing_webhook, registered, rule, validating_webhook

WITHHELD = "the server's message is withheld: it may quote a value"
MANAGED_BY = "app.kubernetes.io/managed-by"
ADDS_A_KEY = '[JSONPatch{op: "add", path: "/data/more", value: "eA=="}]'
SETS_MANAGED_BY = '[JSONPatch{op: "add", path: "/metadata/labels/app.kubernetes.io~1managed-by", value: "policy"}]'


def test_a_webhook_that_can_not_be_called_is_reported_for_each_secret_that_it_blocks(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        for name in ("changed", "deleted"):
            here.define(name, {"k": here.write(name, k="first") + "#k"})
        here.program.started()
        for name in ("changed", "deleted"):
            here.wait_for_reason(name, "Synced")

        with validating_webhook(control_plane, here.namespace, f"https://127.0.0.1:{free_port()}/"):
            wait_until(lambda: is_refused(here))
            here.write("changed", k="second")
            control_plane.kubectl("--namespace", here.namespace, "delete", "secret", "deleted")
            here.define("new", {"k": here.write("new", k="third") + "#k"})
            for name in ("changed", "deleted", "new"):
                here.wait_for_reason(name, "SecretWriteFailed")
                assert 'failed calling webhook "guard.example.com"' in here.message(name)
            assert here.values("changed") == {"k": "first"}
            assert (here.values("deleted"), here.values("new")) == (None, None)
            wait_until(lambda: ("SyncFailed", "new") in here.events())

        for name, value in (("changed", "second"), ("deleted", "first"), ("new", "third")):
            wait_until(partial(has, here, name, value), seconds=90)
            here.wait_for_reason(name, "Synced")


def test_a_webhook_that_prints_the_object_leaks_no_value_through_the_controller(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    def quote(secret: Object) -> str:
        return f"denied: {json.dumps(secret['data'])}"

    with (
        world(control_plane, openbao, tmp_path) as here,
        refusing_webhook(control_plane, here.namespace, quote),
    ):
        wait_until(lambda: is_refused(here))
        here.program.started()
        here.define("app", {"k": here.write("app", k="canary-7d1f", pin="1") + "#k"})
        here.define("pin", {"k": f"{here.home}/app#pin"})
        for name in ("app", "pin"):
            here.wait_for_reason(name, "SecretRejected")
            assert here.message(name).endswith(
                "400 Bad Request (the server's message is withheld: it may quote a value)"
            )
        wait_until(lambda: ("SyncFailed", "pin") in here.events())
        published = str(here.cluster.list(f"/apis/events.k8s.io/v1/namespaces/{here.namespace}/events"))
        published += here.program.output.read_text()
        assert [each for each in ("canary-7d1f", "Y2FuYXJ5LTdkMWY", "MQ==") if each in published] == []


def test_a_warning_of_the_api_server_is_in_the_condition(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        path = here.write("app", crt="no PEM", key="neither")
        here.define("app", {"tls.crt": f"{path}#crt", "tls.key": f"{path}#key"}, type="kubernetes.io/tls")
        here.program.started()
        here.wait_for_reason("app", "Synced")

        assert here.message("app") == (
            "Secret app is in sync, and Kubernetes warns: tls: failed to find any PEM data in certificate input"
        )


@pytest.mark.parametrize(
    ("mutation", "field"),
    [(ADDS_A_KEY, "data.more"), (SETS_MANAGED_BY, f"metadata.labels[{MANAGED_BY}]")],
    ids=["adds a key", "sets managed-by"],
)
def test_a_policy_that_changes_each_write_is_reported_and_costs_two_writes(
    mutation: str, field: str, control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    version = served_version(control_plane, "mutatingadmissionpolicies")
    with world(control_plane, openbao, tmp_path) as here, mutating_policy(here, mutation, version=version):
        wait_until(lambda: is_mutated(here))
        here.define("app", {"k": here.write("app", k="first") + "#k"})
        before = writes(control_plane)
        here.program.started()
        here.wait_for_reason("app", "SecretContended")
        assert f"an admission webhook or policy changes {field} in each write" in here.message("app")
        observed = here.version(here.path_of_definition("app"))

        time.sleep(15)
        assert writes(control_plane) - before == 2
        assert here.version(here.path_of_definition("app")) == observed

        here.write("app", k="second")
        wait_until(lambda: (here.values("app") or {}).get("k") == "second")
        assert writes(control_plane) - before == 3


def test_another_writer_is_named_and_costs_two_writes(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        here.define("app", {"k": here.write("app", k="first") + "#k"})
        here.program.started()
        here.wait_for_reason("app", "Synced")
        theirs: Object = {"data": {"k": "dGhlaXJz"}}

        for _ in range(2):
            control_plane.patch(f"{here.path_of_secret('app')}?fieldManager=reloader", theirs)
            here.wait_for("app", {"k": "first"})
        for _ in range(20):
            control_plane.patch(f"{here.path_of_secret('app')}?fieldManager=reloader", theirs)
            time.sleep(0.1)

        here.wait_for_reason("app", "SecretContended")
        assert "manager reloader changes data.k after each write" in here.message("app")
        assert here.values("app") == {"k": "theirs"}


@contextmanager
def mutating_policy(here: World, expression: str, *, version: str) -> Generator[None]:
    """A policy that changes each new and changed Secret of the namespace."""
    name = here.namespace
    policy: Object = {
        "matchConstraints": {"resourceRules": [rule()]},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
    }
    binding: Object = {
        "policyName": name,
        "matchResources": {"namespaceSelector": marked(here.cluster, here.namespace)},
    }
    with (
        registered(here.cluster, "MutatingAdmissionPolicy", version, name, {"spec": policy}),
        registered(here.cluster, "MutatingAdmissionPolicyBinding", version, name, {"spec": binding}),
    ):
        yield


def served_version(cluster: ControlPlane, plural: str) -> str:
    """The version at which the API server has a kind of admission; the test is skipped where it has none."""
    versions = items(cluster.get(f"/apis/{REGISTRATION}"), "versions")
    for version in (text(each, "version") for each in versions):
        resources = items(cluster.get(f"/apis/{REGISTRATION}/{version}"), "resources")
        if plural in (text(each, "name") for each in resources):
            return version
    pytest.skip(f"this API server has no {plural}")


def writes(cluster: ControlPlane) -> int:
    """How often Secrets were written since the API server started, by any client."""
    verbs = ("POST", "PUT", "PATCH")
    return sum(cluster.counted("apiserver_request_total", verb=verb, resource="secrets") for verb in verbs)


def tried(here: World) -> Object:
    """What would become of a new Secret."""
    secret: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tried", "labels": {"a": "b"}}}
    path = f"{here.path_of_secret()}?dryRun=All"
    return here.cluster.request("POST", path, body={**secret, "data": {"k": "eA=="}})


def has(here: World, name: str, value: str) -> bool:
    return here.values(name) == {"k": value}


def is_refused(here: World) -> bool:
    try:
        tried(here)
    except httpx.HTTPStatusError:
        return True
    return False


def is_mutated(here: World) -> bool:
    made = tried(here)
    return at(made, "data", "more") is not None or at(made, "metadata", "labels", MANAGED_BY) is not None
