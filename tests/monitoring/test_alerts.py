"""Alerts on a real Prometheus that scrapes the real program in that very trouble, and the dashboard's queries there.

The rules are those of deploy/monitoring, with seconds for minutes, so that no test waits for long.
"""

import math
import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fake_kubernetes.documents import Json
from secrets_manager.config import ControllerConfig
from secrets_manager.supervisor import lease_name
from tests.documents import ROOT
from tests.monitoring.rules import rules
from tests.monitoring.test_dashboard import queries
from tests.process.running import PERIOD, SecretsManager, World, world
from tests.real.cluster import ControlPlane
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao
from tests.real.prometheus import JOB, Prometheus, running_prometheus

SECONDS = {
    "1m": "2s", "3m": "3s", "5m": "3s", "10m": "10s", "15m": "15s", "30m": "4s", "1h": "5s", "6h": "6s", "3d": "7s"
}  # fmt: skip
"""What stands for each duration of the rules."""
FRESH = "5.0"
"""Seconds, in place of a minute: a bucket of the histogram, ten times the period of the tests."""
LONG = 60.0
LEASE = lease_name(ControllerConfig().name)
STALE = "secrets_manager:definitions_stale:ratio"


def quick(value: Json) -> Json:
    """The rules with short durations."""
    match value:
        case dict():
            return {key: SECONDS[str(each)] if key == "for" else quick(each) for key, each in value.items()}
        case list():
            return [quick(each) for each in value]
        case str():
            shorter = re.sub(r"\[(\w+)\]", lambda found: f"[{SECONDS[found[1]]}]", value)
            return shorter.replace('le="60.0"', f'le="{FRESH}"')
        case _:
            return value


@contextmanager
def watched(program: SecretsManager, folder: Path) -> Generator[Prometheus]:
    """The program at work, and a Prometheus that scrapes it."""
    program.started()
    with running_prometheus(folder / "prometheus", scraped_port=program.port, rules=quick(rules())) as found:
        wait_until(lambda: [value for _, value in found.query("up")] == [1.0])
        yield found
        assert found.failed_rules() == []


def another(here: World, folder: Path, *flags: str, **environment: str) -> SecretsManager:
    """A program in this world with flags and a login of its own."""
    usual = (f"-watch-namespaces={here.namespace}", f"-reconcile-period={PERIOD}")
    return SecretsManager(folder, flags=(*usual, *flags), environment={**here.environment, **environment})


def fires(prometheus: Prometheus, *names: str) -> None:
    """Wait until these fire."""
    wait_until(lambda: prometheus.firing() >= {*names}, seconds=LONG)


def is_silent(prometheus: Prometheus) -> None:
    wait_until(lambda: prometheus.firing() == set(), seconds=LONG)


def documented() -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))


def test_at_rest_nothing_fires_and_all_that_is_served_is_documented(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        for name in ("one", "two", "three"):
            here.define(name, {"k": here.write(name, value="first") + "#value"})
        with watched(here.program, tmp_path) as prometheus:
            wait_until(lambda: prometheus.query(f"count_over_time({STALE}[60s]) > 15") != [], seconds=LONG)

            assert prometheus.query(f"max_over_time({STALE}[10s]) == 0") != []
            assert prometheus.query("ALERTS") == []
            families = set(re.findall(r"^# TYPE (\w+) ", here.program.answer("/metrics"), re.MULTILINE))
            assert {re.sub("_(gcount|gsum)$", "", family) for family in families} <= documented()


def test_a_broken_definition_and_then_an_outage_of_the_store(
    control_plane: ControlPlane, openbao_alone: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao_alone, tmp_path, "-vault.token-polling-period=1s") as here:
        for name in ("one", "two", "three", "four"):
            here.define(name, {"k": here.write(name, value="first") + "#value"})
        here.define("broken", {"k": f"{here.home}/missing#value"})
        with watched(here.program, tmp_path) as prometheus:
            fires(prometheus, "SecretsManagerDefinitionNotReady")
            (alert,) = prometheus.query('ALERTS{alertname="SecretsManagerDefinitionNotReady", alertstate="firing"}')
            assert {key: alert[0][key] for key in ("namespace", "name", "reason", "job")} == {
                "namespace": here.namespace,
                "name": "broken",
                "reason": "SourceNotFound",
                "job": JOB,
            }
            assert prometheus.firing() == {"SecretsManagerDefinitionNotReady"}

            openbao_alone.program.pause()
            fires(prometheus, "SecretsManagerBackendDown", "SecretsManagerDefinitionsStale")
            wait_until(lambda: "SecretsManagerDefinitionNotReady" not in prometheus.firing(), seconds=LONG)
            windows = {labels["window"] for labels, _ in prometheus.query('ALERTS{window!="", alertstate="firing"}')}
            assert "1h" in windows

            openbao_alone.program.resume()
            here.write("missing", value="first")
            here.write("one", value="second")
            is_silent(prometheus)
            here.define("broken-too", {"k": f"{here.home}/never#value"})
            wait_until(lambda: here.reason("broken-too") == "SourceNotFound")
            wait_until(lambda: without_data(prometheus) == [], seconds=LONG)


def without_data(prometheus: Prometheus) -> list[tuple[str, str]]:
    """The dashboard's queries that return nothing, or no number."""
    return [
        (panel, expression)
        for panel, expression in queries()
        if all(math.isnan(value) for _, value in prometheus.query(in_the_test(expression)) or [({}, math.nan)])
    ]


def in_the_test(expression: str) -> str:
    """A query as Grafana sends it: over the time of the whole test."""
    return expression.replace("$__rate_interval", "5m").replace("$job", JOB)


def test_a_token_that_is_about_to_end(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> None:
    flags = ("-vault.token-polling-period=500ms", "-vault.max-token-ttl=40")
    with world(control_plane, openbao, tmp_path) as here:
        here.define("app", {"k": here.write("app", value="first") + "#value"})
        role = openbao.fresh("leaving")
        openbao.policy(role, f"{here.home}/*")
        login = openbao.approle(role, policies=(role,), token_ttl=30, token_max_ttl=30)
        credentials = {"VAULT_ROLE_ID": login.role_id, "VAULT_SECRET_ID": login.secret_id}
        with (
            another(here, tmp_path, *flags, **credentials) as program,
            watched(program, tmp_path) as prometheus,
        ):
            here.wait_for("app", {"k": "first"})
            openbao.request("DELETE", f"auth/approle/role/{role}")

            fires(prometheus, "SecretsManagerTokenExpiring")

            (alert,) = prometheus.query("secrets_manager_vault_token_ttl")
            assert alert[1] < 20
            fires(prometheus, "SecretsManagerLoginFailing")


def test_no_replica_leads_and_then_there_is_none(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        here.cluster.apply(held_lease(here.namespace))
        flags = ("-enable-leader-election", f"-leader-election-namespace={here.namespace}")
        with another(here, tmp_path, *flags) as program, watched(program, tmp_path) as prometheus:
            fires(prometheus, "SecretsManagerNoLeader")

            here.cluster.delete(f"/apis/coordination.k8s.io/v1/namespaces/{here.namespace}/leases/{LEASE}")
            is_silent(prometheus)

            program.kill()
            fires(prometheus, "SecretsManagerNoLeader")


def held_lease(namespace: str) -> dict[str, Json]:
    """A Lease that another client holds for an hour, and does not renew."""
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": LEASE, "namespace": namespace},
        "spec": {"holderIdentity": "another", "leaseDurationSeconds": 3600, "acquireTime": now, "renewTime": now},
    }
