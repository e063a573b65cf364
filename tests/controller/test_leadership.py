"""One works at a time: the lease between candidates on one cluster, with their clocks, replies and networks spoilt."""

import logging
from random import Random

import httpx
import pytest
import trio
from trio.testing import MockClock

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import at, parse
from secrets_manager.config import Config, ControllerConfig, LeaseConfig
from secrets_manager.kube.client import open_client
from secrets_manager.kube.lease import AlwaysLeader, LeaderElector
from secrets_manager.supervisor import lease_name, new_elector
from tests.controller.arena import LEASE, OFFLINE, PATH, arena
from tests.doubles import faults as fault
from tests.doubles.faults import Call, Condition, Fault, Faults, Send
from tests.doubles.kube_transport import DOUBLE, KubeTransport, administrator, virtual_time


def is_read(request: httpx.Request) -> bool:
    return request.method == "GET"


def test_the_lease_is_that_of_the_original_unless_the_installation_has_a_name_of_its_own() -> None:
    assert lease_name(ControllerConfig().name) == "5ac9a181.secrets-manager.tuenti.io"
    assert lease_name("mine") != lease_name("yours")
    assert lease_name("mine").endswith(".secrets-manager.tuenti.io")


async def test_the_lease_is_where_the_configuration_says(autojump_clock: MockClock) -> None:
    cluster = Cluster(now=virtual_time)
    config = Config(lease=LeaseConfig(enabled=True, namespace="kube-system"))
    async with open_client(DOUBLE, transport=KubeTransport(cluster)) as client:
        leader = new_elector(config, client, namespace="default", identity="one", random=Random(0), clock=virtual_time)
        await leader.run(trio.lowlevel.checkpoint)

    leases = administrator(cluster).list("/apis/coordination.k8s.io/v1/leases")
    assert [at(lease, "metadata", "namespace") for lease in leases] == ["kube-system"]


async def test_two_installations_of_different_names_in_one_namespace_both_work(autojump_clock: MockClock) -> None:
    cluster = Cluster(now=virtual_time)
    working: list[str] = []
    both = trio.Event()

    async def live(name: str) -> None:
        config = Config(lease=LEASE, controller=ControllerConfig(name=name))
        async with open_client(DOUBLE, transport=KubeTransport(cluster)) as client:
            leader = new_elector(
                config, client, namespace="default", identity=name, random=Random(0), clock=virtual_time
            )
            await leader.run(lambda: work(name))

    async def work(name: str) -> None:
        working.append(name)
        if len(working) == 2:
            both.set()
        await both.wait()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live, "mine")
            nursery.start_soon(live, "yours")
    assert sorted(working) == ["mine", "yours"]


async def test_without_an_election_the_work_begins_at_once_and_no_lease_is_asked_for(autojump_clock: MockClock) -> None:
    faults = Faults(KubeTransport(Cluster(now=virtual_time)))
    async with open_client(DOUBLE, transport=faults) as client:
        done = trio.Event()
        leader = new_elector(
            Config(), client, namespace="default", identity="one", random=Random(0), clock=virtual_time
        )

        async def work() -> None:
            assert leader.is_leader
            await trio.lowlevel.checkpoint()
            done.set()

        assert not leader.is_leader
        await leader.run(work)
        assert not leader.is_leader
    assert (done.is_set(), faults.calls) == (True, [])


async def test_the_first_one_works_and_its_record_says_so(autojump_clock: MockClock) -> None:
    async with arena() as here:
        await here.leader("one")
        assert here.lease() == {
            "holderIdentity": "one",
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-01-01T00:00:00.000000Z",
            "renewTime": "2026-01-01T00:00:00.000000Z",
        }


