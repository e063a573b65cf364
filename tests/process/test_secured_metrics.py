"""Metrics and status page of the real program by TLS, with tokens of real ServiceAccounts on the real API server."""

import shutil
import ssl
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from fake_kubernetes.documents import Json, Object, items, text
from tests.deploy.installation import DEPLOY
from tests.kube.certificates import Authority
from tests.process.running import World, world
from tests.real.cluster import ControlPlane, bearer
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao
from tests.real.program import free_port

UNKNOWN_BURST = 20
UNKNOWN_RATE = 5.0

pytestmark = pytest.mark.real

TOKEN_REVIEWS = ("POST", "tokenreviews")


def rules(file: str, role: str) -> list[Json]:
    """The rules of a ClusterRole in deploy/."""
    documents: list[Object] = list(yaml.safe_load_all((DEPLOY / file).read_text()))
    (found,) = (each for each in documents if (each["kind"], text(each, "metadata", "name")) == ("ClusterRole", role))
    return items(found, "rules")


class Secured:
    """The program with TLS, tokens and the rights that the component gives, and what clients get of it."""

    def __init__(self, here: World, folder: Path, *, probes: int) -> None:
        self.here = here
        self.probes = f"http://127.0.0.1:{probes}"
        self.url = f"https://127.0.0.1:{here.program.port}"
        self.trust = ssl.create_default_context(cafile=folder / "authority.crt")

    def get(self, path: str, token: str = "", *, method: str = "GET") -> httpx.Response:
        """On a connection of its own."""
        headers = bearer(token) if token else {}
        return httpx.request(
            method, f"{self.url}{path}", headers=headers, verify=self.trust, trust_env=False, timeout=20
        )

    def status(self, path: str, token: str = "", *, method: str = "GET") -> int:
        return self.get(path, token, method=method).status_code

    def probe(self, path: str) -> str:
        try:
            return httpx.get(f"{self.probes}{path}", trust_env=False, timeout=5).text
        except httpx.HTTPError:
            return ""

    def reader(self, name: str, role: str) -> str:
        """The token of a new ServiceAccount with one of the component's ClusterRoles."""
        wanted = rules("secured-metrics/rights.yaml", role)
        return self.here.cluster.service_account_token(self.here.namespace, name, rules=wanted, cluster=True)


@contextmanager
def secured(cluster: ControlPlane, bao: OpenBao, folder: Path) -> Generator[Secured]:
    Authority(folder).issue("server", alternative="IP:127.0.0.1")
    probes = free_port()
    given = rules("cluster-wide/clusterrole.yaml", "secrets-manager-controller")
    given += rules("secured-metrics/rights.yaml", "secrets-manager-reviewer")
    token = cluster.service_account_token(cluster.namespace("program"), "secrets-manager", rules=given, cluster=True)
    flags = (
        f"-metrics-tls-cert-file={folder / 'server.crt'}",
        f"-metrics-tls-key-file={folder / 'server.key'}",
        "-metrics-auth",
        f"-health-probe-addr=127.0.0.1:{probes}",
    )
    login = cluster.kubeconfig_for(token, name="secured")
    with world(cluster, bao, folder, *flags, kubeconfig=login) as here:
        made = Secured(here, folder, probes=probes)
        here.program.start()
        here.program.wait_until(lambda: made.probe("/readyz").startswith("ok"), seconds=20)
        yield made
        assert token not in here.program.output.read_text()


