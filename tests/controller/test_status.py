import msgspec
import pytest

from secrets_manager.backends.base import Source
from secrets_manager.controller.definition import Condition, Reason, SourceStatus, Status
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.rollout_restart import Restarts
from secrets_manager.controller.spec import RolloutRestartTarget
from secrets_manager.controller.status import InSync, Outcome, SyncState, next_state, next_status
from tests.gen import LATER, NOW, secret_definition

FIRST_SYNC = InSync("db", {Source("secret/data/db"): 3, Source("kv1/app"): None}, wrote=True, warning="")
AT_REST = FIRST_SYNC._replace(wrote=False, warning=None)
WEB = RolloutRestartTarget(kind="Deployment", name="web")
PROBLEM = Problem(Reason.SOURCE_FORBIDDEN, "key pw: not allowed")
FOREIGN = Condition(type="Approved", status="True", reason="Approved", last_transition_time=NOW)

SYNCED = Status(
    conditions=(
        Condition(
            type="Ready",
            status="True",
            reason="Synced",
            message="Secret db is in sync",
            last_transition_time=NOW,
            observed_generation=1,
        ),
    ),
    observed_generation=1,
    last_sync_time=NOW,
    secret_name="db",
    sources=(SourceStatus(path="kv1/app"), SourceStatus(path="secret/data/db", version=3)),
)
NOT_READY = Condition(
    type="Ready",
    status="False",
    reason="SourceForbidden",
    message="key pw: not allowed",
    last_transition_time=LATER,
    observed_generation=1,
)
FAILED = (NOT_READY, msgspec.structs.replace(NOT_READY, type="Reconciling", status="True"))


def after(status: Status, *outcomes: Outcome, generation: int = 1, now: str = LATER) -> Status:
    """The status after these outcomes in one process, each of which was written."""
    result: SyncState | None = None
    for outcome in outcomes:
        definition = secret_definition(status=status, generation=generation)
        result = next_state(definition, outcome, before=result, now=now)
        status = next_status(definition, result)
    return status


def test_first_sync_says_what_was_made_of_what() -> None:
    assert after(Status(), FIRST_SYNC, now=NOW) == SYNCED


def test_first_failure_says_why() -> None:
    assert after(Status(), PROBLEM) == Status(conditions=FAILED, observed_generation=1)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(SYNCED, AT_REST), (after(Status(), PROBLEM, now=NOW), PROBLEM), (after(SYNCED, PROBLEM), PROBLEM)],
)
def test_at_rest_nothing_changes(status: Status, outcome: Outcome) -> None:
    assert after(status, outcome, now="2030-01-01T00:00:00Z") == status


def test_write_moves_the_time_of_the_sync_alone() -> None:
    assert after(SYNCED, FIRST_SYNC) == msgspec.structs.replace(SYNCED, last_sync_time=LATER)


PEM = "tls: failed to find any PEM data in certificate input"


def ready_message(status: Status) -> str:
    assert status.ready is not None
    return status.ready.message


def test_what_kubernetes_warns_of_is_reported_until_the_next_write() -> None:
    warned = after(SYNCED, FIRST_SYNC._replace(warning=PEM))

    assert ready_message(warned) == f"Secret db is in sync, and Kubernetes warns: {PEM}"
    assert after(warned, AT_REST) == warned  # by the next process
    assert after(SYNCED, FIRST_SYNC._replace(warning=PEM), AT_REST) == warned
    assert ready_message(after(SYNCED, FIRST_SYNC._replace(warning=PEM), PROBLEM, AT_REST)) == ready_message(warned)
    assert ready_message(after(warned, FIRST_SYNC)) == "Secret db is in sync"
    assert ready_message(after(warned, FIRST_SYNC._replace(warning="another"), AT_REST)).endswith("warns: another")


def test_warning_may_hold_the_words_that_lead_to_it() -> None:
    warned = after(SYNCED, FIRST_SYNC._replace(warning=f"{PEM}, and Kubernetes warns: twice"))

    assert after(warned, AT_REST) == warned