async def test_the_first_one_creates_the_lease_by_one_request(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        request = one.faults.requests[-1]
        assert (request.method, request.url.path) == ("POST", PATH.rpartition("/")[0])
        assert parse(request.content) == {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": PATH.rpartition("/")[2], "namespace": "default"},
            "spec": here.lease(),
        }


async def test_a_leader_that_is_well_works_on_and_the_other_one_waits(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two")
        await trio.sleep(600)
        assert (one.at_work, two.terms, here.lease("leaseTransitions")) == (True, [], None)
        assert here.lease("acquireTime") == "2026-01-01T00:00:00.000000Z"


async def test_the_lease_is_released_after_the_work_has_ended_and_the_next_one_begins_soon(
    autojump_clock: MockClock,
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two")
        await trio.sleep(20)
        assert (one.elector.is_leader, two.elector.is_leader) == (True, False)

        one.life.cancel()

        assert await here.until_at_work(two) <= LEASE.retry_period * 1.2 + 0.1
        assert (one.elector.is_leader, two.elector.is_leader) == (False, True)
        assert one.terms[-1][1] <= two.terms[0][0]
        assert (here.lease("holderIdentity"), here.lease("leaseTransitions")) == ("two", 1)


async def test_work_that_ends_by_itself_releases_the_lease(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        await trio.sleep_until(LEASE.retry_period / 2)
        one.done.set()
        await one.over.wait()
        assert here.lease("holderIdentity") in ("", None)
        assert here.lease("leaseDurationSeconds") == 1
        assert here.lease("renewTime") == "2026-01-01T00:00:01.000000Z"
        assert one.lost == ""


async def test_a_stop_in_the_middle_of_a_renewal_releases_the_lease_all_the_same(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        one.faults.next(fault.kill_after(one.life), when=fault.is_write)
        await one.over.wait()
        assert here.lease("holderIdentity") in ("", None)


async def test_a_renewal_that_lands_while_the_lease_is_released_does_not_keep_it(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two")
        await trio.sleep(20)
        cut_off: list[httpx.Request] = []

        async def cut(request: httpx.Request, send: Send) -> httpx.Response:
            cut_off.append(request)
            one.life.cancel()
            return await trio.sleep_forever()

        async def read_before_it_lands(request: httpx.Request, send: Send) -> httpx.Response:
            reply = await send(request)
            assert (await send(cut_off[0])).is_success
            return reply

        one.faults.next(cut, when=fault.is_write)
        one.faults.next(read_before_it_lands)
        await one.over.wait()

        assert here.lease("holderIdentity") in ("", None)
        assert await here.until_at_work(two) <= LEASE.retry_period * 1.2 + 0.1


async def test_a_release_that_always_meets_a_conflict_ends_all_the_same(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        one.faults.always(fault.answer(409, reason="Conflict"), when=fault.is_write)
        began = trio.current_time()

        one.life.cancel()
        with trio.move_on_after(60):
            await one.over.wait()

        assert trio.current_time() - began <= LEASE.renew_deadline / 2 + 0.01
        assert here.lease("holderIdentity") == "one"


async def test_a_release_that_takes_nearly_half_of_the_renew_deadline_frees_the_lease(
    autojump_clock: MockClock,
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        one.faults.always(one.slow_road(LEASE.renew_deadline / 2 - 0.1, 0.0))

        one.life.cancel()
        await one.over.wait()

        assert here.lease("holderIdentity") in ("", None)


async def test_a_leader_that_is_well_renews_by_one_write_each_retry_period(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        before = len(one.faults.calls)
        await trio.sleep(10 * LEASE.retry_period + 0.1)
        assert one.faults.calls[before:] == [Call("PATCH", PATH)] * 10


@pytest.mark.parametrize("seconds", [2.6, 4.0, 4.8])
async def test_a_leader_whose_requests_are_slow_but_answered_stays_leader(
    seconds: float, autojump_clock: MockClock
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two")
        one.faults.always(one.slow_road(seconds / 2, seconds / 2))
        await trio.sleep(120)
        assert (one.at_work, len(one.terms), two.terms) == (True, 1, [])


async def test_a_leader_that_must_read_the_lease_has_half_of_the_renew_deadline_for_it(
    autojump_clock: MockClock,
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        one.faults.next(fault.answer(409, reason="Conflict"), when=fault.is_write)
        one.faults.always(one.slow_road(0.0, LEASE.renew_deadline / 2 - 0.1), when=is_read)
        await trio.sleep(60)
        assert (one.at_work, len(one.terms)) == (True, 1)


@pytest.mark.parametrize("hangs", [is_read, fault.is_write])
async def test_a_leader_gives_up_a_request_that_hangs_while_there_is_time_for_another(
    hangs: Condition, autojump_clock: MockClock
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        one.faults.next(fault.late(1e6), when=hangs)
        one.faults.next(fault.answer(409, reason="Conflict"), when=fault.is_write)
        await trio.sleep(60)
        assert (one.at_work, len(one.terms)) == (True, 1)


@pytest.mark.parametrize("seconds", [2.6, 4.0, 4.8])
async def test_a_candidate_that_is_slow_to_connect_and_to_be_answered_gets_the_lease_and_keeps_it(
    seconds: float, autojump_clock: MockClock
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two", connecting=2 * seconds)
        two.faults.always(two.slow_road(seconds / 2, seconds / 2))
        await trio.sleep(60)

        await one.kill()
        await here.until_at_work(two)
        await trio.sleep(120)

        assert (two.at_work, len(two.terms)) == (True, 1)


async def test_work_that_goes_on_after_the_lease_has_expired_is_reported(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one", ending=60.0)
        one.faults.always(OFFLINE)

        await trio.sleep(LEASE.duration - 0.3)
        assert one.elector.check() == ""
        await trio.sleep_until(LEASE.duration)
        assert (
            one.elector.check()
            == f"lease default/{lease_name('SecretDefinition')} expired, but the controller still runs"
        )

        await one.over.wait()
        assert one.elector.check() == ""


async def test_neither_a_leader_that_is_well_nor_a_standby_has_an_expired_lease(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two")
        for _ in range(100):
            await trio.sleep(1)
            assert (one.elector.check(), two.elector.check(), AlwaysLeader().check()) == ("", "", "")


async def test_a_standby_reads_once_each_retry_period_and_up_to_a_fifth_later(autojump_clock: MockClock) -> None:
    async with arena() as here:
        await here.leader("one")
        two = here.enter("two")
        await trio.sleep(600)
        assert set(two.faults.calls) == {Call("GET", PATH)}
        assert 600 / (1.2 * LEASE.retry_period) <= len(two.faults.calls) < 600 / LEASE.retry_period


@pytest.mark.parametrize("seed", range(5))
async def test_a_leader_that_vanishes_is_followed_within_duration_and_one_retry_period(
    seed: int, autojump_clock: MockClock
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter(f"two-{seed}")
        await trio.sleep(20 + seed * 0.37)

        await one.kill()

        assert await here.until_at_work(two) <= LEASE.duration + LEASE.retry_period + 1


async def test_a_standby_takes_the_lease_at_the_moment_at_which_it_may(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two")
        await trio.sleep(20.3)
        await one.kill()
        await trio.sleep(2 * LEASE.retry_period)
        assert isinstance(two.elector, LeaderElector)
        free_at = two.elector._lease_expiry

        await here.until_at_work(two)

        assert two.terms[0][0] == pytest.approx(free_at, abs=1e-6)


NO_RENEWAL: dict[str, Fault] = {
    "the network is gone": OFFLINE,
    "requests hang": fault.late(1e6),
    "the server fails": fault.answer(500),
    "the client is throttled": fault.rubbish(b"Too many requests, please try again later.", status=429),
    "the right was taken away": fault.answer(403, reason="Forbidden"),
    "others are always faster": fault.answer(409, reason="Conflict"),
}


@pytest.mark.parametrize("trouble", NO_RENEWAL.values(), ids=NO_RENEWAL)
@pytest.mark.parametrize("last_renewal_took", [0.0, 4.9])
async def test_the_work_ends_at_the_renew_deadline_and_before_another_may_begin(
    trouble: Fault, last_renewal_took: float, autojump_clock: MockClock
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        here.enter("two")
        one.faults.next(fault.late(last_renewal_took), when=fault.is_write)
        while one.faults.calls[-1].method != "PATCH":  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.01)
        renewed = trio.current_time()
        one.faults.always(trouble)

        await one.over.wait()

        ended = one.terms[-1][1]
        assert ended - renewed <= LEASE.renew_deadline + 0.01
        assert one.lost == (
            f"leader election lost: failed to renew lease default/{lease_name('SecretDefinition')} within 10 s"
        )


async def test_a_process_that_was_stopped_for_long_does_not_take_one_more_step(autojump_clock: MockClock) -> None:
    steps: list[float] = []

    async def work() -> None:
        while True:
            await trio.sleep(0.1)
            steps.append(trio.current_time())

    async with arena() as here:
        one = here.enter("one", work=work)
        await trio.sleep(5.05)
        autojump_clock.jump(60)
        await one.over.wait()
        assert max(steps) < 5.1
        assert "failed to renew lease" in one.lost


async def test_a_process_that_is_stopped_between_two_steps_of_a_batch_does_not_take_the_second(
    autojump_clock: MockClock,
) -> None:
    """Trio checks the clock before a batch of steps. Its sockets send at once unless their task is cancelled."""
    batch, sent = trio.Event(), list[float]()

    async def send() -> None:
        await batch.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        sent.append(trio.current_time())
        if len(sent) == 1:
            autojump_clock.jump(60)

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(send)
            await trio.sleep(5)
            batch.set()

    async with arena() as here:
        one = here.enter("one", work=work)
        await one.over.wait()
        assert sent == [5.0]
        assert "failed to renew lease" in one.lost


async def test_requests_for_the_lease_that_fail_are_logged_with_their_reason(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        one.faults.next(fault.answer(500, message="the write fails"), when=fault.is_write)
        one.faults.next(fault.answer(500, message="the read fails"), when=is_read)
        await trio.sleep(LEASE.retry_period + 0.1)
    fields = {"lease": f"default/{PATH.rpartition('/')[2]}", "identity": "one"}
    assert [record.__dict__["fields"] for record in caplog.records if record.levelname == "WARNING"] == [
        {**fields, "error": f"PATCH {PATH}: 500 Internal Server Error: the write fails"},
        {**fields, "error": f"GET {PATH}: 500 Internal Server Error: the read fails"},
    ]


async def test_an_outage_that_ends_before_the_deadline_is_harmless(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two")
        for pause in (0.0, 0.5, 1.0, 1.5):
            await trio.sleep(10 + pause)
            one.faults.always(OFFLINE)
            await trio.sleep(5.5)
            one.faults.heal()
        await trio.sleep(60)
        assert (one.at_work, len(one.terms), two.terms) == (True, 1, [])


async def test_renewals_whose_replies_are_lost_count_for_nothing_but_do_no_harm(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two")
        for _ in range(10):
            await trio.sleep(7)
            one.faults.next(fault.lose_reply(), when=fault.is_write, times=2)
        assert (one.at_work, len(one.terms), two.terms) == (True, 1, [])


@pytest.mark.parametrize("skew", [-86400.0, 86400.0])
async def test_the_clocks_of_others_are_not_trusted(skew: float, autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one", skew=skew)
        two = here.enter("two")
        await trio.sleep(300)
        assert (one.at_work, two.terms) == (True, [])

        await one.kill()
        assert LEASE.duration - LEASE.retry_period <= await here.until_at_work(two)


async def test_a_lease_that_was_given_to_others_ends_the_work_at_the_next_renewal(
    autojump_clock: MockClock,
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        here.overwrite({"holderIdentity": "an administrator's choice"})
        given = trio.current_time()
        await one.over.wait()
        assert one.terms[-1][1] - given <= LEASE.retry_period
        assert "was taken by an administrator's choice" in one.lost
        assert here.lease("holderIdentity") == "an administrator's choice"


async def test_a_lease_that_others_have_freed_is_taken_again_by_its_holder_though_the_first_write_fails(
    autojump_clock: MockClock,
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        here.overwrite({"holderIdentity": ""})
        one.faults.next(fault.answer(409, reason="Conflict"), when=fault.is_write)
        one.faults.next(fault.answer(500), when=fault.is_write)
        await trio.sleep(2 * LEASE.retry_period + 0.1)
        assert (one.at_work, len(one.terms), here.lease("holderIdentity")) == (True, 1, "one")


async def test_a_standby_logs_each_new_leader_once(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "secrets_manager.kube.lease")
    async with arena() as here:
        await here.leader("one")
        here.enter("two")
        await trio.sleep(5)
        for holder in ("three", "", "three"):
            here.overwrite({"holderIdentity": holder})
            await trio.sleep(5)
    elected = [record.__dict__["fields"] for record in caplog.records if record.message == "new leader elected"]
    assert [fields["holder"] for fields in elected if fields["identity"] == "two"] == ["one", "three", "three"]


async def test_a_lease_that_is_deleted_is_recreated_by_its_holder(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        here.delete()
        await trio.sleep(LEASE.retry_period + 0.1)
        assert (one.at_work, here.lease("holderIdentity")) == (True, "one")


async def test_a_standby_that_saw_nothing_for_long_does_not_take_what_was_renewed_meanwhile(
    autojump_clock: MockClock,
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two")
        await trio.sleep(5)
        two.faults.always(OFFLINE)
        await trio.sleep(600)
        two.faults.heal()
        await trio.sleep(60)
        assert (one.at_work, two.terms) == (True, [])


async def test_a_standby_that_is_shown_an_old_record_can_not_take_the_lease(autojump_clock: MockClock) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two")
        await trio.sleep(10)
        two.faults.always(fault.as_of(here.cluster.storage.revision), when=is_read)
        await trio.sleep(120)
        assert (one.at_work, two.terms) == (True, [])


async def test_a_lease_whose_namespace_is_not_there_is_logged_once_and_acquired_when_it_is(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(now=virtual_time)
    config = Config(lease=LeaseConfig(enabled=True, namespace="nowhere"))
    async with open_client(DOUBLE, transport=KubeTransport(cluster)) as client:
        leader = new_elector(config, client, namespace="default", identity="one", random=Random(0), clock=virtual_time)
        with caplog.at_level(logging.WARNING):
            with trio.move_on_after(600):
                await leader.run(trio.sleep_forever)
            errors = [record.__dict__["fields"]["error"] for record in caplog.records]
            missing = 'namespaces "nowhere" not found'
            assert errors == [f"POST /apis/coordination.k8s.io/v1/namespaces/nowhere/leases: 404 NotFound: {missing}"]

        administrator(cluster).create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "nowhere"}})
        await leader.run(trio.lowlevel.checkpoint)


async def test_each_error_of_a_candidate_that_may_not_write_is_logged_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with arena() as here:
        one = await here.leader("one")
        two = here.enter("two")
        await one.kill()
        refused, broken = fault.answer(403, reason="Forbidden"), fault.answer(500, reason="InternalError")
        with caplog.at_level(logging.WARNING):
            for each in (refused, broken, refused, broken):
                two.faults.heal()
                two.faults.always(each, when=lambda request: not is_read(request))
                await trio.sleep(60)

    said = [record.__dict__["fields"] for record in caplog.records if record.levelno == logging.WARNING]
    errors = [str(fields["error"]).split(": ")[1] for fields in said if fields["identity"] == "two"]
    assert errors == ["403 Forbidden", "500 InternalError"]


async def test_an_error_of_the_lease_is_logged_again_once_it_has_gone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with arena() as here:
        await here.leader("one")
        two = here.enter("two")
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                two.faults.always(OFFLINE)
                await trio.sleep(60)
                two.faults.heal()
                await trio.sleep(60)

    assert [record.message for record in caplog.records] == ["failed to acquire or renew lease"] * 2
