"""What the Go original leaves in a cluster is taken over: no Secret is lost, and none is rewritten without need.

The original is not needed for it: the_original.py does what it did, as recorded, unless the program itself is at hand.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from fake_kubernetes.documents import Object, at, items, text
from tests.definitions import CRD
from tests.process.running import Place, SecretsManager
from tests.process.the_original import FINALIZER, OLD, RECORDED, Original
from tests.real.cluster import ControlPlane, running_cluster
from tests.real.control_plane import binaries_or_skip
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao

WITH_SECRET = ("database", "web-tls")
WITHOUT_SECRET = "broken"


class Left(NamedTuple):
    """The place that the original has left, and our program, not started yet."""

    here: Place
    original: Original
    secrets: dict[str, Object]
    program: SecretsManager

    def finalizers(self, name: str) -> object:
        return at(self.here.definition(name), "metadata", "finalizers")

    def taken_over(self, name: str) -> bool:
        uid = text(self.here.definition(name), "metadata", "uid")
        owners = items(self.here.secret(name), "metadata", "ownerReferences")
        return [text(owner, "uid") for owner in owners] == [uid] and not self.finalizers(name)


@pytest.fixture(scope="module")
def old_cluster(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    with running_cluster(binaries_or_skip(pytestconfig)) as cluster:
        cluster.install(OLD)
        yield cluster


@contextmanager
def left_in(cluster: ControlPlane, bao: OpenBao, folder: Path) -> Generator[Left]:
    here = Place(cluster, bao, namespace=cluster.namespace())
    original = Original(here, folder)
    secrets = original.work(password="correct-horse")
    flags = (f"-watch-namespaces={here.namespace}", "-reconcile-period=500ms")
    environment = {"KUBECONFIG": str(cluster.kubeconfig), **here.vault}
    with SecretsManager(folder, flags=flags, environment=environment) as program:
        yield Left(here, original, secrets, program)


@pytest.fixture
def left(old_cluster: ControlPlane, openbao: OpenBao, tmp_path: Path) -> Iterator[Left]:
    with left_in(old_cluster, openbao, tmp_path) as made:
        yield made


def substance(secret: Object | None) -> Object:
    """What may not change: which object it is, and all that a pod sees of it."""
    assert secret
    return {"uid": text(secret, "metadata", "uid"), "type": secret["type"], "data": secret["data"]}


def test_each_secret_of_the_original_is_marked_as_owned_by_one_write_and_its_data_stay(left: Left) -> None:
    since = left.here.version(left.here.path_of_secret())

    left.program.started()

    wait_until(lambda: all(left.taken_over(name) for name in WITH_SECRET))
    for name in WITH_SECRET:
        assert substance(left.here.secret(name)) == substance(left.secrets[name])
    assert sorted(left.here.changes_of_secrets(since=since)) == [("MODIFIED", name) for name in WITH_SECRET]
    metadata = at(left.here.secret("database"), "metadata")
    assert (text(metadata, "annotations", "note"), text(metadata, "labels", "team")) == ("kept", "shop")
    assert left.program.output.read_text().count("the installed CRD has no status") == 1

    left.here.write("db", username="app", password="changed", blob="AAE=")
    wait_until(lambda: at(left.here.secret("database"), "data", "password") == "Y2hhbmdlZA==")


def test_definition_whose_source_is_missing_is_taken_over_when_it_comes(left: Left) -> None:
    left.program.started()
    wait_until(lambda: all(left.taken_over(name) for name in WITH_SECRET))
    assert left.here.secret(WITHOUT_SECRET) is None

    left.here.write("none", value="there")

    left.here.wait_for(WITHOUT_SECRET, {"k": "there"})
    wait_until(lambda: left.taken_over(WITHOUT_SECRET))


def test_back_to_the_original_and_forward_again_nothing_is_lost(left: Left) -> None:
    left.program.started()
    wait_until(lambda: all(left.taken_over(name) for name in WITH_SECRET))
    left.program.terminate()
    since = left.here.version(left.here.path_of_secret())

    back = left.original.work(password="second")

    assert left.here.changes_of_secrets(since=since) == [("MODIFIED", "database")]
    since = left.here.version(left.here.path_of_secret())
    left.program.started()
    wait_until(lambda: all(left.taken_over(name) for name in WITH_SECRET))
    assert left.here.changes_of_secrets(since=since) == [("MODIFIED", "database")]
    for name in WITH_SECRET:
        assert substance(left.here.secret(name)) == substance(back[name])
        assert substance(back[name])["uid"] == substance(left.secrets[name])["uid"]


def test_metrics_of_each_secret_go_on_under_the_same_names_and_labels(left: Left) -> None:
    def scraped() -> set[str]:
        lines = left.program.answer("/metrics").replace(left.here.namespace, "shop").splitlines()
        return {line.removesuffix(".0") for line in lines}

    recorded = [str(line) for line in items(RECORDED, "metrics")]
    statuses = {line for line in recorded if line.startswith("secrets_manager_controller_last_sync_status{")}
    (errors,) = (line for line in recorded if line.startswith("secrets_manager_controller_sync_errors_total{"))
    series = errors.partition("} ")[0]

    left.program.started()

    wait_until(lambda: statuses <= scraped())
    assert len([line for line in scraped() if line.startswith("secrets_manager_controller_last_sync_status{")]) == 3
    (count,) = (line.removeprefix(f"{series}}} ") for line in scraped() if line.startswith(series))
    assert int(count) >= 1


@pytest.mark.parametrize("name", [*WITH_SECRET, WITHOUT_SECRET])
def test_definition_that_was_deleted_while_nothing_ran_takes_its_secret_along(left: Left, name: str) -> None:
    path = left.here.path_of_definition(name)
    left.here.cluster.delete(path)
    assert left.finalizers(name) == [FINALIZER]
    others = {other for other in WITH_SECRET if other != name}

    left.program.started()

    left.here.wait_for(name, None)
    wait_until(lambda: left.here.cluster.find(path) is None)
    wait_until(lambda: all(left.taken_over(other) for other in others))


def test_new_crd_may_come_first(own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> None:
    own_control_plane.install(OLD)
    with left_in(own_control_plane, openbao, tmp_path) as left:
        own_control_plane.apply(CRD)

        left.program.started()

        for name in WITH_SECRET:
            left.here.wait_for_reason(name, "Synced")
            assert left.taken_over(name)
            assert substance(left.here.secret(name)) == substance(left.secrets[name])
        left.here.wait_for_reason(WITHOUT_SECRET, "SourceNotFound")
        assert "has no status" not in left.program.output.read_text()