def test_secret_that_is_found_equal_before_there_is_a_status_comes_without_a_warning() -> None:
    assert ready_message(after(Status(), AT_REST)) == "Secret db is in sync"


def test_result_of_a_definition_that_was_recreated_knows_nothing_of_the_one_before() -> None:
    before = next_state(secret_definition(uid="its-predecessor"), FIRST_SYNC, before=None, now=NOW)

    after_that = next_state(secret_definition(), PROBLEM, before=before, now=LATER)

    assert (after_that.synced, after_that.synced_at) == (None, "")
    assert next_status(secret_definition(), after_that).secret_name == ""


def test_what_was_warned_of_another_secret_is_not_reported() -> None:
    warned = after(SYNCED, FIRST_SYNC._replace(warning=PEM))
    renamed = AT_REST._replace(secret_name="db-2")

    assert ready_message(after(warned, renamed)) == "Secret db-2 is in sync"
    assert ready_message(after(SYNCED, FIRST_SYNC._replace(warning=PEM), renamed)) == "Secret db-2 is in sync"


def test_new_version_with_equal_content_counts_as_a_sync() -> None:
    newer = InSync("db", {Source("secret/data/db"): 4, Source("kv1/app"): None}, wrote=False)

    assert after(SYNCED, newer) == msgspec.structs.replace(
        SYNCED,
        last_sync_time=LATER,
        sources=(SourceStatus(path="kv1/app"), SourceStatus(path="secret/data/db", version=4)),
    )


@pytest.mark.parametrize(
    ("restarts", "shown"),
    [
        pytest.param(None, "r1", id="without targets"),
        pytest.param(Restarts(uid="1", secret="db"), "r1", id="of a Secret without a revision"),
        pytest.param(Restarts(uid="1", secret="db", revision="r2", pending={WEB: None}), "r1", id="pending"),
        pytest.param(Restarts(uid="1", secret="db", revision="r2"), "r2", id="done"),
    ],
)
def test_revision_is_the_last_that_all_targets_were_restarted_for(restarts: Restarts | None, shown: str) -> None:
    definition = secret_definition(status=msgspec.structs.replace(SYNCED, restarted_for="r1"))

    result = next_state(definition, AT_REST, restarts, before=None, now=LATER)

    assert next_status(definition, result).restarted_for == shown


def test_new_generation_with_equal_content_counts_as_a_sync() -> None:
    ready = msgspec.structs.replace(SYNCED.conditions[0], observed_generation=2)

    assert after(SYNCED, AT_REST, generation=2) == msgspec.structs.replace(
        SYNCED, conditions=(ready,), observed_generation=2, last_sync_time=LATER
    )


def test_write_that_only_the_secret_records_counts_as_a_sync() -> None:
    assert after(SYNCED, AT_REST._replace(written_at=LATER)) == msgspec.structs.replace(SYNCED, last_sync_time=LATER)


@pytest.mark.parametrize("time", ["", NOW, "9999-12-31T23:59:59Z", "once"])
def test_time_that_a_secret_can_not_have_been_written_at_counts_for_nothing(time: str) -> None:
    assert after(SYNCED, AT_REST._replace(written_at=time)) == SYNCED


def test_failure_leaves_what_it_says_of_the_secret_that_is_there() -> None:
    assert after(SYNCED, PROBLEM) == msgspec.structs.replace(SYNCED, conditions=FAILED)


