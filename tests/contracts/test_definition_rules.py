"""The CRD's rules on a real API server: it refuses what the controller refuses, with the same messages."""

import re
from http import HTTPStatus

import httpx
import msgspec
import pytest

from fake_kubernetes.documents import Object, items, parse, text
from secrets_manager.controller.spec import Spec
from tests.controller.specs import BAD, FAULTS_OF_SEVERAL, GOOD, KEY_RULE, PLACE, SEVERAL
from tests.definitions import CRD
from tests.gen import spec
from tests.real.cluster import ControlPlane


@pytest.fixture(scope="session")
def definitions(control_plane: ControlPlane) -> str:
    """Where definitions are made, in a namespace of their own."""
    control_plane.install(CRD)
    return f"/apis/secrets-manager.tuenti.io/v1alpha1/namespaces/{control_plane.namespace()}/secretdefinitions"


def refusals(cluster: ControlPlane, definitions: str, wanted: Spec) -> list[str]:
    """What the API server has against a definition: the message of each cause."""
    document: Object = {
        "apiVersion": "secrets-manager.tuenti.io/v1alpha1",
        "kind": "SecretDefinition",
        "metadata": {"name": "one"},
        "spec": parse(msgspec.json.encode(wanted)),
    }
    try:
        cluster.request("POST", f"{definitions}?dryRun=All", body=document)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
        return [text(cause, "message") for cause in items(parse(error.response.content), "details", "causes")]
    return []


def is_reported_by(fault: str, message: str) -> bool:
    """Whether the message of a cause has the words of the fault.

    Its field says already which part of the spec it is about. What can't be printed it does not show, or shows as it
    is; a long key it shows whole.
    """
    words = fault.partition(": ")[2] if re.match(r"(key|source) (\S+|'.*'): |\w+\[0\]: ", fault) else fault
    return message.endswith(words.rpartition("' ")[2] if "\\" in words or "..." in words else words)


@pytest.mark.parametrize("good", GOOD)
def test_what_can_be_is_taken(good: Spec, control_plane: ControlPlane, definitions: str) -> None:
    assert refusals(control_plane, definitions, good) == []


@pytest.mark.parametrize(("bad", "fault"), BAD)
def test_what_can_never_be_is_refused_in_the_words_of_the_condition(
    bad: Spec, fault: str, control_plane: ControlPlane, definitions: str
) -> None:
    (message,) = refusals(control_plane, definitions, bad)

    assert is_reported_by(fault, message), message


def test_all_faults_are_reported_at_once(control_plane: ControlPlane, definitions: str) -> None:
    messages = refusals(control_plane, definitions, SEVERAL)

    assert len(messages) == len(FAULTS_OF_SEVERAL)
    assert [
        fault for fault in FAULTS_OF_SEVERAL if not any(is_reported_by(fault, message) for message in messages)
    ] == []


def test_of_several_bad_keys_one_is_named(control_plane: ControlPlane, definitions: str) -> None:
    (message,) = refusals(control_plane, definitions, spec(keys={"a b": PLACE, "c d": PLACE, "good": PLACE}))

    rest = f"can't be a key of a Secret: {KEY_RULE}"
    assert message.endswith((f"spec.keysMap: 'a b' {rest}", f"spec.keysMap: 'c d' {rest}"))


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(spec(keys={f"{number:x}".rjust(253, "k"): PLACE for number in range(4_700)}), id="long keys"),
        pytest.param(spec(keys={f"k{number}": PLACE for number in range(3_000)}), id="many keys"),
    ],
)
def test_the_rules_cost_less_than_the_api_server_allows_however_large_a_definition_is(
    wanted: Spec, control_plane: ControlPlane, definitions: str
) -> None:
    assert refusals(control_plane, definitions, wanted) == []
