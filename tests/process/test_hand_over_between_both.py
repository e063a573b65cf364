"""From the Go original to this program, back, and forward again: no Secret is lost, and none rewritten without need.

Both programs run here: where there is no original, these tests are skipped.
"""

import base64
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from secrets_manager.controller import crd
from secrets_manager.demo.api.documents import Object, at, parse, text
from tests.process.the_original import FINALIZER, OLD, Scene, original_or_skip, scene
from tests.real.cluster import ControlPlane, running_cluster
from tests.real.control_plane import binaries_or_skip
from tests.real.kube_api import Query, wait_until
from tests.real.openbao import OpenBao

NAMES = ("plain", "binary", "tls", "helm")
LEASE = 15.0 + 2.4 + 5.0
"""Seconds in which a lease that was not released is taken: its duration, a jittered retry, and a slow machine."""


@pytest.fixture(scope="session", autouse=True)
def original() -> Path:
    """Asked for first, so that no cluster is started in vain."""
    return original_or_skip()


@pytest.fixture(scope="module")
def old_cluster(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    with running_cluster(binaries_or_skip(pytestconfig)) as cluster:
        cluster.install(OLD)
        yield cluster


@pytest.fixture
def both(old_cluster: ControlPlane, openbao: OpenBao, tmp_path: Path) -> Iterator[Scene]:
    with scene(old_cluster, openbao, tmp_path) as made:
        yield made


@pytest.fixture
def electing(old_cluster: ControlPlane, openbao: OpenBao, tmp_path: Path) -> Iterator[Scene]:
    with scene(old_cluster, openbao, tmp_path, "-enable-leader-election") as made:
        yield made


def made_by_the_original(both: Scene) -> dict[str, Object]:
    """Let the original make a Secret of each sort, and return them."""
    here = both.here
    path = here.write("app", user="shop", blob=base64.b64encode(b"bytes").decode(), crt="C", pem="K")
    other = here.write("other", password="first")
    here.define("plain", {"user": f"{path}#user", "pw": f"{other}#password"})
    blob: Object = {"path": path, "key": "blob", "encoding": "base64"}
    here.define_as_it_is("binary", {"name": "binary", "keysMap": {"blob": blob}})
    here.define("tls", {"tls.crt": f"{path}#crt", "tls.key": f"{path}#pem"}, type="kubernetes.io/tls")
    here.define("helm", {"user": f"{path}#user"})
    marks: Object = {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"note": "hello"}}
    here.cluster.patch(here.path_of_definition("helm"), {"metadata": marks})
    both.original.start()
    wait_until(lambda: all(both.here.secret(name) and both.finalizers(name) == [FINALIZER] for name in NAMES))
    return secrets(both)


def secrets(both: Scene) -> dict[str, Object]:
    return {name: both.here.cluster.get(both.here.path_of_secret(name)) for name in NAMES}


def taken_over(both: Scene) -> bool:
    return all(both.owner(name) and not both.finalizers(name) for name in NAMES)


def substance(secret: Object) -> Object:
    """What may not change: which object it is, and all that a pod sees of it."""
    return {"uid": text(secret, "metadata", "uid"), "type": secret["type"], "data": secret["data"]}


def changes(both: Scene, since: str) -> list[Object]:
    """Every change of a Secret since a resourceVersion."""
    query: Query = {"watch": "1", "resourceVersion": since, "timeoutSeconds": 1}
    return both.here.cluster.lines(both.here.path_of_secret(), query)


def changed(both: Scene, since: str) -> list[tuple[str, str]]:
    return sorted((text(one, "type"), text(one, "object", "metadata", "name")) for one in changes(both, since))


def test_back_to_the_original_and_forward_again_nothing_is_lost(both: Scene) -> None:
    before = made_by_the_original(both)
    both.original.terminate()
    both.ours.start()
    wait_until(lambda: taken_over(both))
    both.ours.terminate()
    since = both.here.version(both.here.path_of_secret())

    both.original.start()

    wait_until(lambda: all(both.finalizers(name) == [FINALIZER] for name in NAMES))
    both.here.write("other", password="second")
    both.here.wait_for("plain", {"user": "shop", "pw": "second"})
    assert changed(both, since) == [("MODIFIED", "plain")]
    both.original.terminate()
    since = both.here.version(both.here.path_of_secret())

    both.ours.start()

    wait_until(lambda: taken_over(both))
    after = {name: substance(secret) for name, secret in secrets(both).items()}
    assert after["plain"] == substance(before["plain"]) | {"data": {"user": "c2hvcA==", "pw": "c2Vjb25k"}}
    assert [after[name] for name in NAMES[1:]] == [substance(before[name]) for name in NAMES[1:]]
    assert changed(both, since) == [("MODIFIED", "plain")]


