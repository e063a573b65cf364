"""What `plan` takes for the definition that a manifest would make. tests/process/ compares it with kubectl."""

import msgspec
import pytest

from fake_kubernetes.documents import Json, Object
from secrets_manager.controller.rules import LAST_APPLIED
from secrets_manager.explain.applied import Existing, applied, decode
from secrets_manager.kube.objects import ObjectMeta
from tests.gen import secret_definition, spec

OURS = {"team": "shop"}


def existing(*, labels: dict[str, str], last_applied: Json = None) -> Existing:
    annotations: Object = {"note": "theirs"}
    if last_applied is not None:
        text = last_applied if isinstance(last_applied, str) else msgspec.json.encode(last_applied).decode()
        annotations[LAST_APPLIED] = text
    metadata: Object = {"name": "db", "namespace": "shop", "uid": "u", "generation": 4, "labels": {**labels}}
    status: Object = {"secretName": "before"}
    return decode(
        msgspec.json.encode(
            {"metadata": {**metadata, "annotations": annotations}, "spec": {"name": "before"}, "status": status}
        )
    )


def test_the_spec_is_that_of_the_manifest_and_identity_and_status_are_those_of_the_cluster() -> None:
    manifest = secret_definition("db", uid="of-the-file", wants=spec("new"))

    result = applied(manifest, existing(labels={}))

    assert result.spec == manifest.spec
    assert (result.metadata.uid, result.metadata.generation, result.status.secret_name) == ("u", 4, "before")


def test_a_new_definition_has_nothing_that_only_the_server_sets() -> None:
    manifest = secret_definition("db", uid="of-the-file", labels=OURS, deletion_timestamp="2026-01-01T00:00:00Z")

    assert applied(manifest, None).metadata == ObjectMeta(
        name="db", namespace="shop", labels=OURS, uid="not created yet: shop/db"
    )


def test_marks_of_others_stay() -> None:
    result = applied(secret_definition("db", labels=OURS), existing(labels={"theirs": "yes", "team": "old"}))

    assert result.metadata.labels == {"theirs": "yes", "team": "shop"}
    assert result.metadata.annotations == {"note": "theirs"}


def test_marks_that_the_manifest_has_lost_go() -> None:
    before: Object = {"metadata": {"labels": {"team": "old", "gone": "x"}, "annotations": {"note": "theirs"}}}

    result = applied(secret_definition("db"), existing(labels={"team": "old", "kept": "y"}, last_applied=before))

    assert result.metadata.labels == {"kept": "y"}
    assert result.metadata.annotations == {}


@pytest.mark.parametrize("record", ["{", "[]", '{"metadata": {"labels": 1}}'])
def test_a_broken_record_of_the_last_manifest_counts_as_none(record: str) -> None:
    assert applied(secret_definition("db"), existing(labels={"a": "b"}, last_applied=record)).metadata.labels == {
        "a": "b"
    }
