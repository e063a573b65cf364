"""Secrets that resemble a definition's in a real cluster: people copy them, and the garbage collector misses some."""

import time
from pathlib import Path

from fake_kubernetes.documents import text
from tests.process.running import World, world
from tests.real.cluster import ControlPlane
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao


def notes(here: World) -> list[str]:
    """List the notes of the Events about Secrets that are left alone."""
    listed = here.cluster.list(f"/apis/events.k8s.io/v1/namespaces/{here.namespace}/events")
    return [text(each, "note") for each in listed if text(each, "reason") == "SecretLeftAlone"]


def copy(here: World, name: str, new_name: str) -> None:
    """By `kubectl get -o json`, another name, and `kubectl apply`."""
    shown = here.kubectl("get", "secret", name, "-o", "json")
    renamed = shown.replace(f'"name": "{name}",\n        "namespace"', f'"name": "{new_name}",\n        "namespace"')
    assert renamed != shown
    here.cluster.kubectl("apply", "-f", "-", stdin=renamed)


def test_a_copy_made_with_kubectl_is_left_alone_and_reported_once(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        here.define("app", {"k": here.write("app", k="first") + "#k"})
        here.program.started()
        here.wait_for("app", {"k": "first"})

        copy(here, "app", "backup")
        wait_until(lambda: notes(here) != [])
        here.cluster.patch(here.path_of_definition("app"), {"spec": {"name": "renamed"}})
        here.wait_for("app", None)

        assert (here.values("renamed"), here.values("backup")) == ({"k": "first"}, {"k": "first"})
        (note,) = notes(here)
        assert note.startswith("Secret backup has the label and the owner of this definition")


def test_what_the_garbage_collector_missed_goes(
    own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    """It takes a definition that was made again for the same one when it has to list again."""
    with world(own_control_plane, openbao, tmp_path) as here:
        place = here.write("app", k="first") + "#k"
        made = here.define("app", {"k": place})
        here.program.started()
        here.wait_for("app", {"k": "first"})
        here.cluster.patch(here.path_of_definition("app"), {"spec": {"name": "renamed"}})
        here.wait_for("app", None)
        here.program.kill()

        own_control_plane.controllers.pause()
        own_control_plane.restart()  # its watches are cut
        own_control_plane.delete(here.path_of_definition("app"))
        again = here.define("app", {"k": place})
        own_control_plane.restart()  # the versions that they would go on from are forgotten
        own_control_plane.controllers.resume()
        time.sleep(5)
        assert text(made, "metadata", "uid") != text(again, "metadata", "uid")
        assert here.values("renamed") == {"k": "first"}

        here.program.started()
        here.wait_for("app", {"k": "first"})
        here.wait_for("renamed", None)
