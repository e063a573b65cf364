"""What a definition can say beside single keys, on the real servers: written, changed, broken and taken away."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_kubernetes.documents import Json, Object, at, items, mapping, text
from tests.process.running import World, world
from tests.process.the_original import OLD
from tests.real.cluster import ControlPlane
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao


@pytest.fixture
def here(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, openbao, tmp_path) as made:
        made.program.started()
        yield made


def change(here: World, **spec: Json) -> None:
    here.cluster.patch(here.path_of_definition("app"), {"spec": {**spec}})


def uid(here: World) -> str:
    return text(here.secret("app"), "metadata", "uid")


def test_a_whole_secret_comes_changes_fails_and_goes(here: World) -> None:
    path = here.write("db", user="shop", port=5432, **{"reply to": "x"})
    entry: Object = {"path": path, "exclude": ["us*"], "prefix": "DB_", "conversion": "Underscore"}
    here.define_as_it_is("app", {"name": "app", "dataFrom": [entry]})
    here.wait_for("app", {"DB_port": "5432", "DB_reply_to": "x"})

    here.write("db", port=5433)
    here.wait_for("app", {"DB_port": "5433"})

    here.write("db")
    here.wait_for_reason("app", "SourceInvalid")
    assert here.values("app") == {"DB_port": "5433"}

    here.write("db", port=5434, host="db")
    change(here, dataFrom=[{"path": path, "rename": {"port": "p"}}])
    here.wait_for("app", {"p": "5434", "host": "db"})

    here.bao.delete_kv(path)
    here.wait_for_reason("app", "SourceNotFound")
    assert here.values("app") == {"p": "5434", "host": "db"}


def test_a_template_joins_two_sources_and_follows_both(here: World) -> None:
    sources: Object = {
        "db": {"path": here.write("db", user="shop", password="a b")},
        "api": {"path": here.write("api", **{"token.txt": "t-1"}), "version": 1},
    }
    template = 'user={{ db.user }} password={{ db.password | url_encode }} token={{ api["token.txt"] }}'
    here.define_as_it_is("app", {"name": "app", "sources": sources, "keysMap": {"line": {"template": template}}})
    here.wait_for("app", {"line": "user=shop password=a%20b token=t-1"})

    here.write("api", **{"token.txt": "t-2"})
    here.write("db", user="shop", password="c")
    here.wait_for("app", {"line": "user=shop password=c token=t-1"})
    shown = sorted(
        (text(each, "path"), at(each, "version")) for each in items(here.definition("app"), "status", "sources")
    )
    assert shown == [(f"{here.home}/api", 1), (f"{here.home}/db", 2)]

    here.write("db", user="shop")
    here.wait_for_reason("app", "SourceNotFound")
    assert "'password'" in here.message("app")
    assert here.values("app") == {"line": "user=shop password=c token=t-1"}


def test_an_immutable_secret_is_replaced_and_becomes_an_ordinary_one(here: World) -> None:
    here.define_as_it_is("app", {"name": "app", "immutable": True, "dataFrom": [{"path": here.write("db", k="1")}]})
    here.wait_for("app", {"k": "1"})
    first = uid(here)
    assert at(here.secret("app"), "immutable") is True

    here.write("db", k="2")
    here.wait_for("app", {"k": "2"})
    second = uid(here)
    assert (at(here.secret("app"), "immutable"), second != first) == (True, True)

    change(here, immutable=None)
    here.write("db", k="3")
    here.wait_for("app", {"k": "3"})
    here.write("db", k="4")
    third = uid(here)
    here.wait_for("app", {"k": "4"})
    assert (at(here.secret("app"), "immutable"), uid(here)) == (None, third)


def test_labels_and_annotations_come_and_go(here: World) -> None:
    metadata: Object = {"labels": {"example.com/tier": "db"}, "annotations": {"note": "x"}}
    here.define_as_it_is("app", {"name": "app", "metadata": metadata, "dataFrom": [{"path": here.write("db", k="1")}]})
    here.wait_for("app", {"k": "1"})
    shown = mapping(here.secret("app"), "metadata")
    assert (at(shown, "labels", "example.com/tier"), at(shown, "annotations", "note")) == ("db", "x")

    change(here, metadata={"labels": None})
    wait_until(lambda: "example.com/tier" not in mapping(here.secret("app"), "metadata", "labels"))
    assert at(here.secret("app"), "metadata", "annotations", "note") == "x"


def test_an_orphan_outlives_its_definition(here: World) -> None:
    spec: Object = {"name": "app", "creationPolicy": "Orphan", "dataFrom": [{"path": here.write("db", k="1")}]}
    here.define_as_it_is("app", spec)
    here.wait_for("app", {"k": "1"})
    first = uid(here)
    here.cluster.delete(here.path_of_definition("app"))

    here.define_as_it_is("other", {"name": "other", "dataFrom": [{"path": here.write("db", k="2")}]})
    here.wait_for("other", {"k": "2"})
    assert (here.values("app"), uid(here)) == ({"k": "1"}, first)

    here.define_as_it_is("app", spec)
    here.wait_for("app", {"k": "2"})
    assert uid(here) == first


def test_base64url_is_decoded(here: World) -> None:
    value = base64.urlsafe_b64encode(b"~~?>").decode().rstrip("=")
    keys: Object = {"k": {"path": here.write("db", k=value), "key": "k", "encoding": "base64url"}}
    here.define_as_it_is("app", {"name": "app", "keysMap": keys})
    here.wait_for("app", {"k": "~~?>"})


def test_the_crd_of_the_original_drops_what_it_does_not_know_and_the_keys_are_synced(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(own_control_plane, openbao, tmp_path) as here:
        own_control_plane.apply(OLD)
        path = here.write("db", k="1", more="2")
        here.program.started()
        wait_until(
            lambda: "dataFrom" not in mapping(here.define("app", {"k": f"{path}#k"}, dataFrom=[{"path": path}]), "spec")
        )
        here.wait_for("app", {"k": "1"})
