import json
import random

import msgspec
import pytest

from secrets_manager.controller.decision import Create, Patch, decide
from secrets_manager.controller.definition import SecretDefinition, Status
from secrets_manager.controller.rollout_restart import (
    RESTARTED_FOR,
    RESTARTS,
    Failure,
    Reason,
    RestartCondition,
    Restarts,
    expected,
    failure_of,
    record,
    restart,
)
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.controller.spec import InvalidSpec, RolloutRestartTarget
from secrets_manager.controller.workload import WORKLOADS, Workload, decode
from secrets_manager.kube.errors import Conflict, NotFound
from secrets_manager.kube.objects import ObjectMeta
from secrets_manager.kube.status import error_from_status
from tests.gen import NOW, current_secret, desired_secret, secret_definition, spec, synced_secret

WEB = RolloutRestartTarget(kind="Deployment", name="web")
DB = RolloutRestartTarget(kind="StatefulSet", name="db")
GONE = Failure(Reason.TARGET_NOT_FOUND, "Deployment web does not exist")


def definition(*targets: RolloutRestartTarget, restarted_for: str = "", secret_name: str = "") -> SecretDefinition:
    return secret_definition(
        wants=msgspec.structs.replace(spec(), rollout_restart_targets=targets),
        status=Status(restarted_for=restarted_for, secret_name=secret_name),
    )


def recorded(text: str) -> CurrentSecret:
    """The Secret with a record, unless that is empty."""
    return synced_secret(definition(), annotations={RESTARTS: text} if text else {})


def pending(*targets: RolloutRestartTarget, revision: str = "r1", failure: Failure | None = None) -> Restarts:
    return Restarts(uid="uid-of-db", secret="db", revision=revision, pending=dict.fromkeys(targets, failure))


@pytest.mark.parametrize(
    ("wants", "text", "before", "after"),
    [
        pytest.param(definition(WEB), "", None, pending(revision=""), id="never changed"),
        pytest.param(definition(WEB), "r1;Deployment/web", None, pending(WEB), id="changed"),
        pytest.param(definition(WEB, restarted_for="r1"), "r1;Deployment/web", None, pending(), id="done before"),
        pytest.param(definition(WEB), "r1;Deployment/web", pending(), pending(), id="done by this process"),
        pytest.param(definition(WEB, DB), "r1;Deployment/web", None, pending(WEB), id="target added since"),
        pytest.param(definition(WEB, DB), "r1;Deployment/web", pending(), pending(), id="target added after it"),
        pytest.param(
            definition(DB), "r1;Deployment/web,StatefulSet/db", pending(WEB, DB), pending(DB), id="target removed"
        ),
        pytest.param(definition(WEB), "", pending(WEB), pending(WEB), id="record removed by others"),
        pytest.param(definition(WEB), "r1;Job/web,;,web,/", None, pending(), id="record of others"),
        pytest.param(
            definition(WEB, restarted_for="r1"), "r2;Deployment/web", pending(), pending(WEB, revision="r2"), id="again"
        ),
        pytest.param(
            definition(WEB),
            "r2;Deployment/web",
            pending(WEB, failure=GONE),
            pending(WEB, revision="r2", failure=GONE),
            id="changed while it fails",
        ),
        pytest.param(
            definition(WEB),
            "r1;Deployment/web",
            msgspec.structs.replace(pending(), uid="its-predecessor"),
            pending(WEB),
            id="definition made again",
        ),
        pytest.param(
            definition(WEB),
            "",
            msgspec.structs.replace(pending(WEB), secret="former"),
            pending(revision=""),
            id="renamed",
        ),
    ],
)
def test_pending_restarts(wants: SecretDefinition, text: str, before: Restarts | None, after: Restarts) -> None:
    assert expected(wants, recorded(text), before) == after


def test_without_targets_nothing_is_pending_or_recorded() -> None:
    for without in (definition(), secret_definition(wants=InvalidSpec("spec can't be read"))):
        assert expected(without, recorded("r1;Deployment/web"), pending(WEB)) is None
    assert record((), random.Random(0)) == ""


