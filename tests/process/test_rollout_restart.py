"""Workloads of a real cluster are restarted, with the rights of the manifests."""

from pathlib import Path

import yaml

from fake_kubernetes.documents import Json, Object, items, number, text
from tests.definitions import condition_of
from tests.deploy.installation import DEPLOY
from tests.process.running import World, world
from tests.real.cluster import ControlPlane
from tests.real.kube_api import path_of, wait_until
from tests.real.openbao import OpenBao
from tests.workloads import workload

NAMES = tuple(f"app-{each}" for each in range(10))
TARGETS: list[Json] = [{"kind": "Deployment", "name": "web"}]
DELAY = "-rollout-restart-delay=3s"


def deploy(here: World) -> None:
    here.cluster.create(workload(namespace=here.namespace))


def deployment(here: World) -> Object:
    return here.cluster.get(path_of(workload(namespace=here.namespace), named=True))


def define(here: World, *names: str) -> None:
    for name in names:
        here.define(name, {"pw": here.write(name, pw="first") + "#pw"}, rolloutRestartTargets=TARGETS)
    for name in names:
        here.wait_for(name, {"pw": "first"})


def condition(here: World, name: str) -> tuple[str, str]:
    found = condition_of(here.definition(name), "RolloutRestart")
    return text(found, "status"), text(found, "reason")


def test_ten_secrets_that_change_together_cause_one_restart(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path, DELAY) as here:
        deploy(here)
        here.program.started()
        define(here, *NAMES)
        for name in NAMES:
            here.write(name, pw="second")
        wait_until(lambda: all(text(here.definition(name), "status", "restartedFor") for name in NAMES))

        assert number(deployment(here), "metadata", "generation") == 2
        assert {condition(here, name) for name in NAMES} == {("True", "UpToDate")}


def rules() -> list[Json]:
    """What deploy/namespaced gives."""
    role: Object = next(iter(yaml.safe_load_all((DEPLOY / "namespaced" / "namespace-shop.yaml").read_text())))
    return items(role, "rules")


def rule_of_the_component() -> Json:
    (operation,) = yaml.safe_load((DEPLOY / "rollout-restart" / "rule.yaml").read_text())
    value: Json = operation["value"]
    return value


def test_without_the_component_a_restart_is_refused_and_with_it_done(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path, kubeconfig=tmp_path / "kubeconfig") as here:
        token = control_plane.service_account_token(here.namespace, "us", rules=rules())
        (tmp_path / "kubeconfig").write_bytes(control_plane.kubeconfig_for(token, name="us").read_bytes())
        deploy(here)
        here.program.started()
        define(here, "app")
        here.write("app", pw="second")
        wait_until(lambda: condition(here, "app") == ("False", "TargetForbidden"))
        assert (here.values("app"), here.reason("app")) == ({"pw": "second"}, "Synced")
        assert ("RolloutRestartFailed", "app") in here.events()

        role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{here.namespace}/roles/us"
        control_plane.patch(role, {"rules": [*rules(), rule_of_the_component()]})
        here.write("app", pw="third")
        wait_until(lambda: condition(here, "app") == ("True", "UpToDate"))
        assert number(deployment(here), "metadata", "generation") == 2


def test_a_target_that_is_not_there_is_reported_and_the_others_are_restarted(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path, DELAY) as here:
        deploy(here)
        here.program.started()
        gone: Json = {"kind": "StatefulSet", "name": "gone"}
        here.define("app", {"pw": here.write("app", pw="first") + "#pw"}, rolloutRestartTargets=[*TARGETS, gone])
        here.wait_for("app", {"pw": "first"})
        here.write("app", pw="second")
        wait_until(lambda: condition(here, "app") == ("False", "TargetNotFound"))
        assert (here.values("app"), here.reason("app")) == ({"pw": "second"}, "Synced")
        assert number(deployment(here), "metadata", "generation") == 2

        here.cluster.patch(here.path_of_definition("app"), {"spec": {"rolloutRestartTargets": TARGETS}})
        wait_until(lambda: condition(here, "app") == ("True", "UpToDate"))
        here.cluster.patch(here.path_of_definition("app"), {"spec": {"rolloutRestartTargets": None}})
        wait_until(lambda: condition(here, "app") == ("", ""))
        here.write("app", pw="third")
        here.wait_for("app", {"pw": "third"})
        assert number(deployment(here), "metadata", "generation") == 2