def test_another_failure_changes_reason_and_message_and_not_since_when() -> None:
    failed = after(SYNCED, PROBLEM, now=NOW)

    assert after(failed, Problem(Reason.SOURCE_NOT_FOUND, "no such path")).conditions == tuple(
        msgspec.structs.replace(each, reason="SourceNotFound", message="no such path", last_transition_time=NOW)
        for each in FAILED
    )


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.SYNCED])
def test_one_condition_says_whether_a_new_try_can_help(reason: Reason) -> None:
    ready, beside = after(SYNCED, Problem(reason, "why")).conditions

    stays = {"DefinitionInvalid", "DefinitionTerminating", "PathNotAllowed", "SecretNotOwned"}
    assert (beside.type, beside.status) == ("Stalled" if reason in stays else "Reconciling", "True")
    assert (ready.type, ready.status) == ("Ready", "False")
    assert (beside.reason, beside.message, beside.observed_generation) == (reason, "why", 1)


def test_problem_of_the_other_kind_exchanges_the_condition_beside_ready_and_leaves_its_time() -> None:
    tried = after(SYNCED, PROBLEM, now=NOW)
    stalled = after(tried, Problem(Reason.SECRET_NOT_OWNED, "whose"))
    again = after(stalled, PROBLEM, now=NOW)

    assert [(each.type, each.last_transition_time) for each in stalled.conditions] == [
        ("Ready", NOW),
        ("Stalled", LATER),
    ]
    assert again == tried


def test_recovery_without_a_write_is_a_sync_of_now() -> None:
    recovered = msgspec.structs.replace(SYNCED.conditions[0], last_transition_time=LATER)

    assert after(SYNCED, PROBLEM, AT_REST) == msgspec.structs.replace(
        SYNCED, conditions=(recovered,), last_sync_time=LATER
    )


@pytest.mark.parametrize("outcome", [FIRST_SYNC, PROBLEM])
def test_conditions_of_others_stay_in_their_place(outcome: Outcome) -> None:
    second = Condition(type="Audited", status="False")
    before = msgspec.structs.replace(SYNCED, conditions=(FOREIGN, *SYNCED.conditions, second))
    ready, *beside = after(SYNCED, outcome).conditions

    assert after(before, outcome).conditions == (FOREIGN, ready, second, *beside)


def test_ready_comes_after_the_conditions_that_are_there() -> None:
    assert after(Status(conditions=(FOREIGN,)), PROBLEM).conditions == (FOREIGN, *FAILED)


def test_order_of_sources_is_the_same_whatever_order_they_were_read_in() -> None:
    sources: dict[Source, int | str | None] = {Source(f"secret/data/{letter}"): 1 for letter in "cab"}
    backwards = dict(reversed(sources.items()))

    assert after(SYNCED, InSync("db", sources, wrote=True)) == after(SYNCED, InSync("db", backwards, wrote=True))


def test_sources_are_left_out_that_make_the_status_too_large_for_the_store_of_kubernetes() -> None:
    paths = sorted(f"secret/data/{number:04}/{'é' * 2000}" for number in range(1000))
    large: dict[Source, int | str | None] = {Source(path): 1 for path in paths}
    status = after(SYNCED, InSync("db", large, wrote=True))

    assert [source.path for source in status.sources] == paths[: len(status.sources)]
    assert 120 * 1024 < len(msgspec.json.encode(status.sources)) <= 128 * 1024


def test_sources_of_usual_length_are_all_there() -> None:
    usual: dict[Source, int | str | None] = {
        Source(f"secret/data/shop/production/application-{number}/database/credentials"): 1234 for number in range(1000)
    }

    assert len(after(SYNCED, InSync("db", usual, wrote=True)).sources) == 1000


@pytest.mark.parametrize(
    ("length", "shown"), [(1024, "x" * 1024), (1025, "x" * 1021 + "..."), (9999, "x" * 1021 + "...")]
)
def test_long_message_is_cut(length: int, shown: str) -> None:
    ready, reconciling = after(Status(), Problem(Reason.SECRET_REJECTED, "x" * length)).conditions

    assert ready.message == reconciling.message == shown


def test_message_with_a_long_warning_is_cut_and_stays_for_the_next_process() -> None:
    warned = after(SYNCED, FIRST_SYNC._replace(warning="x" * 9999))

    assert len(ready_message(warned)) == 1024
    assert after(warned, AT_REST) == warned