@pytest.mark.parametrize("secret", [None, current_secret("db", annotations={RESTARTS: "r1;Deployment/web"})])
def test_record_on_a_secret_that_is_not_ours_says_nothing(secret: CurrentSecret | None) -> None:
    assert expected(definition(WEB), secret, None) == pending(revision="")


def test_record_has_each_target_once_and_a_revision_of_its_own() -> None:
    chance = random.Random(0)
    first, second = record((WEB, DB, WEB), chance), record((WEB, DB, WEB), chance)

    assert first.partition(";")[2] == second.partition(";")[2] == "Deployment/web,StatefulSet/db"
    assert first.partition(";")[0] != second.partition(";")[0]


@pytest.mark.parametrize(
    ("restarts", "condition"),
    [
        (pending(), RestartCondition("True", Reason.UP_TO_DATE, "No workload has to be restarted for Secret db")),
        (
            pending(WEB, DB),
            RestartCondition(
                "Unknown", Reason.PENDING, "Secret db has changed: to be restarted: Deployment web, StatefulSet db"
            ),
        ),
        (pending(WEB, DB).failed(WEB, GONE), RestartCondition("False", Reason.TARGET_NOT_FOUND, GONE.message)),
        (
            pending(WEB, DB, failure=GONE),
            RestartCondition("False", Reason.TARGET_NOT_FOUND, f"{GONE.message} (and 1 more of its targets)"),
        ),
        (pending(WEB, failure=GONE).restarted(WEB), pending().condition),
    ],
)
def test_condition_of_the_restarts(restarts: Restarts, condition: RestartCondition) -> None:
    assert restarts.condition == condition


def workload(annotations: dict[str, str] | None = None) -> Workload:
    metadata = ObjectMeta(name="web", namespace="shop", resource_version="7")
    return Workload(metadata=metadata, template_annotations=annotations or {})


@pytest.mark.parametrize(
    ("present", "revisions", "after"),
    [
        ("", {"db": "r1"}, {"db": "r1"}),
        ('{"db": "r1"}', {"db": "r1"}, None),
        ('{"db": "r1", "api": "r2"}', {"db": "r1"}, None),
        ('{"db": "r1", "api": "r2"}', {"db": "r3"}, {"api": "r2", "db": "r3"}),
        ('{"db": "r1", "api": "r2"}', {"db": "r1", "api": "r3"}, {"api": "r3", "db": "r1"}),
        ('{"gone": "r1"}', {"db": "r1"}, {"db": "r1"}),
        ('{"gone": "r1", "db": "r1"}', {"db": "r1"}, None),
        ("once", {"db": "r1"}, {"db": "r1"}),
        ('{"db": 1}', {"db": "r1"}, {"db": "r1"}),
        ("[]", {"db": "r1"}, {"db": "r1"}),
    ],
)
def test_a_restart_is_recorded_on_the_pod_template(
    present: str, revisions: dict[str, str], after: dict[str, str] | None
) -> None:
    patch = restart(workload({RESTARTED_FOR: present} if present else {}), revisions, exists=("db", "api").__contains__)

    if after is None:
        assert patch is None
        return
    text = json.dumps(after, separators=(",", ":"))
    assert patch == {
        "metadata": {"resourceVersion": "7"},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_FOR: text}}}},
    }