def test_where_the_original_knows_no_election_both_may_run_for_a_while(both: Scene) -> None:
    before = made_by_the_original(both)
    since = both.here.version(both.here.path_of_secret())
    both.ours.start()
    wait_until(lambda: all(both.owner(name) for name in NAMES))
    both.here.write("other", password="second")
    both.here.wait_for("plain", {"user": "shop", "pw": "second"})

    both.original.terminate()

    wait_until(lambda: taken_over(both))
    after = secrets(both)
    assert [text(after[name], "metadata", "uid") for name in NAMES] == [
        text(before[name], "metadata", "uid") for name in NAMES
    ]
    assert {kind for kind, _ in changed(both, since)} == {"MODIFIED"}


def test_while_both_run_ours_waits_and_takes_over_when_the_original_has_gone(electing: Scene) -> None:
    before = made_by_the_original(electing)
    original = electing.holder()
    since = electing.here.version(electing.here.path_of_secret())
    electing.ours.start()
    electing.ours.wait_until(lambda: original in electing.ours.output.read_text(), seconds=20)
    assert changed(electing, since) == []

    electing.original.terminate()

    wait_until(lambda: electing.holder() != original, seconds=LEASE)
    wait_until(lambda: taken_over(electing))
    assert [substance(secret) for secret in secrets(electing).values()] == [
        substance(secret) for secret in before.values()
    ]
    assert changed(electing, since) == sorted(("MODIFIED", name) for name in NAMES)


def test_while_both_run_the_original_waits_and_takes_over_when_ours_has_gone(electing: Scene) -> None:
    path = electing.here.write("app", password="first")
    electing.here.define("app", {"pw": f"{path}#password"})
    electing.ours.start()
    electing.here.wait_for("app", {"pw": "first"})
    ours = electing.holder()
    electing.original.start()
    waiting = "attempting to acquire leader lease"
    electing.original.wait_until(lambda: waiting in electing.original.output.read_text(), seconds=20)
    electing.here.write("app", password="second")
    electing.here.wait_for("app", {"pw": "second"})
    assert electing.holder() == ours
    assert electing.finalizers("app") is None
    since = electing.here.version(electing.here.path_of_secret())

    electing.ours.terminate()

    wait_until(lambda: electing.finalizers("app") == [FINALIZER], seconds=LEASE)
    assert electing.holder() not in ("", ours)
    assert changed(electing, since) == []
    electing.here.write("app", password="third")
    electing.here.wait_for("app", {"pw": "third"})


def test_the_new_crd_may_come_first_and_stay_when_one_goes_back(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    own_control_plane.install(OLD)
    with scene(own_control_plane, openbao, tmp_path) as both:
        before = made_by_the_original(both)

        own_control_plane.apply(parse(msgspec.json.encode(crd.definition())))

        both.here.write("other", password="second")
        both.here.wait_for("plain", {"user": "shop", "pw": "second"})
        both.original.terminate()
        both.ours.start()
        for name in NAMES:
            both.here.wait_for_reason(name, "Synced")
        assert "has no status" not in both.ours.output.read_text()
        assert taken_over(both)
        both.ours.terminate()
        both.original.start()
        wait_until(lambda: all(both.finalizers(name) == [FINALIZER] for name in NAMES))
        assert [both.here.reason(name) for name in NAMES] == ["Synced"] * len(NAMES)
        assert [substance(secret) for name, secret in secrets(both).items() if name != "plain"] == [
            substance(secret) for name, secret in before.items() if name != "plain"
        ]
        both.here.cluster.delete(both.here.path_of_definition("plain"))
        both.here.wait_for("plain", None)


def test_back_under_the_original_a_definition_loses_the_fields_that_it_did_not_have(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    control_plane.install(parse(msgspec.json.encode(crd.definition())))
    with scene(control_plane, openbao, tmp_path) as both:
        path = both.here.write("app", password="first")
        place: Object = {"path": path, "key": "password", "version": 1}
        both.here.define_as_it_is("app", {"name": "app", "keysMap": {"pw": place}})

        both.original.start()

        wait_until(lambda: both.finalizers("app") == [FINALIZER])
        assert at(both.here.definition("app"), "spec", "keysMap", "pw") == {"path": path, "key": "password"}
