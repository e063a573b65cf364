"""The real kubectl works with the double, on a real socket, as with a real cluster."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from subprocess import PIPE

import msgspec
import pytest
import trio

from fake_kubernetes.asgi import serve_cluster
from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import Object, at, mapping, parse, text, with_metadata
from tests.contracts.widgets import event, manifest, owned_by, secret, widget
from tests.real.cluster import (
    ControlPlane,
    KubectlError,
    kubeconfig,
    kubectl_environment,
    kubectl_program,
    run_kubectl,
)


class Kubectl:
    """kubectl in a namespace of the test's own."""

    def __init__(self, config: Path, *, namespace: str) -> None:
        self._config = config
        self.namespace = namespace

    async def __call__(self, *arguments: str, sends: Object | None = None) -> str:
        """Return what it prints. Raises: KubectlError."""
        stdin = "" if sends is None else msgspec.json.encode(sends).decode()
        command = partial(run_kubectl, *arguments, "--namespace", self.namespace, kubeconfig=self._config, stdin=stdin)
        return await trio.to_thread.run_sync(command)

    async def start(self, nursery: trio.Nursery, *arguments: str) -> trio.Process:
        """Let it run on, with its output in a pipe."""
        command = [kubectl_program(), *arguments, "--namespace", self.namespace]
        run = partial(trio.run_process, stdout=PIPE, check=False, env=kubectl_environment(self._config))
        process: trio.Process = await nursery.start(run, command)
        return process

    async def rows(self, *arguments: str) -> list[list[str]]:
        """Return the words of each line but the header."""
        printed = await self("get", *arguments)
        return [line.split() for line in printed.splitlines() if line and not line.startswith(("NAME ", "LAST SEEN"))]

    async def object(self, *arguments: str) -> Object:
        return parse((await self("get", *arguments, "-o", "json")).encode())


@pytest.fixture
async def kubectl(chosen: Cluster | ControlPlane, tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Kubectl]:
    if isinstance(chosen, ControlPlane):
        yield Kubectl(chosen.kubeconfig, namespace=chosen.namespace("kubectl"))
        return
    stop = trio.Event()
    url: str = await nursery.start(partial(serve_cluster, chosen, shutdown_trigger=stop.wait))
    yield Kubectl(kubeconfig(tmp_path / "kubeconfig", url=url), namespace="test")
    stop.set()


