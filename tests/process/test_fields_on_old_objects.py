"""Each field on what the Go original left in a cluster: its objects, and its CRD."""

import base64
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from fake_kubernetes.documents import Json, Object, at, items, mapping, number, text
from tests.process.running import API_VERSION, World, world
from tests.process.the_original import FINALIZER, OLD
from tests.real.cluster import ControlPlane
from tests.real.kube_api import path_of, wait_until
from tests.real.openbao import OpenBao
from tests.workloads import workload

TARGETS: Json = [{"kind": "Deployment", "name": "web"}]


class Field(NamedTuple):
    """A change of a spec of the original, and the Secret's values by the number in the store."""

    change: Object
    values: dict[str, str]
    owned: bool = True
    """Whether the Secret has the definition as an owner, and goes with it."""


def fields(path: str) -> dict[str, Field]:
    source: Object = {"path": path}
    encoded: Object = {"key": "b", "encoding": "base64url"}
    templated: Object = {"path": None, "key": None, "template": "{{ db.k }}!"}
    return {
        "whole": Field({"keysMap": None, "dataFrom": [{**source, "include": ["k"], "prefix": "p-"}]}, {"p-k": "N"}),
        "templated": Field({"sources": {"db": source}, "keysMap": {"k": templated}}, {"k": "N!"}),
        "encoded": Field({"keysMap": {"k": encoded}}, {"k": "N"}),
        "owned": Field({"creationPolicy": "Owner"}, {"k": "N"}),
        "orphan": Field({"creationPolicy": "Orphan"}, {"k": "N"}, owned=False),
        "merged": Field(
            {"creationPolicy": "Merge", "keysMap": {"k": None, "m": {**source, "key": "k"}}},
            {"k": "1", "m": "N"},
            owned=False,
        ),
        "frozen": Field({"immutable": True}, {"k": "N"}),
        "marked": Field({"metadata": {"labels": {"example.com/tier": "db"}}}, {"k": "N"}),
        "restarting": Field({"rolloutRestartTargets": TARGETS}, {"k": "N"}),
    }


def write(here: World, number: int) -> str:
    encoded = base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")
    return here.write("db", k=str(number), b=encoded)


def leave(here: World, name: str, path: str) -> None:
    """Make a definition and its Secret as the original left them."""
    here.cluster.create(
        {
            "apiVersion": API_VERSION,
            "kind": "SecretDefinition",
            "metadata": {"name": name, "namespace": here.namespace, "finalizers": [FINALIZER]},
            "spec": {"name": name, "keysMap": {"k": {"path": path, "key": "k"}}},
        }
    )
    labels: Object = {"app.kubernetes.io/managed-by": "secrets-manager"}
    metadata: Object = {"name": name, "namespace": here.namespace, "labels": labels}
    data: Object = {"k": base64.b64encode(b"1").decode()}
    here.cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


def owners(here: World, name: str) -> list[str]:
    return [text(each, "name") for each in items(here.secret(name), "metadata", "ownerReferences")]


def test_each_field_on_objects_of_the_original(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> None:
    with world(control_plane, openbao, tmp_path, "-rollout-restart-delay=1s") as here:
        path = write(here, 1)
        table = fields(path)
        deployment = workload(namespace=here.namespace)
        here.cluster.create(deployment)
        for name, field in table.items():
            leave(here, name, path)
            here.cluster.patch(here.path_of_definition(name), {"spec": field.change})
        here.program.started()

        for turn in (1, 2):
            write(here, turn)
            for name, field in table.items():
                here.wait_for(name, {key: value.replace("N", str(turn)) for key, value in field.values.items()})
                here.wait_for_reason(name, "Synced")
        for name, field in table.items():
            assert owners(here, name) == ([name] if field.owned else []), name
            assert "finalizers" not in mapping(here.definition(name), "metadata"), name
        assert at(here.secret("frozen"), "immutable") is True
        assert at(here.secret("marked"), "metadata", "labels", "example.com/tier") == "db"
        wait_until(lambda: number(here.cluster.get(path_of(deployment, named=True)), "metadata", "generation") == 2)

        for name in table:
            here.cluster.delete(here.path_of_definition(name))
        for name, field in table.items():
            here.wait_for(name, None if field.owned else {"k": "1" if name == "merged" else "2"})


def test_the_crd_of_the_original_drops_fields_and_the_keys_are_synced(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    """It lacks a status, too, so the log alone says so."""
    own_control_plane.install(OLD)
    here = World(own_control_plane, openbao, tmp_path)
    with here.program:
        path = write(here, 1)
        keys: Object = {"k": {"path": path, "key": "k"}}
        for name, field in fields(path).items():
            plain = {key: value for key, value in field.change.items() if key not in ("keysMap", "sources")}
            made = here.define_as_it_is(name, {"name": name, "keysMap": keys, **plain})
            assert mapping(made, "spec").keys() == {"name", "keysMap"}, name
        refusals: list[Object] = [{"dataFrom": [{"path": path}]}, {"keysMap": {"k": {"template": "x"}}}]
        for refused in refusals:
            with pytest.raises(httpx.HTTPStatusError, match="Required value"):
                here.define_as_it_is("refused", {"name": "refused", **refused})
        here.cluster.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs", "namespace": here.namespace}}
        )
        here.define_as_it_is("theirs", {"name": "theirs", "keysMap": keys, "creationPolicy": "Merge"})
        here.program.started()

        for turn in (1, 2):
            write(here, turn)
            for name in fields(path):
                here.wait_for(name, {"k": str(turn)})
        assert {name: owners(here, name) for name in fields(path)} == {name: [name] for name in fields(path)}
        assert here.values("theirs") == {}
        wait_until(lambda: "the installed CRD has no status" in here.program.output.read_text())
