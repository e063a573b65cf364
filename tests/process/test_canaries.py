"""No value and no credential is in anything that the program says, on the real parts, whatever quotes them.

Values are in Vault in several forms, and definitions fail in each way that a value can make them. A webhook quotes the
Secret that it refuses, and both servers are reached by a proxy that quotes in its errors all that it was sent. What the
program says is the status page as HTML and as JSON, metrics, the log, Events, conditions, `explain`, `plan`, `doctor`.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import httpx
import msgspec
import pytest
import yaml

from fake_kubernetes.documents import Object, mapping, text
from tests.canaries import encodings
from tests.process.running import API_VERSION, World, world
from tests.real.cluster import ControlPlane, kubeconfig
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao
from tests.real.quoting_proxy import QuotingProxy, quoting_proxy
from tests.real.webhook import refusing_webhook

PLAIN = 'canary "pläin" <91c2>&+/='
VALUES: dict[str, str] = {
    "plain": PLAIN,
    "base64": base64.b64encode(b"canary-base64-5d1a").decode(),
    "url": quote("canary/url?7b42", safe=""),
    "json": '{"inner": "canary-json-3f77"}',
    "escaped": json.dumps("canary-\\escaped-é-8e10\n"),
}
INNER = ("canary-base64-5d1a", "canary/url?7b42", "canary-json-3f77", "canary-\\escaped-é-8e10")
THEIRS = "canary-of-others-40aa"
QUOTED = "quoted"
"""In the name of what the proxies answer themselves."""


def quoted_by_vault(words: str) -> bytes:
    return msgspec.json.encode({"errors": [f"odd: {words}"]})


def quoted_by_kubernetes(words: str) -> bytes:
    return msgspec.json.encode({"kind": "Status", "reason": "InternalError", "message": f"odd: {words}", "code": 500})


def is_quoted(path: str) -> bool:
    return QUOTED in path


class Scene(NamedTuple):
    """The world, and the proxies that its program takes for the servers."""

    here: World
    vault: QuotingProxy
    kube: QuotingProxy

    @property
    def canaries(self) -> set[str]:
        """All that must not be shown, in each form."""
        credentials = {self.here.credentials.secret_id, self.here.credentials.role_id, self.here.cluster.admin_token}
        secrets = {
            *VALUES.values(),
            *INNER,
            THEIRS,
            "canary",
            *credentials,
            *self.vault.credentials,
            *self.kube.credentials,
        }
        return {form for each in secrets for form in encodings(each)}

    def run(self, *argv: str, stdin: str = "") -> str:
        """Return what a command prints."""
        done = subprocess.run(
            [sys.executable, "-m", "secrets_manager", *argv], input=stdin, text=True, timeout=300, check=False,
            env={"PATH": "", **self.here.environment}, capture_output=True,
        )  # fmt: skip
        assert done.returncode in (0, 1, 3), done.stderr
        return done.stdout + done.stderr

    def said(self) -> dict[str, str]:
        """Return all that the program says, by where it says it."""
        here, namespace = self.here, self.here.namespace
        definitions = here.cluster.list(f"/apis/{API_VERSION}/namespaces/{namespace}/secretdefinitions")
        events = here.cluster.list(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
        manifests = yaml.safe_dump_all(
            {name: each[name] for name in ("apiVersion", "kind", "spec")} | {"metadata": {"name": f"new-{number}"}}
            for number, each in enumerate(definitions)
        )
        commands = {
            "explain": ("explain", "-n", namespace),
            "plan": ("plan", "-n", namespace, "-f", "-"),
            "doctor": ("doctor", f"--watch-namespaces={namespace}"),
        }
        return {
            "page": here.program.answer("/"),
            "status.json": here.program.answer("/status.json"),
            "metrics": here.program.answer("/metrics"),
            "log": here.program.output.read_text(),
            "events": str(events),
            "conditions": str(definitions),
            **{name: self.run(*argv, stdin=manifests) for name, argv in commands.items()},
            **{f"{name} as JSON": self.run(*argv, "-o", "json", stdin=manifests) for name, argv in commands.items()},
        }


@pytest.fixture
def scene(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        to_vault = stack.enter_context(httpx.Client(base_url=openbao.url, trust_env=False, timeout=60))
        to_kube = stack.enter_context(control_plane.client_for(control_plane.admin_token))
        vault = stack.enter_context(quoting_proxy(to_vault, quoted_by_vault))
        kube = stack.enter_context(quoting_proxy(to_kube, quoted_by_kubernetes))
        login = kubeconfig(tmp_path / "quoting.kubeconfig", url=kube.url, token=control_plane.admin_token)
        here = stack.enter_context(
            world(control_plane, openbao, tmp_path, "-enable-debug-log", url=vault.url, kubeconfig=login)
        )
        vault.quotes = kube.quotes = is_quoted
        yield Scene(here, vault, kube)


def define(here: World) -> dict[str, str]:
    """Make a definition for each way to fail. Return the reason of each."""
    path = here.write("app", **VALUES, number=4815162342, null=None)
    here.write(QUOTED, plain=PLAIN)
    foreign: Object = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs", "namespace": here.namespace},
        "stringData": {"k": THEIRS},
    }  # fmt: skip
    here.cluster.create(foreign)
    every: Object = {key: {"path": path, "key": key} for key in VALUES}
    broken: Mapping[str, tuple[Object, str]] = {
        "synced": ({"keysMap": every}, "Synced"),
        "restarted": (
            {"keysMap": every, "rolloutRestartTargets": [{"kind": "Deployment", "name": "nowhere"}]}, "Synced",
        ),
        "encoding": ({"keysMap": {"k": {"path": path, "key": "plain", "encoding": "base64"}}}, "SourceInvalid"),
        "property": ({"keysMap": {"k": {"path": path, "key": "json", "property": "nope"}}}, "SourceNotFound"),
        "no-json": ({"keysMap": {"k": {"path": path, "key": "plain", "property": "nope"}}}, "SourceInvalid"),
        "null": ({"keysMap": {"k": {"path": path, "key": "null"}}}, "SourceInvalid"),
        "missing": ({"keysMap": {"k": {"path": path, "key": "nope"}}}, "SourceNotFound"),
        "template": (
            {"sources": {"app": {"path": path}}, "keysMap": {"k": {"template": "{{ app.plain | base64_decode }}"}}},
            "SourceInvalid",
        ),
        "whole": ({"dataFrom": [{"path": path}]}, "SourceInvalid"),
        "theirs": ({"keysMap": every}, "SecretNotOwned"),
        "vault": ({"keysMap": {"k": {"path": f"{here.home}/{QUOTED}", "key": "plain"}}}, "BackendUnavailable"),
        QUOTED: ({"keysMap": every}, ""),
    }  # fmt: skip
    for name, (spec, _) in broken.items():
        here.define_as_it_is(name, {"name": name, **spec})
    return {name: reason for name, (_, reason) in broken.items() if reason}


def leaks(said: Mapping[str, str], canaries: set[str]) -> dict[str, set[str]]:
    found = {place: {each for each in canaries if each in text} for place, text in said.items()}
    return {place: each for place, each in found.items() if each}


def refusal(secret: Object) -> str:
    """Quote the values alone: of a long message the end is cut."""
    values = [base64.b64decode(text(secret, "data", key)).decode() for key in mapping(secret, "data")]
    return f"odd: {values[0]} is too weak, as are {values}"


def test_no_value_and_no_credential_is_said_anywhere(scene: Scene) -> None:
    here = scene.here
    reasons = define(here)
    here.program.started()
    for name, reason in reasons.items():
        here.wait_for_reason(name, reason)
    with refusing_webhook(here.cluster, here.namespace, refusal):
        here.define("refused", {"k": f"{here.home}/app#plain"})
        here.wait_for_reason("refused", "SecretRejected")
        said = scene.said()
    words = {"events": "SyncFailed", "doctor": "vault-login", "doctor as JSON": "vault-login"}
    assert [place for place, text in said.items() if words.get(place, "SourceInvalid") not in text] == []
    assert {here.cluster.admin_token} < scene.kube.credentials | scene.vault.credentials
    assert leaks(said, scene.canaries) == {}

    scene.vault.quotes = lambda path: "sys/health" not in path
    scene.vault.status = 400
    for name in reasons:
        here.kubectl("annotate", "secretdefinition", name, "secrets-manager.tuenti.io/force-sync=now")
    wait_until(lambda: here.reason("synced") != "Synced")
    said = scene.said()
    assert "the AppRole login was refused" in said["doctor"]
    assert leaks(said, scene.canaries) == {}