@pytest.fixture
def program(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> Iterator[Secured]:
    with secured(control_plane, openbao, tmp_path) as made:
        yield made


def test_authorization_of_each_path(program: Secured) -> None:
    prometheus = program.reader("prometheus", "secrets-manager-metrics-reader")
    person = program.reader("person", "secrets-manager-status-reader")
    without_rights = program.here.cluster.service_account_token(program.here.namespace, "without-rights", rules=[])
    expired = f"{prometheus[:-8]}{prometheus[:8]}"

    assert {path: program.status(path, prometheus) for path in ("/metrics", "/", "/status.json")} == {
        "/metrics": 200, "/": 403, "/status.json": 403,
    }  # fmt: skip
    assert {path: program.status(path, person) for path in ("/metrics", "/", "/status.json")} == {
        "/metrics": 403, "/": 200, "/status.json": 200,
    }  # fmt: skip
    assert program.status("/metrics", without_rights) == 403
    assert [program.status("/metrics", token) for token in ("", "bad", expired)] == [401, 401, 401]
    assert program.status("/metrics", prometheus, method="HEAD") == 200
    assert program.status("/metrics", prometheus, method="POST") == 405
    assert [program.status(path, prometheus) for path in ("//metrics", "/metrics/", "/%6detrics")] == [404, 404, 404]

    log = program.here.program.output.read_text()
    assert not any(token in log for token in (prometheus, person, without_rights, expired))


def test_the_probes_have_an_address_of_their_own(program: Secured) -> None:
    assert program.probe("/healthz") == "ok\n"
    assert "try /healthz or /readyz" in program.probe("/metrics")
    assert program.status("/healthz") == 404
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{program.here.program.port}/metrics", trust_env=False)


def test_the_page_shows_definitions_and_no_values(program: Secured) -> None:
    here = program.here
    path = here.write("db", password="canary-of-the-page")
    here.define("db", {"password": f"{path}#password"})
    here.define("broken", {"password": f"{path}-elsewhere#password"})
    here.wait_for("db", {"password": "canary-of-the-page"})
    here.wait_for_reason("broken", "SourceNotFound")
    person = program.reader("person", "secrets-manager-status-reader")

    shown = program.get("/status.json", person).json()
    page = program.get("/", person)

    assert [(row["name"], row["state"]) for row in shown["definitions"]] == [("broken", "Failing"), ("db", "InSync")]
    assert shown["backend"]["up"] is True
    assert shown["backend"]["token"]["valid"] is True
    assert page.text.index(">broken<") < page.text.index(">db<")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    secrets = ("canary-of-the-page", here.credentials.secret_id, here.credentials.role_id, person)
    assert not any(secret in f"{shown}{page.text}" for secret in secrets)


def test_bad_tokens_cost_the_api_server_little(program: Secured) -> None:
    before = program.here.cluster.request_counts().get(TOKEN_REVIEWS, 0)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        same = set(pool.map(lambda _: program.status("/metrics", "bad"), range(100)))
        others = set(pool.map(lambda number: program.status("/metrics", f"bad-{number}"), range(100)))
    took = time.monotonic() - began

    assert same == {401}
    assert others <= {401, 429}
    reviews = program.here.cluster.request_counts()[TOKEN_REVIEWS] - before
    assert reviews <= UNKNOWN_BURST + UNKNOWN_RATE * (took + 1)


def test_a_certificate_is_exchanged_under_load_without_a_failed_request(program: Secured, tmp_path: Path) -> None:
    prometheus = program.reader("prometheus", "secrets-manager-metrics-reader")
    other = tmp_path / "other"
    other.mkdir()
    authority = Authority(other)
    for file in authority.issue("server", alternative="IP:127.0.0.1"):
        shutil.copy(file, tmp_path / f"new-{file.name}")
    program.trust.load_verify_locations(authority.certificate)
    only_new = ssl.create_default_context(cafile=authority.certificate)

    def is_exchanged() -> bool:
        try:
            return httpx.get(program.url, verify=only_new, trust_env=False).status_code == 401
        except httpx.ConnectError:
            return False

    answers: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        done = False

        def ask(_: int) -> None:
            while not done:
                answers.append(program.status("/metrics", prometheus))

        asking = [pool.submit(ask, number) for number in range(4)]
        try:
            assert not is_exchanged()
            for name in ("server.crt", "server.key"):
                (tmp_path / f"new-{name}").rename(tmp_path / name)
            wait_until(is_exchanged)
        finally:
            done = True
        for each in asking:
            each.result()

    assert set(answers) == {200}
    assert len(answers) > 50


def test_the_page_can_be_turned_off(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> None:
    with world(control_plane, openbao, tmp_path, "-status-page=false") as here:
        here.program.started()

        assert here.program.answer("/") == here.program.answer("/status.json")
        assert here.program.answer("/") == "try /metrics, /healthz or /readyz\n"
        assert "secrets_manager_build_info" in here.program.answer("/metrics")


def test_while_the_api_server_is_down_known_tokens_pass_and_unknown_ones_do_not(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with secured(own_control_plane, openbao, tmp_path) as program:
        prometheus = program.reader("prometheus", "secrets-manager-metrics-reader")
        unknown = program.reader("other", "secrets-manager-metrics-reader")
        assert program.status("/metrics", prometheus) == 200
        own_control_plane.apiserver.kill()

        assert program.status("/metrics", prometheus) == 200
        response = program.get("/metrics", unknown)
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        wait_until(lambda: "tokens can't be checked" in program.here.program.output.read_text())
        assert program.probe("/healthz") == "ok\n"

        own_control_plane.start_apiserver()
        wait_until(lambda: program.status("/metrics", unknown) == 200)
