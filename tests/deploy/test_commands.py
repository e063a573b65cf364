"""The commands of the documents that install the controller, run as they stand there against the real API server."""

import base64
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from fake_kubernetes.documents import Object, at, items, mapping, parse, text
from secrets_manager.controller.crd import definition as definition_of_crd
from tests.deploy.helm import program
from tests.deploy.installation import APPROLE, DEPLOY, HOME, OPERATOR_KINDS, SHOP, Installation
from tests.documents import blocks, commands
from tests.process.running import Namespace
from tests.process.the_original import FINALIZER, OLD
from tests.real.cluster import ControlPlane, KubectlError
from tests.real.openbao import BINARY, OpenBao
from tests.real.shell import run_shell

Run = Callable[[str], str]
DEPLOYMENT = f"/apis/apps/v1/namespaces/{HOME}/deployments/secrets-manager"
KINDS = "deployments,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings"
FINALIZERS = "custom-columns=:.metadata.finalizers[*]"
DEFINITION = f"/apis/secrets-manager.tuenti.io/v1alpha1/namespaces/{SHOP}/secretdefinitions/db"


def shell(cluster: ControlPlane, folder: Path, **variables: str) -> Run:
    """Runs commands beside deploy/, with Helm and a login to the cluster."""
    program(folder)
    of_all = {"PATH": str(folder), "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(folder)}
    (folder / "deploy").symlink_to(DEPLOY)
    return partial(run_shell, environment={**of_all, **variables}, folder=folder)


@pytest.fixture
def run(own_control_plane: ControlPlane, tmp_path: Path) -> Run:
    return shell(own_control_plane, tmp_path, VAULT_ROLE_ID="the-role", VAULT_SECRET_ID="the-secret")


def given_credentials(cluster: ControlPlane) -> dict[str, str]:
    data = mapping(cluster.get(f"/api/v1/namespaces/{HOME}/secrets/{APPROLE}"), "data")
    return {name: base64.b64decode(str(value)).decode() for name, value in data.items()}


def one_by_one(found: list[str]) -> list[str]:
    """The commands in blocks, each with all of its lines."""
    command = r"^[^\n]*<<'END'$.*?^END$|^(?:[^\n]*\\\n)*[^\n]+$"
    return [each for block in found for each in re.findall(command, block, re.DOTALL | re.MULTILINE)]


def test_five_commands_of_the_readme_lead_to_a_secret(
    own_control_plane: ControlPlane, openbao_alone: OpenBao, tmp_path: Path
) -> None:
    openbao_alone.request("DELETE", "sys/auth/approle")  # as in a new one
    (tmp_path / "vault").symlink_to(BINARY)
    vault = {"BAO_ADDR": openbao_alone.url, "VAULT_ADDR": openbao_alone.url, "BAO_TOKEN": openbao_alone.root_token}
    run = shell(own_control_plane, tmp_path, **vault)
    image, *others = one_by_one(blocks("README.md#install", "sh"))
    install, login, *last = one_by_one(commands("README.md#install"))
    assert others == [install, login, *last]
    assert len([image, *others]) == 5

    for command in (install, login, *last):
        run(command)

    (container,) = items(own_control_plane.get(DEPLOYMENT), "spec", "template", "spec", "containers")
    assert text(container, "image").rpartition(":")[0] == image.split()[-1]
    here = Installation(own_control_plane, openbao_alone, tmp_path, way="cluster-wide")
    database = Namespace(own_control_plane, "default")
    with here.replica(tmp_path / "replica") as replica:
        replica.start()
        database.wait_for("database", {"username": "shop", "password": "hunter2"})
        database.wait_for_reason("database", "Synced")
        assert replica.terminate() == 0

    policy = text(openbao_alone.request("GET", "sys/policies/acl/secrets-manager"), "data", "policy")
    assert 'path "secret/detailed-metadata/shop/*" { capabilities = ["list"] }' in policy
    before = given_credentials(own_control_plane)
    run(login)
    assert given_credentials(own_control_plane)["role_id"] == before["role_id"]
    assert given_credentials(own_control_plane)["secret_id"] != before["secret_id"]


def test_the_documents_install_the_chart_and_leave_definitions_when_they_uninstall_it(
    own_control_plane: ControlPlane, run: Run, tmp_path: Path
) -> None:
    own_control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}})
    own_control_plane.install(*OPERATOR_KINDS)
    (values,) = blocks("docs/install.md#helm", "yaml")
    (tmp_path / "values.yaml").write_text(values)
    install, uninstall = commands("docs/install.md#helm")

    run(install)
    own_control_plane.kubectl("apply", "-f", "-", stdin=_A_DEFINITION)

    (container,) = items(own_control_plane.get(DEPLOYMENT), "spec", "template", "spec", "containers")
    assert "--watch-namespaces=shop" in items(container, "args")
    assert own_control_plane.find(f"/apis/monitoring.coreos.com/v1/namespaces/{HOME}/podmonitors/secrets-manager")
    namespace = own_control_plane.get(f"/api/v1/namespaces/{HOME}")
    assert at(namespace, "metadata", "labels", "pod-security.kubernetes.io/enforce") == "restricted"

    run(uninstall)

    assert own_control_plane.find(DEPLOYMENT) is None
    assert own_control_plane.find(DEFINITION)