async def test_get_shows_the_printer_columns(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", sends=widget(mode="fast"))
    ((*cells, age),) = await kubectl.rows("widgets")
    assert (cells, age.endswith("s")) == (["one", "target"], True)
    ((*cells, age),) = await kubectl.rows("wi", "-o", "wide")
    assert cells == ["one", "target", "fast"]


async def test_get_shows_several_kinds_at_once(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", sends=widget())
    await kubectl("create", "secret", "generic", "two", "--from-literal=a=b", "--from-literal=c=d")
    printed = await kubectl("get", "widgets,secrets", "-o", "wide", "--field-selector", "metadata.name!=none")
    assert "widget.example.org/one" in printed
    (line,) = (line for line in printed.splitlines() if line.startswith("secret/two"))
    assert line.split()[1:3] == ["Opaque", "2"]


async def test_get_as_yaml_and_by_json_path(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", sends=widget())
    assert "kind: Widget" in await kubectl("get", "wi", "one", "-o", "yaml")
    assert await kubectl("get", "widget", "one", "-o", "jsonpath={.spec.name}") == "target"


async def test_what_is_not_there(kubectl: Kubectl) -> None:
    with pytest.raises(KubectlError, match=r'\(NotFound\): widgets\.example\.org "none" not found'):
        await kubectl("get", "widget", "none")


async def test_apply_makes_changes_and_leaves(kubectl: Kubectl) -> None:
    assert "created" in await kubectl("apply", "-f", "-", sends=widget(mode="fast", size=1))
    assert "unchanged" in await kubectl("apply", "-f", "-", sends=widget(mode="fast", size=1))
    assert "configured" in await kubectl("apply", "-f", "-", sends=widget(mode="slow"))
    assert (await kubectl.object("widget", "one"))["spec"] == {"name": "target", "mode": "slow"}


async def test_apply_of_a_secret(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", sends=secret(stringData={"a": "1", "b": "2"}))
    await kubectl("apply", "-f", "-", sends=secret(data={"a": "Mw=="}))
    assert at(await kubectl.object("secret", "one"), "data", "a") == "Mw=="


async def test_a_field_that_the_kind_does_not_know_is_an_error(kubectl: Kubectl) -> None:
    with pytest.raises(KubectlError, match=r'unknown field "(spec\.)?colour"'):
        await kubectl("apply", "-f", "-", sends=widget(colour="red"))


async def test_an_invalid_object_is_an_error_that_names_the_field(kubectl: Kubectl) -> None:
    with pytest.raises(KubectlError, match=r"spec\.mode: Unsupported value"):
        await kubectl("create", "--validate=false", "-f", "-", sends=widget(mode="wild"))


async def test_label_annotate_and_patch(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", sends=widget())
    await kubectl("label", "widget", "one", "team=x")
    await kubectl("annotate", "widget", "one", "example.org/force=now")
    await kubectl("patch", "widget", "one", "--type=merge", "-p", '{"spec": {"mode": "slow"}}')
    found = await kubectl.object("widget", "one")
    assert at(found, "metadata", "labels") == {"team": "x"}
    assert at(found, "metadata", "annotations") == {"example.org/force": "now"}
    assert at(found, "spec", "mode") == "slow"
    assert [row[0] for row in await kubectl.rows("widgets", "-l", "team=x")] == ["one"]


async def test_edit(kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    await kubectl("create", "-f", "-", sends=widget(mode="fast"))
    monkeypatch.setenv("KUBE_EDITOR", "sed -i s/fast/slow/")
    await kubectl("edit", "widget", "one")
    assert at(await kubectl.object("widget", "one"), "spec", "mode") == "slow"


async def test_delete_waits_until_it_is_gone_and_the_owned_follow(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", sends=widget())
    owner = await kubectl.object("widget", "one")
    await kubectl("create", "-f", "-", sends=owned_by(secret("owned"), owner))
    assert "deleted" in await kubectl("delete", "widget", "one")
    await kubectl("wait", "--for=delete", "secret/owned", "--timeout=60s")
    assert [row for row in await kubectl.rows("widgets,secrets") if row[0].endswith(("one", "owned"))] == []


async def test_events_are_shown(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", sends=widget())
    about = await kubectl.object("widget", "one")
    await kubectl("create", "-f", "-", sends=event_about(about))
    assert "hello" in await kubectl("get", "events")
    assert "hello" in await kubectl("events", "--for", "widget/one")
    described = await kubectl("describe", "widget", "one")
    assert "hello" in described
    assert "Synced" in described


async def test_watch_shows_what_is_there_and_what_comes(kubectl: Kubectl, nursery: trio.Nursery) -> None:
    await kubectl("create", "-f", "-", sends=widget())
    watching = await kubectl.start(nursery, "get", "widgets", "--watch", "-o", "name")
    assert watching.stdout is not None
    with trio.fail_after(60):
        assert await line_of(watching.stdout) == "widget.example.org/one"
        await kubectl("create", "-f", "-", sends=widget("two"))
        assert await line_of(watching.stdout) == "widget.example.org/two"
    watching.terminate()


async def test_namespaces_can_be_made_and_deleted(kubectl: Kubectl) -> None:
    name = f"{kubectl.namespace}-more"
    await kubectl("create", "namespace", name)
    assert [row[:2] for row in await kubectl.rows("namespace", name)] == [[name, "Active"]]
    await kubectl("delete", "namespace", name)
    with pytest.raises(KubectlError):
        await kubectl("get", "namespace", name)


async def test_a_kind_can_be_installed_and_used(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", sends=manifest("doodads", "Doodad"))
    await kubectl("wait", "--for=condition=Established", "crd/doodads.example.org", "--timeout=60s")
    await kubectl("create", "-f", "-", sends=widget(kind="Doodad"))
    assert [row[0] for row in await kubectl.rows("doodads")] == ["one"]
    await kubectl("delete", "crd", "doodads.example.org")


async def test_the_fields_of_a_kind_are_explained(kubectl: Kubectl) -> None:
    assert "mode\t<string>" in await kubectl("explain", "widget.spec")


async def test_the_server_lists_its_kinds(kubectl: Kubectl) -> None:
    lines = (await kubectl("api-resources", "--api-group=example.org", "--no-headers")).splitlines()
    assert ["widgets", "wi", "example.org/v1", "true", "Widget"] in [line.split() for line in lines]
    assert "Server Version" in await kubectl("version")


async def line_of(stream: trio.abc.ReceiveStream) -> str:
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive_some(1)
    return line.decode().strip()


def event_about(document: Object) -> Object:
    head: Object = {"apiVersion": "events.k8s.io/v1", "kind": "Event"}
    about = event(text(document, "metadata", "namespace"))
    regarding = mapping(about, "regarding") | {"uid": at(document, "metadata", "uid")}
    return head | with_metadata({**about, "regarding": regarding}, namespace=at(document, "metadata", "namespace"))
