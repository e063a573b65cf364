"""`secrets-manager doctor` with the rights, flags and variables of a pod of deploy/: nothing is wrong with those."""

import base64
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from fake_kubernetes.documents import Object, at, items, mapping, parse
from secrets_manager.controller import crd
from secrets_manager.doctor.finding import Finding, State
from tests.definitions import CRD
from tests.deploy.installation import HOME, SHOP, Installation
from tests.deploy.test_rights import TAKEN_WITHIN, without
from tests.real.kube_api import wait_until
from tests.real.pod import NO_NAMESPACES, entering, namespaces_work, secrets_in, variables

CRD_PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd.NAME}"
CANARY = "canary-hunter2"

pytestmark = pytest.mark.real


class _Report(msgspec.Struct):
    checks: list[Finding]


class Done(NamedTuple):
    code: int
    findings: list[Finding]

    def of(self, *states: State) -> dict[str, str]:
        return {each.check: each.message for each in self.findings if each.state in states}


def doctor(here: Installation, folder: Path, *flags: str) -> Done:
    """Run it as `kubectl exec` does, with the flags of the Deployment."""
    if not namespaces_work():
        pytest.skip(NO_NAMESPACES)
    pod = here.pod()
    files = secrets_in(folder / "doctor", here.cluster, token=pod.token, namespace=HOME, mounted=pod.mounted)
    command = entering(files, [sys.executable, "-m", "secrets_manager", "doctor", "-o=json", *pod.args, *flags])
    environment = {"PATH": os.environ["PATH"], **variables(here.cluster), **pod.environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    secrets = (CANARY, *here.credentials, pod.token)
    for secret in (*secrets, *(base64.b64encode(each.encode()).decode() for each in secrets)):
        assert secret not in done.stdout + done.stderr
    assert done.stderr == "" or "checking" in done.stderr
    return Done(done.returncode, msgspec.json.decode(done.stdout, type=_Report).checks)


def define(here: Installation, name: str) -> None:
    path = here.write(name, password=CANARY)
    definition: Object = {
        "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
        "kind": "SecretDefinition",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {"name": name, "keysMap": {"password": {"path": path, "key": "password"}}},
    }
    here.cluster.apply(definition)


@pytest.mark.parametrize("way", ["namespaced", "cluster_wide"])
def test_nothing_is_wrong_with_an_installation_as_the_documents_describe_it(
    way: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    here: Installation = request.getfixturevalue(way)
    define(here, here.bao.fresh("db"))
    with here.replica(tmp_path) as replica:
        replica.start()
        replica.wait_until(lambda: replica.leads, seconds=TAKEN_WITHIN)

        done = doctor(here, tmp_path)

        assert done.of(State.FAILURE, State.WARNING) == {}
        assert sorted(done.of(State.OK)) == [
            "configuration", "crd", "definitions", "files", "kubernetes", "kubernetes-clock", "leader", "lease-rights",
            "rights", "vault-clock", "vault-connection", "vault-listing", "vault-login", "vault-paths", "vault-server",
            "vault-token",
        ]  # fmt: skip
        assert list(done.of(State.SKIPPED)) == ["vault-secret-id"], "the policy of the documents does not allow it"
        assert "as system:serviceaccount:secrets-manager:secrets-manager" in done.of(State.OK)["kubernetes"]
        assert done.code == 0


@contextmanager
def crd_less(here: Installation, take: Callable[[Object], None]) -> Generator[None]:
    """The installed CRD without something."""
    less = parse(msgspec.json.encode(CRD))
    take(less)
    here.cluster.patch(CRD_PATH, {"spec": {"versions": at(less, "spec", "versions")}})
    try:
        yield
    finally:
        here.cluster.patch(CRD_PATH, {"spec": {"versions": at(CRD, "spec", "versions")}})


def spec_of(manifest: Object) -> Object:
    (version,) = items(manifest, "spec", "versions")
    return mapping(version, "schema", "openAPIV3Schema", "properties", "spec")


@pytest.mark.parametrize(
    ("taken", "state", "finding"),
    [
        pytest.param(
            lambda manifest: mapping(spec_of(manifest), "properties").pop("refreshInterval"),
            State.FAILURE, "it lacks spec.refreshInterval", id="a field",
        ),
        pytest.param(
            lambda manifest: spec_of(manifest).pop("x-kubernetes-validations"),
            State.WARNING, "it lacks rules of spec", id="rules",
        ),
    ],
)  # fmt: skip
def test_what_an_older_crd_lacks_is_named(
    namespaced: Installation, tmp_path: Path, taken: Callable[[Object], None], state: State, finding: str
) -> None:
    report = partial(doctor, namespaced, tmp_path, "--skip-login")
    with crd_less(namespaced, taken):
        # The API server publishes a changed schema a moment later.
        wait_until(lambda: finding in report().of(state).get("crd", ""), seconds=TAKEN_WITHIN)

    wait_until(lambda: "crd" in report().of(State.OK), seconds=TAKEN_WITHIN)


def test_a_right_that_is_taken_away_is_named(namespaced: Installation, tmp_path: Path) -> None:
    with without(namespaced, "secrets", "patch"), without(namespaced, "leases", "create"):
        done = doctor(namespaced, tmp_path)

    failures = done.of(State.FAILURE)
    assert failures["rights"] == f"namespace {SHOP}: this user may not patch secrets"
    assert failures["lease-rights"] == f"namespace {HOME}: this user may not create leases"
    assert done.code == 1
