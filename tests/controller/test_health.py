from math import inf
from random import Random

import pytest

from secrets_manager.backends.base import RateLimited, Source, Unavailable
from secrets_manager.backoff import Backoff
from secrets_manager.controller import health
from secrets_manager.controller.health import Doubted, Down, Health, Probing, Up
from secrets_manager.controller.read_policy import ReadPolicy

A, B, C, D = (Source(f"secret/data/{name}") for name in "abcd")
SHOP, BANK, BOTH = frozenset({"shop"}), frozenset({"bank"}), frozenset({"shop", "bank"})
POLICY = ReadPolicy(failure_threshold=3, probe=Backoff(initial=1.0, maximum=8.0, jitter=0.0))
SEALED = Unavailable.of_store("Vault is sealed")
DOWN = Down(SEALED, probe_at=10.0)
PROBING = Probing(DOWN)


def failed(
    before: Health,
    *sources: Source,
    error: Unavailable = SEALED,
    probe: bool = False,
    in_use: int = 40,
    users: frozenset[str] = SHOP,
    others: frozenset[str] = frozenset(),
    failing: frozenset[Source] = frozenset(),
    now: float = 0.0,
) -> Health:
    """The health after reads of these sources have failed, one after the other. `others` have a sound source each."""
    for source in sources:
        before = health.failed(
            before,
            source,
            error,
            probe=probe,
            in_use=in_use,
            users=users,
            sound_outside=lambda namespaces: not others <= namespaces,
            failing=failing,
            now=now,
            policy=POLICY,
            random=Random(0),
        )
        failing |= {source}
    return before


def test_source_that_always_fails_says_nothing_of_the_store() -> None:
    assert failed(Up(), *[A] * 100) == Up(frozenset({A}), SHOP)


def test_as_many_different_sources_in_a_row_as_the_policy_suspects_do() -> None:
    after = failed(Up(), A, B, A, C, now=5.0)

    assert isinstance(after, Down)
    assert (str(after.error), after.probe_at, after.probes) == ("Vault is sealed", 6.0, 0)


def test_an_answer_between_starts_the_count_again() -> None:
    assert failed(health.answered(failed(Up(), A, B)), C, D) == Up(frozenset({C, D}), SHOP)


@pytest.mark.parametrize(("in_use", "suspects"), [(0, 1), (1, 1), (2, 2), (3, 3), (40, 3)])
def test_where_fewer_sources_are_in_use_all_of_them_suffice(in_use: int, suspects: int) -> None:
    assert isinstance(failed(Up(), *[A, B, C][: suspects - 1], in_use=in_use), Up)
    assert isinstance(failed(Up(), *[A, B, C][:suspects], in_use=in_use), Down)


def test_failing_sources_that_fail_again_say_nothing_of_the_store() -> None:
    state = Up(frozenset({D}))

    assert failed(state, A, B, C, failing=frozenset({A, B, C, D})) is state


@pytest.mark.parametrize(("in_use", "suspects"), [(2, 1), (3, 1), (4, 2), (5, 3), (40, 3)])
def test_where_fewer_sources_are_not_failing_all_of_these_suffice(in_use: int, suspects: int) -> None:
    failing = frozenset({Source("secret/data/x"), Source("secret/data/y")})
    assert isinstance(failed(Up(), *[A, B, C][: suspects - 1], in_use=in_use, failing=failing), Up)
    assert isinstance(failed(Up(), *[A, B, C][:suspects], in_use=in_use, failing=failing), Down)


def test_where_all_sources_in_use_are_failing_the_next_failure_tells_that_the_store_is_down() -> None:
    assert isinstance(failed(Up(), A, in_use=2, failing=frozenset({A, B})), Down)


def test_failures_of_one_namespace_alone_leave_doubt_while_another_has_a_source_that_is_not_failing() -> None:
    after = failed(Up(), A, B, others=BANK)
    assert after == Up(frozenset({A, B}), SHOP)

    after = failed(after, C, D, others=BANK)
    assert isinstance(after, Doubted)
    assert (after.failed, after.users) == (frozenset({A, B, C, D}), SHOP)
    assert health.current_error(after) is None


@pytest.mark.parametrize(("users", "rejected"), [(SHOP, True), (BANK, False), (BOTH, False), (frozenset(), False)])
def test_in_doubt_reads_for_the_namespace_that_fails_are_rejected_and_no_others(
    users: frozenset[str], *, rejected: bool
) -> None:
    doubted = failed(Up(), A, B, C, others=BANK)

    assert (health.rejection(doubted, users, now=0.0) is not None) is rejected


def test_failure_in_another_namespace_ends_the_doubt_and_so_does_an_answer() -> None:
    doubt = failed(Up(), A, B, C, others=BANK)

    assert isinstance(failed(doubt, D, users=BANK, others=BANK), Down)
    assert health.answered(doubt) == Up()


def test_failures_of_one_namespace_suffice_once_no_other_has_a_source_that_is_not_failing() -> None:
    doubt = failed(Up(), A, B, C, others=BANK)

    assert isinstance(failed(doubt, A, failing=frozenset({A, B, C})), Down)
    assert isinstance(health.unopposed(doubt, now=0.0, policy=POLICY, random=Random(0)), Down)


@pytest.mark.parametrize("state", [Up(), DOWN, PROBING])
def test_without_a_doubt_nothing_follows_from_there_being_no_other_source(state: Health) -> None:
    assert health.unopposed(state, now=0.0, policy=POLICY, random=Random(0)) is state