def test_the_documents_install_both_ways_and_leave_definitions_when_they_uninstall(
    own_control_plane: ControlPlane, run: Run
) -> None:
    for name in (SHOP, "argocd"):
        own_control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    own_control_plane.kubectl("--namespace", "argocd", "create", "configmap", "argocd-cm")

    for command in (
        *commands("docs/install.md#the-crd"),
        *commands("docs/install.md#the-controller"),
        *commands("docs/install.md#credentials"),
        *commands("docs/install.md#argo-cd"),
    ):
        run(command)
    own_control_plane.kubectl("apply", "-f", "-", stdin=_A_DEFINITION)

    container = at(own_control_plane.get(DEPLOYMENT), "spec", "template", "spec", "containers")
    assert "--watch-namespaces=shop" in str(container)
    assert given_credentials(own_control_plane) == {"role_id": "the-role", "secret_id": "the-secret"}
    scripts = mapping(own_control_plane.get("/api/v1/namespaces/argocd/configmaps/argocd-cm"), "data")
    assert "resource.customizations.health.secrets-manager.tuenti.io_SecretDefinition" in scripts

    (uninstall,) = commands("docs/install.md#uninstall")
    run(uninstall)

    assert own_control_plane.find(DEPLOYMENT) is None
    assert own_control_plane.find(DEFINITION)


def test_the_documents_lead_from_the_original_and_back(own_control_plane: ControlPlane, run: Run) -> None:
    original = (Path(__file__).parent / "original.yaml").read_text()
    own_control_plane.install(OLD)
    own_control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
    own_control_plane.kubectl("apply", "-f", "-", stdin=original)
    before = rights_and_program(own_control_plane)
    crd, save, stop, forget = commands("docs/migration.md#move")
    install = commands("docs/install.md#the-controller")[0]
    (back,) = commands("docs/migration.md#go-back")

    for command in (crd, save, stop, install):
        run(command)

    assert at(own_control_plane.get(DEPLOYMENT), "spec", "selector", "matchLabels") == {
        "app.kubernetes.io/name": "secrets-manager"
    }
    assert may(own_control_plane, "patch", "secretdefinitions/status")
    assert may(own_control_plane, "update", "secrets")  # the rights of the original are its own still

    run(back)

    assert rights_and_program(own_control_plane) == before
    assert may(own_control_plane, "update", "secrets")
    namespace = own_control_plane.get(f"/api/v1/namespaces/{HOME}")
    assert not [name for name in mapping(namespace, "metadata", "labels") if "pod-security" in name]

    for command in (crd, save, stop, install, forget):
        run(command)

    assert may(own_control_plane, "patch", "secretdefinitions/status")
    assert not may(own_control_plane, "update", "secrets")
    assert "app: secrets-manager" not in own_control_plane.kubectl("get", KINDS, "-A", "-o", "yaml")


def rights_and_program(cluster: ControlPlane) -> list[Object]:
    """What the original's manifests have made, without what the API server adds."""
    made = parse(cluster.kubectl("--namespace", HOME, "get", KINDS, "-l", "app=secrets-manager", "-o", "json").encode())
    kept = ("kind", "rules", "subjects", "roleRef", "spec", "automountServiceAccountToken")
    return [
        {name: value for name, value in mapping(each).items() if name in kept}
        | {"name": text(each, "metadata", "name")}
        for each in items(made, "items")
    ]


def may(cluster: ControlPlane, verb: str, resource: str) -> bool:
    user = f"system:serviceaccount:{HOME}:secrets-manager"
    try:
        return cluster.kubectl("auth", "can-i", verb, resource, "--namespace", SHOP, "--as", user) == "yes\n"
    except KubectlError:
        return False  # kubectl says no by its exit code too


def test_the_documents_free_definitions_that_nothing_watches(own_control_plane: ControlPlane, run: Run) -> None:
    own_control_plane.install(parse(msgspec.json.encode(definition_of_crd())))
    own_control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "legacy"}})
    for name, finalizers in {
        "one": [FINALIZER],
        "free": [],
        "two": [FINALIZER],
        "held": [FINALIZER, "a.example/b"],
    }.items():
        own_control_plane.create(
            {
                "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
                "kind": "SecretDefinition",
                "metadata": {"name": name, "namespace": "legacy", "finalizers": [*finalizers]},
                "spec": {"name": name, "keysMap": {"k": {"path": "secret/data/db", "key": "k"}}},
            }
        )
    shown, free = commands("docs/migration.md#definitions-that-are-not-watched")

    assert run(shown).count(FINALIZER) == 3
    run(free)

    assert own_control_plane.kubectl("--namespace", "legacy", "get", "sdef", "-o", FINALIZERS).split() == [
        "<none>",
        f"{FINALIZER},a.example/b",
        "<none>",
        "<none>",
    ]
    own_control_plane.kubectl("--namespace", "legacy", "delete", "sdef", "one", "two")


_A_DEFINITION = f"""
apiVersion: secrets-manager.tuenti.io/v1alpha1
kind: SecretDefinition
metadata: {{name: db, namespace: {SHOP}}}
spec:
  name: db
  keysMap: {{password: {{path: secret/data/db, key: password}}}}
"""
