"""The main job, by the real process on real parts: a definition becomes a Secret and follows every change."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_kubernetes.documents import Object, at, items, text
from tests.process.running import World, world
from tests.real.cluster import ControlPlane
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao

ADOPT = "secrets-manager.tuenti.io/adopt"


@pytest.fixture
def here(control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> Iterator[World]:
    with world(control_plane, openbao, tmp_path) as made:
        yield made


def test_a_definition_that_was_there_before_the_start_becomes_a_secret(here: World) -> None:
    path = here.write("app", user="shop", password="first")
    definition = here.define("app", {"user": f"{path}#user", "pw": f"{path}#password"})

    here.program.started()

    here.wait_for("app", {"user": "shop", "pw": "first"})
    secret = here.secret("app")
    uid = text(definition, "metadata", "uid")
    assert at(secret, "type") == "Opaque"
    assert at(secret, "metadata", "ownerReferences") == [
        {
            "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
            "kind": "SecretDefinition",
            "name": "app",
            "uid": uid,
            "controller": True,
        }
    ]
    assert at(secret, "metadata", "labels") == {
        "app.kubernetes.io/managed-by": "secrets-manager",
        "secrets-manager.tuenti.io/owner": uid,
    }


def test_a_definition_made_later_becomes_a_secret_and_its_status_says_from_what(here: World) -> None:
    here.program.started()
    path = here.write("app", password="first")
    here.write("app", password="second")

    here.define("app", {"pw": f"{path}#password"})

    here.wait_for("app", {"pw": "second"})
    here.wait_for_reason("app", "Synced")
    status = at(here.definition("app"), "status")
    (condition,) = items(status, "conditions")
    assert status == {
        "conditions": [condition],
        "observedGeneration": 1,
        "lastSyncTime": at(status, "lastSyncTime"),
        "secretName": "app",
        "sources": [{"path": path, "version": 2}],
    }
    assert condition == {
        "type": "Ready",
        "status": "True",
        "reason": "Synced",
        "message": "Secret app is in sync",
        "lastTransitionTime": at(status, "lastSyncTime"),
        "observedGeneration": 1,
    }


def test_a_change_in_vault_arrives(here: World) -> None:
    path = here.write("app", password="first")
    here.define("app", {"pw": f"{path}#password"})
    here.program.started()
    here.wait_for("app", {"pw": "first"})

    here.write("app", password="second")

    here.wait_for("app", {"pw": "second"})


def test_a_change_of_the_definition_arrives(here: World) -> None:
    path = here.write("app", user="shop", password="first")
    here.define("app", {"pw": f"{path}#password"})
    here.program.started()
    here.wait_for("app", {"pw": "first"})

    here.cluster.patch(
        here.path_of_definition("app"),
        {
            "metadata": {"labels": {"team": "shop"}},
            "spec": {"keysMap": {"pw": None, "user": {"path": path, "key": "user"}}},
        },
    )

    here.wait_for("app", {"user": "shop"})
    assert text(here.secret("app"), "metadata", "labels", "team") == "shop"


def test_a_manual_edit_is_reverted_and_what_is_foreign_stays(here: World) -> None:
    path = here.write("app", password="first")
    here.define("app", {"pw": f"{path}#password"})
    here.program.started()
    here.wait_for("app", {"pw": "first"})

    edit: Object = {
        "metadata": {"labels": {"theirs": "yes"}, "annotations": {"their/note": "hello"}},
        "data": {"pw": "ZWRpdGVk", "more": "ZWRpdGVk"},
    }
    here.cluster.patch(here.path_of_secret("app"), edit)

    here.wait_for("app", {"pw": "first"})
    secret = here.secret("app")
    assert text(secret, "metadata", "labels", "theirs") == "yes"
    assert at(secret, "metadata", "annotations", "their/note") == "hello"


def test_a_secret_deleted_by_hand_comes_back(here: World) -> None:
    path = here.write("app", password="first")
    here.define("app", {"pw": f"{path}#password"})
    here.program.started()
    here.wait_for("app", {"pw": "first"})
    uid = text(here.secret("app"), "metadata", "uid")

    here.cluster.delete(here.path_of_secret("app"))

    here.wait_for("app", {"pw": "first"})
    assert text(here.secret("app"), "metadata", "uid") != uid


def test_a_new_name_brings_the_new_secret_before_the_old_one_goes(here: World) -> None:
    path = here.write("app", password="first")
    here.define("app", {"pw": f"{path}#password"})
    here.program.started()
    here.wait_for("app", {"pw": "first"})
    since = here.version(here.path_of_secret("app"))

    here.cluster.patch(here.path_of_definition("app"), {"spec": {"name": "renamed"}})

    here.wait_for("app", None)
    assert here.values("renamed") == {"pw": "first"}
    assert here.changes_of_secrets(since=since) == [("ADDED", "renamed"), ("DELETED", "app")]


def test_a_new_type_replaces_the_secret(here: World) -> None:
    path = here.write("app", password="first", username="shop")
    here.define("app", {"password": f"{path}#password", "username": f"{path}#username"})
    here.program.started()
    here.wait_for("app", {"password": "first", "username": "shop"})

    here.cluster.patch(here.path_of_definition("app"), {"spec": {"type": "kubernetes.io/basic-auth"}})

    wait_until(lambda: text(here.secret("app"), "type") == "kubernetes.io/basic-auth")
    assert here.values("app") == {"password": "first", "username": "shop"}


def test_a_deleted_definition_takes_its_secret_along(here: World) -> None:
    path = here.write("app", password="first")
    here.define("app", {"pw": f"{path}#password"})
    here.program.started()
    here.wait_for("app", {"pw": "first"})

    here.cluster.delete(here.path_of_definition("app"))

    here.wait_for("app", None)


def test_a_definition_that_is_deleted_during_an_outage_takes_its_secret_along(here: World) -> None:
    path = here.write("app", password="first")
    here.define("app", {"pw": f"{path}#password"})
    here.program.started()
    here.wait_for("app", {"pw": "first"})
    here.program.terminate()

    here.cluster.delete(here.path_of_definition("app"))

    here.wait_for("app", None)


def test_a_foreign_secret_is_untouched_until_the_user_gives_it_away(here: World) -> None:
    foreign: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "app", "namespace": here.namespace, "labels": {"theirs": "yes"}},
        "data": {"token": "dGhlaXJz"},
    }
    before = here.cluster.create(foreign)
    path = here.write("app", password="first")
    here.define("app", {"pw": f"{path}#password"})

    here.program.started()

    here.wait_for_reason("app", "SecretNotOwned")
    assert here.secret("app") == before
    assert here.message("app") == (
        "Secret app was not made by secrets-manager: delete or rename it, "
        f"or annotate this definition with {ADOPT}=true to take it over"
    )

    here.cluster.patch(here.path_of_definition("app"), {"metadata": {"annotations": {ADOPT: "true"}}})

    here.wait_for("app", {"pw": "first"})
    assert text(here.secret("app"), "metadata", "labels", "theirs") == "yes"
    assert text(here.secret("app"), "metadata", "uid") == text(before, "metadata", "uid")


def test_two_definitions_of_one_secret_know_of_each_other(here: World) -> None:
    path = here.write("app", password="first")
    here.define("app", {"pw": f"{path}#password"})
    here.program.started()
    here.wait_for("app", {"pw": "first"})

    here.define("rival", {"other": f"{path}#password"}, name="app")

    here.wait_for_reason("rival", "SecretNotOwned")
    assert here.message("rival") == (
        "Secret app is owned by SecretDefinition app: choose another spec.name, or delete that owner"
    )
    assert here.values("app") == {"pw": "first"}