def test_failures_in_different_namespaces_leave_no_doubt() -> None:
    assert isinstance(failed(failed(Up(), A, others=BANK), B, C, users=BANK, others=BOTH), Down)


def test_source_that_several_namespaces_use_counts_for_each_of_them() -> None:
    both = failed(Up(), A, B, users=BOTH, others=BANK)

    doubted = failed(both, C, users=SHOP, others=BANK)
    assert isinstance(doubted, Doubted)
    assert doubted.users == SHOP
    assert isinstance(failed(both, C, users=BOTH, others=BOTH), Down)


def test_source_that_is_not_in_use_any_more_tells_nothing_while_others_are() -> None:
    state = Up(frozenset({A, B}), SHOP)

    assert failed(state, C, users=frozenset()) is state
    assert isinstance(failed(Up(), C, users=frozenset(), in_use=0), Down)


def test_what_is_reported_to_others_has_no_word_of_the_request_that_failed() -> None:
    error = RateLimited("Vault limits requests: secret/data/tenant-b/db", store="Vault limits requests")

    reported = health.current_error(failed(Up(), A, B, C, error=error))

    assert (type(reported), str(reported)) == (RateLimited, "Vault limits requests")


@pytest.mark.parametrize(("now", "after"), [(9.9, DOWN), (10.0, PROBING), (50.0, PROBING)])
def test_first_read_at_the_time_for_it_is_the_probe(now: float, after: Health) -> None:
    assert health.probing(DOWN, now=now) == after


@pytest.mark.parametrize("before", [Up(), Up(frozenset({A})), PROBING])
def test_no_other_read_is_a_probe(before: Health) -> None:
    assert health.probing(before, now=50.0) is before


def test_each_probe_that_fails_makes_the_pause_before_the_next_longer() -> None:
    state, pauses, now = failed(Up(), A, B, C), [], 0.0
    for source in (A, B, C, D, A, B):
        pauses.append(health.probe_at(state) - now)
        now = health.probe_at(state)
        state = failed(health.probing(state, now=now), source, probe=True, now=now)

    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_probe_that_fails_for_another_reason_reports_the_new_one() -> None:
    newest = Unavailable.of_store("Vault did not answer in time")

    assert str(health.current_error(failed(PROBING, A, error=newest, probe=True))) == "Vault did not answer in time"


@pytest.mark.parametrize("before", [DOWN, PROBING])
def test_read_that_began_before_and_fails_changes_nothing(before: Health) -> None:
    assert failed(before, A, B, C, D, now=50.0) is before


@pytest.mark.parametrize("before", [DOWN, PROBING, Up(frozenset({A}))])
def test_any_answer_shows_that_the_store_is_up(before: Health) -> None:
    assert health.answered(before) == Up()


def test_answers_change_nothing_while_all_is_well() -> None:
    state = Up()

    assert health.answered(state) is state


def test_next_outage_begins_with_a_short_pause_again() -> None:
    state = failed(Probing(Down(SEALED, 10.0, probes=7)), A, probe=True)

    assert health.probe_at(failed(health.answered(state), A, B, C, now=50.0)) == 51.0


def test_probe_without_a_result_lets_the_next_read_be_the_probe() -> None:
    after = health.probe_ended(Probing(Down(SEALED, 10.0, probes=3)), now=12.0)

    assert after == Down(SEALED, 12.0, probes=3)
    assert isinstance(health.probing(after, now=12.0), Probing)


@pytest.mark.parametrize("before", [Up(), DOWN])
def test_probe_without_a_result_changes_nothing_once_another_read_has_completed(before: Health) -> None:
    assert health.probe_ended(before, now=12.0) is before


@pytest.mark.parametrize(("retry_after", "pause"), [(30.0, 30.0), (0.5, 1.0), (None, 1.0)])
def test_the_retry_after_of_the_store_is_honoured(retry_after: float | None, pause: float) -> None:
    error = Unavailable("overloaded", retry_after=retry_after)

    assert health.probe_at(failed(Up(), A, B, C, error=error)) == pause
    assert health.probe_at(failed(PROBING, A, error=error, probe=True, now=10.0)) == 10.0 + max(2.0, pause)


def test_store_that_asks_for_no_rest_is_probed_after_the_shortest_pause() -> None:
    quick = ReadPolicy(failure_threshold=1, probe=Backoff(initial=0.25, maximum=8.0, jitter=0.0))

    after = health.failed(
        Up(),
        A,
        SEALED,
        probe=False,
        in_use=1,
        users=SHOP,
        sound_outside=lambda _: False,
        now=10.0,
        policy=quick,
        random=Random(0),
    )

    assert health.probe_at(after) == 10.25


@pytest.mark.parametrize(
    ("state", "now", "refused"),
    [(Up(), 10.0, None), (DOWN, 9.9, SEALED), (DOWN, 10.0, None), (PROBING, 50.0, SEALED)],
)
def test_only_the_probe_may_ask_a_store_that_is_down(state: Health, now: float, refused: Unavailable | None) -> None:
    assert health.rejection(state, SHOP, now=now) is refused


@pytest.mark.parametrize(
    ("state", "error", "probe_at"), [(Up(), None, inf), (DOWN, SEALED, 10.0), (PROBING, SEALED, inf)]
)
def test_there_is_a_known_error_and_a_time_for_the_probe_while_the_store_is_down(
    state: Health, error: Unavailable | None, probe_at: float
) -> None:
    assert (health.current_error(state), health.probe_at(state)) == (error, probe_at)