@pytest.mark.parametrize(
    "template", ["", '"template": {}', '"template": {"metadata": {"annotations": null}}', '"template": {"spec": {}}']
)
def test_workload_may_have_no_annotations(template: str) -> None:
    raw = f'{{"metadata": {{"name": "web", "namespace": "shop", "resourceVersion": "7"}}, "spec": {{{template}}}}}'

    assert decode(raw.encode()) == workload()


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"metadata": {}}'])
def test_what_is_no_workload_is_an_error(raw: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(raw)


def test_workloads_are_found_at_their_paths() -> None:
    assert {kind: resource.path("shop", "web") for kind, resource in WORKLOADS.items()} == {
        "Deployment": "/apis/apps/v1/namespaces/shop/deployments/web",
        "StatefulSet": "/apis/apps/v1/namespaces/shop/statefulsets/web",
        "DaemonSet": "/apis/apps/v1/namespaces/shop/daemonsets/web",
    }


def test_failures_name_the_target_and_the_next_step() -> None:
    assert failure_of(WEB, NotFound("no such thing", code=404)) == Failure(
        Reason.TARGET_NOT_FOUND,
        "Deployment web does not exist: create it, or remove it from spec.rolloutRestartTargets",
    )
    assert failure_of(WEB, Conflict("PATCH: conflict", code=409)) == Failure(
        Reason.FAILED, "Deployment web can't be restarted, and is tried again: PATCH: conflict"
    )


RBAC = 'deployments.apps "web" is forbidden: User "sm" cannot patch resource "deployments" in API group "apps"'
WEBHOOK = 'admission webhook "calm" denied the request: no restarts on Fridays'


@pytest.mark.parametrize(
    ("message", "step"),
    [
        (RBAC, "set rbac.rolloutRestart of the chart, or apply the component deploy/rollout-restart"),
        (
            WEBHOOK,
            "let the policy or webhook that denies it allow the controller to change annotations of the pod template",
        ),
    ],
)
def test_refusal_names_the_step_that_lifts_it(message: str, step: str) -> None:
    body = msgspec.json.encode({"kind": "Status", "reason": "Forbidden", "message": message})
    error = error_from_status(403, {}, body, request="PATCH")

    assert failure_of(WEB, error) == Failure(
        Reason.TARGET_FORBIDDEN, f"Deployment web can't be restarted: PATCH: 403 Forbidden: {message}: {step}"
    )


# What is recorded on the Secret, and when


def written(
    wants: SecretDefinition,
    current: CurrentSecret | None,
    before: CurrentSecret | None = None,
    *,
    restarts: str = "r2;",
) -> object:
    """The record in the write that follows: None where it is removed, False where the write is silent about it."""
    match decide(wants, desired_secret({"pw": "new"}), current, now=NOW, before=before, restarts=restarts):
        case Create(secret):
            return secret.metadata.annotations.get(RESTARTS, False)
        case Patch(_, {"metadata": {"annotations": dict(annotations)}}):
            return annotations.get(RESTARTS, False)
        case other:
            return other


SAME = {"pw": "new"}


def secret(data: dict[str, str], *, text: str = "") -> CurrentSecret:
    return synced_secret(definition(), data, annotations={RESTARTS: text} if text else {})


@pytest.mark.parametrize(
    ("current", "record_"),
    [
        (secret({"pw": "old"}), "r2;"),
        (secret({"pw": "old"}, text="r1;"), "r2;"),
        (secret(SAME, text="r1;"), False),
    ],
)
def test_changed_data_is_written_with_the_record(current: CurrentSecret, record_: object) -> None:
    assert written(secret_definition(labels={"new": "1"}), current) == record_


@pytest.mark.parametrize(("text", "record_"), [("", False), ("r1;", None)])
def test_without_targets_a_record_is_removed_with_the_next_change(text: str, record_: object) -> None:
    assert written(definition(), secret({"pw": "old"}, text=text), restarts="") == record_


@pytest.mark.parametrize(
    ("secret_name", "before", "record_"),
    [
        pytest.param("", None, False, id="first creation"),
        pytest.param("former", None, False, id="renamed"),
        pytest.param("db", None, "r2;", id="gone since the last sync"),
        pytest.param("db", secret({"pw": "old"}, text="r1;"), "r2;", id="replaced, with other data"),
        pytest.param("db", secret(SAME, text="r1;"), "r1;", id="replaced, with the same data"),
        pytest.param("db", secret(SAME), False, id="replaced, with the same data and no record"),
    ],
)
def test_a_new_secret_has_the_record_if_its_users_had_other_data(
    secret_name: str, before: CurrentSecret | None, record_: object
) -> None:
    assert written(definition(WEB, secret_name=secret_name), None, before) == record_
