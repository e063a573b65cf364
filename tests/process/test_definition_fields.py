"""What a definition can say beside single keys, on the real servers: written, changed, broken and taken away."""

import base64
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from fake_kubernetes.documents import Json, Object, at, items, mapping, parse, text
from tests.process.running import World, world
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

    def shown() -> list[tuple[str, object]]:
        sources = items(here.definition("app"), "status", "sources")
        return sorted((text(each, "path"), at(each, "version")) for each in sources)

    wait_until(lambda: shown() == [(f"{here.home}/api", 1), (f"{here.home}/db", 2)])  # it follows the Secret

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


def test_of_two_orphans_that_adopt_one_secret_the_second_gets_it_once_the_first_wants_it_no_more(here: World) -> None:
    spec: Object = {"name": "app", "creationPolicy": "Orphan", "dataFrom": [{"path": here.write("db", k="1")}]}
    adopt: Object = {"metadata": {"annotations": {"secrets-manager.tuenti.io/adopt": "true"}}}
    for name in ("app", "second"):
        here.define_as_it_is(name, spec)
        here.cluster.patch(here.path_of_definition(name), adopt)
        here.wait_for("app", {"k": "1"})
    here.wait_for_reason("second", "SecretNotOwned")
    assert "is owned by SecretDefinition app: choose another spec.name" in here.message("second")
    since, first = here.version(here.path_of_secret()), uid(here)

    here.write("db", k="2")
    here.wait_for("app", {"k": "2"})
    here.wait_for_reason("second", "SecretNotOwned")
    assert here.changes_of_secrets(since=since) == [("MODIFIED", "app")]

    here.cluster.delete(here.path_of_definition("app"))
    here.cluster.patch(here.path_of_definition("second"), {"metadata": {"annotations": {"now": "1"}}})
    here.wait_for_reason("second", "Synced")
    assert (here.values("app"), uid(here)) == ({"k": "2"}, first)


def test_a_policy_that_changes_takes_the_owner_away_and_gives_it_back(here: World) -> None:
    def wait_for_owners(*kinds: str) -> None:
        wait_until(
            lambda: (
                [text(each, "kind") for each in items(here.secret("app"), "metadata", "ownerReferences")] == [*kinds]
            )
        )

    here.define_as_it_is("app", {"name": "app", "dataFrom": [{"path": here.write("db", k="1")}]})
    here.wait_for("app", {"k": "1"})
    wait_for_owners("SecretDefinition")
    for policy in ("Owner", None):
        change(here, creationPolicy="Orphan")
        wait_for_owners()
        change(here, creationPolicy=policy)
        wait_for_owners("SecretDefinition")

    change(here, creationPolicy="Merge")
    here.wait_for_reason("app", "SecretNotOwned")
    assert "was made by this definition" in here.message("app")
    assert here.values("app") == {"k": "1"}


FAILING: dict[str, tuple[Object, str, str]] = {
    "nowhere": ({"dataFrom": [{"path": "HOME/none"}]}, "SourceNotFound", "path 'HOME/none' does not exist"),
    "no-name": ({"dataFrom": [{"path": "HOME/db", "include": ["no*"]}]}, "SourceInvalid", "HOME/db"),
    "unmade": (
        {"sources": {"db": {"path": "HOME/db"}}, "keysMap": {"k": {"template": "{{ db.k | base64_decode }}"}}},
        "SourceInvalid",
        "key k: template: line 1",
    ),
    "garbled": (
        {"keysMap": {"k": {"path": "HOME/db", "key": "k", "encoding": "base64url"}}},
        "SourceInvalid",
        "base64url",
    ),
    "vacant": ({"creationPolicy": "Merge", "dataFrom": [{"path": "HOME/db"}]}, "SecretRejected", "does not exist"),
}
"""What names something that is not there, the reason, and a part of the message."""


def test_what_names_something_that_fails_says_so_and_changes_nothing(here: World) -> None:
    path = here.write("db", k="not base64!")
    for name, (spec, _, _) in FAILING.items():
        located = parse(msgspec.json.encode(spec).replace(b"HOME", here.home.encode()))
        here.define_as_it_is(name, {"name": name, "dataFrom": [{"path": path}]})
        here.wait_for(name, {"k": "not base64!"})
        if name == "vacant":
            located["name"] = "none"
        here.cluster.patch(here.path_of_definition(name), {"spec": {"dataFrom": None, **located}})
    for name, (_, reason, message) in FAILING.items():
        here.wait_for_reason(name, reason)
        assert message.replace("HOME", here.home) in here.message(name)
        assert here.values(name) == {"k": "not base64!"}
    assert here.secret("none") is None
