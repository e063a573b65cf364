"""Definitions that are older than the rules of the CRD: they stay, say all that is wrong, can be mended and deleted."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import msgspec
import pytest

from fake_kubernetes.documents import Object, at, items, parse, text
from secrets_manager.controller import crd
from tests.controller.specs import FAULTS_OF_SEVERAL, SEVERAL
from tests.definitions import CRD
from tests.process.running import API_VERSION, World
from tests.process.the_original import FINALIZER, OLD, PATH_OF_CRD, install_as_upgraded
from tests.real.cluster import ControlPlane
from tests.real.kube_api import wait_until
from tests.real.openbao import OpenBao

FAULTS = [fault for fault in FAULTS_OF_SEVERAL if "refreshInterval" not in fault]
"""The CRD of the original knows no refreshInterval, and drops it."""


def broken(here: World, name: str) -> Object:
    """A definition as the original left it, with everything wrong that its CRD let pass."""
    return {
        "apiVersion": API_VERSION,
        "kind": "SecretDefinition",
        "metadata": {"name": name, "namespace": here.namespace, "finalizers": [FINALIZER]},
        "spec": parse(msgspec.json.encode(SEVERAL)),
        "status": {},
    }


def is_refused(here: World) -> bool:
    with suppress(httpx.HTTPStatusError):
        path = here.path_of_definition("").removesuffix("/")
        here.cluster.request("POST", f"{path}?dryRun=All", body=broken(here, "tried"))
        return False
    return True


@pytest.fixture
def here(own_control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path) -> Iterator[World]:
    own_control_plane.install(OLD)
    made = World(own_control_plane, openbao, tmp_path)
    for name in ("mended", "deleted"):
        own_control_plane.create(broken(made, name))
    own_control_plane.apply(CRD)
    wait_until(lambda: is_refused(made))
    with made.program:
        yield made


def test_old_definitions_that_break_the_rules_live_on(here: World) -> None:
    path = here.path_of_definition("mended")
    here.program.started()

    for name in ("mended", "deleted"):
        here.wait_for_reason(name, "DefinitionInvalid")
        assert here.message(name) == "; ".join(FAULTS)
    conditions = items(here.definition("mended"), "status", "conditions")
    assert [text(each, "type") for each in conditions] == ["Ready", "Stalled"]

    changes: list[Object] = [
        {"labels": {"team": "shop"}},
        {"annotations": {"note": "kept"}},
        {"finalizers": [FINALIZER, "example.com/held"]},
    ]
    for metadata in changes:
        here.cluster.patch(path, {"metadata": metadata})
    with pytest.raises(httpx.HTTPStatusError, match="can't be the name of a Secret"):
        here.cluster.patch(path, {"spec": {"name": "Another_Bad_Name"}})

    here.cluster.delete(here.path_of_definition("deleted"))
    wait_until(lambda: here.cluster.find(here.path_of_definition("deleted")) is None)

    source: Object = {"path": here.write("app", k="value"), "key": "k"}
    here.cluster.patch(
        path, {"spec": {"name": "app", "type": None, "keysMap": {"a b": None, "tls.key": None, "pw": source}}}
    )
    here.wait_for("app", {"pw": "value"})
    here.wait_for_reason("mended", "Synced")


@pytest.mark.parametrize("options", [(), ("--server-side", "--force-conflicts")], ids="".join)
def test_the_crd_is_applied_over_that_of_the_original_which_an_old_cluster_keeps(
    own_control_plane: ControlPlane, options: tuple[str, ...]
) -> None:
    install_as_upgraded(own_control_plane)

    own_control_plane.kubectl("apply", *options, "-f", "-", stdin=crd.manifest())

    assert not at(own_control_plane.get(PATH_OF_CRD), "spec", "preserveUnknownFields")
