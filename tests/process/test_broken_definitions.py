"""A broken definition concerns itself alone: of ten, nine are in sync, and the tenth says what is wrong.

What the API server refuses by itself, only definitions have that are older than its rules: see test_old_definitions.py.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from fake_kubernetes.documents import Json, Object
from tests.process.running import World, world
from tests.real.cluster import ControlPlane
from tests.real.openbao import OpenBao

Break = Callable[[World], str]
"""Makes the definition `broken`. Returns the message that it must get."""


def missing_path(here: World) -> str:
    path = f"{here.home}/nowhere"
    here.define("broken", {"k": f"{path}#k"})
    return f"key k: path '{path}' does not exist in Vault: write it, or correct the path"


def missing_key(here: World) -> str:
    path = here.write("source", other="value")
    here.define("broken", {"k": f"{path}#absent"})
    return f"key k: 'absent' at {path} does not exist: write it, or correct the name"


def null(here: World) -> str:
    path = here.write("source", k=None)
    here.define("broken", {"k": f"{path}#k"})
    return f"key k: 'k' at {path} is null: give it a value, or remove the key here"


def bad_base64(here: World) -> str:
    path = here.write("source", k="canary!")
    here.define_as_it_is("broken", spec({"k": {"path": path, "key": "k", "encoding": "base64"}}))
    return f"key k: 'k' at {path}: the value is not base64: encode it, or remove encoding: base64"


def too_large(here: World) -> str:
    path = here.write("source", k="x" * 700_000)
    here.define("broken", {"a": f"{path}#k", "b": f"{path}#k"})
    return "the values are 1400000 bytes together, and a Secret holds 1048576: split it into several"


def foreign(here: World) -> str:
    metadata: Object = {"name": "broken", "namespace": here.namespace}
    here.cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    path = here.write("source", k="value")
    here.define("broken", {"k": f"{path}#k"})
    return (
        "Secret broken was not made by secrets-manager: delete or rename it, "
        "or annotate this definition with secrets-manager.tuenti.io/adopt=true to take it over"
    )


def forbidden(here: World) -> str:
    here.define("broken", {"k": "secret/data/of-another-team#k"})
    return (
        "key k: path 'secret/data/of-another-team' is forbidden by Vault's policies: "
        "allow reading it to the controller's role"
    )


def outside_the_engine(here: World) -> str:
    here.define("broken", {"k": "sys/raw/core#k"})
    return "key k: path 'sys/raw/core' is under sys/, which belongs to Vault itself: correct the path"


def spec(keys_map: Object) -> Json:
    return {"name": "broken", "keysMap": keys_map}


WAYS: list[tuple[Break, str]] = [
    (missing_path, "SourceNotFound"),
    (missing_key, "SourceNotFound"),
    (null, "SourceInvalid"),
    (bad_base64, "SourceInvalid"),
    (too_large, "SecretRejected"),
    (foreign, "SecretNotOwned"),
    (forbidden, "SourceForbidden"),
    (outside_the_engine, "SourceInvalid"),
]


@pytest.mark.parametrize(("break_one", "reason"), WAYS, ids=[way.__name__ for way, _ in WAYS])
def test_nine_of_ten_are_in_sync_and_the_tenth_says_why_not(
    break_one: Break, reason: str, control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        message = break_one(here)
        healthy = [f"healthy-{number}" for number in range(9)]
        for name in healthy:
            here.define(name, {"k": here.write(name, k=name) + "#k"})
        before = here.secret("broken")

        here.program.started()

        for name in healthy:
            here.wait_for(name, {"k": name})
        here.wait_for_reason("broken", reason)
        assert here.message("broken") == message
        assert here.secret("broken") == before
        for name in healthy:
            here.wait_for_reason(name, "Synced")


def test_a_definition_recovers_when_its_source_does_and_keeps_its_secret_meanwhile(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with world(control_plane, openbao, tmp_path) as here:
        path = here.write("source", k="first")
        here.define("app", {"k": f"{path}#k"})
        here.program.started()
        here.wait_for("app", {"k": "first"})

        openbao.delete_kv(path)
        here.wait_for_reason("app", "SourceNotFound")
        assert here.values("app") == {"k": "first"}

        here.write("source", k="second")
        here.wait_for("app", {"k": "second"})
        here.wait_for_reason("app", "Synced")
