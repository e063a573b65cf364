"""What tools that wait for a definition make of its states: Flux, Helm and kpt by kstatus, Argo CD by our script."""

from functools import partial
from pathlib import Path

import msgspec
import pytest
import yaml
from lupa.lua51 import LuaRuntime

from fake_kubernetes.documents import Object, at, items, mapping, parse, text, with_metadata
from secrets_manager.backends import Source
from secrets_manager.controller.definition import Reason, Status
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.status import InSync, Outcome, next_state, next_status
from tests.definitions import CRD
from tests.deploy.installation import DEPLOY
from tests.deploy.kstatus import status as kstatus
from tests.gen import NOW, secret_definition
from tests.process.running import World, world
from tests.real.cluster import ControlPlane, KubectlError
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao

ARGO_CD = DEPLOY / "argo-cd" / "argocd-cm.yaml"
SCRIPT = "resource.customizations.health.secrets-manager.tuenti.io_SecretDefinition"
IN_SYNC = InSync("db", {Source("secret/data/db"): 3}, wrote=True)


def new() -> Object:
    """A definition as the API server makes it, before the controller has seen it."""
    (version,) = items(CRD, "spec", "versions")
    default = at(version, "schema", "openAPIV3Schema", "properties", "status", "default")
    return {"metadata": {"generation": 1}, "status": default}


def after(*outcomes: Outcome, generation: int = 1) -> Object:
    """A definition that was reconciled, one outcome after another, at its first generation."""
    status = Status()
    for outcome in outcomes:
        definition = secret_definition(status=status)
        status = next_status(definition, next_state(definition, outcome, before=None, now=NOW))
    return {"metadata": {"generation": generation}, "status": parse(msgspec.json.encode(status))}


def problem(reason: Reason) -> Problem:
    return Problem(reason, f"because of {reason}")


def health(document: Object) -> tuple[str, str]:
    """What Argo CD shows by the script in deploy/: health and message. Its Lua is 5.1 too."""
    config = yaml.safe_load(ARGO_CD.read_text())
    lua = LuaRuntime(register_eval=False, register_builtins=False)
    lua.globals()["obj"] = lua.table_from(document, recursive=True)
    shown = lua.execute(text(config, "data", SCRIPT))
    return str(shown["status"]), str(shown["message"])


STALLED = (
    Reason.DEFINITION_INVALID,
    Reason.DEFINITION_TERMINATING,
    Reason.PATH_NOT_ALLOWED,
    Reason.SECRET_NOT_OWNED,
)
WAITING = "Waiting for secrets-manager"

STATES = [
    # state, kstatus, Argo CD, its message
    pytest.param(new(), "InProgress", "Progressing", WAITING, id="new"),
    pytest.param({"metadata": {"generation": 1}}, "Current", "Progressing", WAITING, id="no status, as before the CRD"),
    pytest.param(after(IN_SYNC), "Current", "Healthy", "Secret db is in sync", id="in sync"),
    pytest.param(after(IN_SYNC, generation=2), "InProgress", "Progressing", WAITING, id="edited since"),
    *(
        pytest.param(after(problem(reason)), "InProgress", "Progressing", f"because of {reason}", id=reason)
        for reason in Reason
        if reason not in (*STALLED, Reason.SYNCED)
    ),
    *(
        pytest.param(after(IN_SYNC, problem(reason)), "Failed", "Degraded", f"because of {reason}", id=reason)
        for reason in STALLED
    ),
    pytest.param(
        after(problem(Reason.DEFINITION_INVALID), generation=2), "InProgress", "Progressing", WAITING, id="mended"
    ),
    pytest.param(
        after(problem(Reason.SECRET_NOT_OWNED), IN_SYNC), "Current", "Healthy", "Secret db is in sync", id="recovered"
    ),
]


@pytest.mark.parametrize(("document", "by_kstatus", "by_argo_cd", "message"), STATES)
def test_tools_wait_for_the_truth(document: Object, by_kstatus: str, by_argo_cd: str, message: str) -> None:
    assert (kstatus(document), *health(document)) == (by_kstatus, by_argo_cd, message)


def test_definition_that_is_being_deleted_is_terminating() -> None:
    assert kstatus(with_metadata(after(IN_SYNC), deletionTimestamp=NOW)) == "Terminating"


AS_SHOWN = {
    # state: kstatus, conditions for which `kubectl wait` ends, reasons that `kubectl events` shows
    "new": ("InProgress", [], set()),
    "in-sync": ("Current", ["Ready"], {"Synced"}),
    "edited": ("InProgress", [], {"Synced"}),
    "missing": ("InProgress", ["Reconciling"], {"SyncFailed"}),
    "mended": ("Current", ["Ready"], {"SyncFailed", "Synced"}),
    "taken": ("Failed", ["Stalled"], {"SyncFailed"}),
}


def has(here: World, name: str, condition: str) -> bool:
    try:
        here.kubectl("wait", f"sdef/{name}", f"--for=condition={condition}", "--timeout=0")
    except KubectlError:
        return False
    return True


def has_events(here: World, name: str, expected: set[str]) -> bool:
    return reasons(here, name) == expected


def reasons(here: World, name: str) -> set[str]:
    return set(here.kubectl("events", f"--for=secretdefinition/{name}", "--output=jsonpath={.items[*].reason}").split())


def test_kubectl_and_kstatus_agree_on_the_conditions(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        there = here.write("there", k="value") + "#k"
        taken: Object = {"name": "taken", "namespace": here.namespace}
        control_plane.create({"apiVersion": "v1", "kind": "Secret", "metadata": taken})
        for name in ("in-sync", "edited", "taken"):
            here.define(name, {"k": there})
        for name in ("missing", "mended"):
            here.define(name, {"k": f"{here.home}/{name}#k"})
        here.program.started()
        for name in ("missing", "mended"):
            here.wait_for_reason(name, "SourceNotFound")
        here.write("mended", k="value")
        for name, (_, _, events) in AS_SHOWN.items():
            wait_until(partial(has_events, here, name, events))
        here.program.kill()
        here.define("new", {"k": there})
        here.define("edited", {"k": there}, type="example.com/edited")

        shown = {
            name: (
                kstatus(here.definition(name)),
                [condition for condition in ("Ready", "Reconciling", "Stalled") if has(here, name, condition)],
                reasons(here, name),
            )
            for name in AS_SHOWN
        }
        assert shown == AS_SHOWN


def test_script_is_added_to_the_configuration_of_argo_cd(control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace("argocd")
    kubectl = partial(control_plane.kubectl, "--namespace", namespace)
    kubectl("create", "configmap", "argocd-cm", "--from-literal=url=https://argo-cd.example.com")

    kubectl("patch", "configmap", "argocd-cm", f"--patch-file={ARGO_CD}")

    data = mapping(control_plane.get(f"/api/v1/namespaces/{namespace}/configmaps/argocd-cm"), "data")
    assert data == {
        "url": "https://argo-cd.example.com",
        SCRIPT: text(yaml.safe_load(ARGO_CD.read_text()), "data", SCRIPT),
    }
