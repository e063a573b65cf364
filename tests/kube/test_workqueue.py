from random import Random

import pytest
import trio
from prometheus_client import CollectorRegistry
from trio.testing import MockClock, wait_all_tasks_blocked

from secrets_manager.backoff import Backoff
from secrets_manager.kube.workqueue import Item, Priority, WorkQueue
from secrets_manager.metrics import QueueMetrics
from secrets_manager.schedule import Schedule

MAX_PASSES = 9


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def queue(registry: CollectorRegistry) -> WorkQueue[str]:
    backoff = Backoff(initial=1.0, maximum=60.0, jitter=0.0)
    return WorkQueue(metrics=QueueMetrics(registry, "test"), random=Random(0), backoff=backoff)


async def take_all(queue: WorkQueue[str]) -> list[str]:
    """Take what is there now, one after the other."""
    taken: list[str] = []
    while queue:
        async with queue.get() as (key, _):
            taken.append(key)
    return taken


async def test_keys_come_in_the_order_in_which_they_went_in(queue: WorkQueue[str]) -> None:
    for key in "bca":
        queue.add(key)

    assert await take_all(queue) == ["b", "c", "a"]


@pytest.fixture
def fair_queue(registry: CollectorRegistry) -> WorkQueue[str]:
    """Keys of equal first letters are of one flow."""
    return WorkQueue(metrics=QueueMetrics(registry, "test"), random=Random(0), flow=lambda key: key[0])


async def test_flows_take_turns_and_each_keeps_its_order(fair_queue: WorkQueue[str]) -> None:
    for key in ("a1", "a2", "a3", "b1", "b2", "c1"):
        fair_queue.add(key)

    assert await take_all(fair_queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_the_flow_with_the_fewest_keys_in_progress_comes_first(
    fair_queue: WorkQueue[str], nursery: trio.Nursery
) -> None:
    taken: list[str] = []
    ended = {key: trio.Event() for key in ("a1", "a2", "b1")}

    async def work() -> None:
        async with fair_queue.get() as (key, _):
            taken.append(key)
            await ended[key].wait()

    for key in ("a1", "a2"):
        fair_queue.add(key)
        nursery.start_soon(work)
    await wait_all_tasks_blocked()
    for key in ("a3", "b1", "b2", "b3"):
        fair_queue.add(key, Priority.BACKGROUND)
    nursery.start_soon(work)
    await wait_all_tasks_blocked()
    assert taken == ["a1", "a2", "b1"]

    async with fair_queue.get() as (key, _):
        assert key == "b2"
    for key in ("a1", "a2"):
        ended[key].set()
    await wait_all_tasks_blocked()
    assert await take_all(fair_queue) == ["a3", "b3"]


async def test_a_flow_is_not_served_before_a_more_urgent_key_of_another(fair_queue: WorkQueue[str]) -> None:
    fair_queue.add("b1", Priority.ROUTINE)
    for key in ("a1", "a2"):
        fair_queue.add(key, Priority.URGENT)

    assert await take_all(fair_queue) == ["a1", "a2", "b1"]


async def test_a_key_added_twice_is_worked_on_once(queue: WorkQueue[str]) -> None:
    for key in "aba":
        queue.add(key)

    assert await take_all(queue) == ["a", "b"]


async def test_a_key_added_while_it_is_worked_on_comes_again_afterwards(queue: WorkQueue[str]) -> None:
    queue.add("a")
    async with queue.get() as (key, _):
        queue.add(key)
        queue.add(key)
        assert repr(queue) == "<WorkQueue 0 urgent, 0 routine, 0 background, 1 in progress, 1 again, 0 delayed>"

    assert await take_all(queue) == ["a"]


async def test_a_hot_key_waits_behind_all_others_each_time(queue: WorkQueue[str]) -> None:
    for key in ("hot", "a", "b", "c"):
        queue.add(key)
    taken: list[str] = []
    for _ in range(9):
        async with queue.get() as (key, _):
            taken.append(key)
            queue.add("hot")  # it changes all the time
            queue.add(key)

    assert taken == ["hot", "a", "b", "c", "hot", "a", "b", "c", "hot"]


async def test_no_key_is_given_to_two_takers_at_once(queue: WorkQueue[str], autojump_clock: MockClock) -> None:
    working: list[str] = []
    seen: list[list[str]] = []

    async def work() -> None:
        async with queue.get() as (key, _):
            working.append(key)
            seen.append(sorted(working))
            await trio.sleep(1)
            working.remove(key)

    queue.add("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        nursery.start_soon(work)
        await wait_all_tasks_blocked()
        queue.add("a")

    assert seen == [["a"], ["a"]]


async def test_takers_wait_for_keys(queue: WorkQueue[str], autojump_clock: MockClock) -> None:
    taken: list[tuple[str, float]] = []

    async def work() -> None:
        async with queue.get() as (key, _):
            taken.append((key, trio.current_time()))

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(work)
        for key in "abc":
            await trio.sleep(1)
            queue.add(key)

    assert sorted(taken) == [("a", start + 1), ("b", start + 2), ("c", start + 3)]


async def test_two_takers_that_are_woken_for_one_key_do_not_both_get_one(queue: WorkQueue[str]) -> None:
    taken: list[str] = []

    async def work() -> None:
        async with queue.get() as (key, _):
            taken.append(key)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        nursery.start_soon(work)
        await wait_all_tasks_blocked()
        queue.add("a", Priority.ROUTINE)
        queue.add("a", Priority.URGENT)
        await wait_all_tasks_blocked()
        assert taken == ["a"]
        nursery.cancel_scope.cancel()


async def test_the_priorities_go_one_before_the_other(queue: WorkQueue[str]) -> None:
    for priority in reversed(Priority):
        queue.add(priority.name, priority)

    assert await take_all(queue) == ["URGENT", "ROUTINE", "BACKGROUND"]


async def test_routine_is_not_starved_by_urgent(queue: WorkQueue[str]) -> None:
    for key in ("r1", "r2"):
        queue.add(key, Priority.ROUTINE)
    count = 3 * MAX_PASSES
    for number in range(count):
        queue.add(f"u{number}")

    taken = await take_all(queue)

    assert [taken.index("r1"), taken.index("r2")] == [MAX_PASSES, 2 * MAX_PASSES + 1]
    assert [key for key in taken if key.startswith("u")] == [f"u{number}" for number in range(count)]


async def test_background_is_starved_by_neither(queue: WorkQueue[str]) -> None:
    queue.add("background", Priority.BACKGROUND)
    for number in range(2 * MAX_PASSES**2):
        queue.add(f"u{number}")
        queue.add(f"r{number}", Priority.ROUTINE)

    taken = await take_all(queue)

    assert taken.index("background") == MAX_PASSES**2


async def test_a_routine_key_that_becomes_urgent_moves_up_and_does_not_move_back(queue: WorkQueue[str]) -> None:
    for key in "ab":
        queue.add(key, Priority.ROUTINE)
    queue.add("b", Priority.URGENT)
    queue.add("b", Priority.ROUTINE)

    assert await take_all(queue) == ["b", "a"]


async def test_a_taker_learns_at_which_priority_the_key_waited(queue: WorkQueue[str]) -> None:
    for priority in Priority:
        queue.add(priority.name, priority)
        async with queue.get() as item:
            assert item == Item(priority.name, priority)


@pytest.mark.parametrize(
    ("waiting", "urgent", "routine", "background"),
    [
        ([], False, False, False),
        ([Priority.BACKGROUND], False, False, True),
        ([Priority.ROUTINE], False, True, True),
        ([Priority.URGENT], True, True, True),
        ([Priority.BACKGROUND, Priority.URGENT], True, True, True),
    ],
)
async def test_has_waiting_sees_keys_at_a_priority_or_a_more_urgent_one(
    queue: WorkQueue[str], waiting: list[Priority], *, urgent: bool, routine: bool, background: bool
) -> None:
    for priority in waiting:
        queue.add(priority.name, priority)

    assert [queue.has_waiting(priority) for priority in Priority] == [urgent, routine, background]

    await take_all(queue)
    assert not queue.has_waiting(Priority.BACKGROUND)


async def test_a_key_that_is_worked_on_or_delayed_does_not_wait(queue: WorkQueue[str]) -> None:
    queue.add_after("delayed", 1, Priority.URGENT)
    queue.add("a")
    async with queue.get():
        queue.add("a")
        assert not queue.has_waiting(Priority.BACKGROUND)
    assert queue.has_waiting(Priority.URGENT)


async def test_work_that_is_cancelled_waits_at_the_priority_at_which_it_was_taken(
    queue: WorkQueue[str], autojump_clock: MockClock
) -> None:
    queue.add("a", Priority.BACKGROUND)
    with trio.move_on_after(1):
        async with queue.get():
            await trio.sleep_forever()

    assert (queue.has_waiting(Priority.ROUTINE), queue.has_waiting(Priority.BACKGROUND)) == (False, True)


async def test_a_key_added_again_keeps_the_most_urgent_priority_it_was_given(queue: WorkQueue[str]) -> None:
    queue.add("a")
    async with queue.get() as (key, _):
        queue.add(key, Priority.URGENT)
        queue.add(key, Priority.ROUTINE)

    assert repr(queue) == "<WorkQueue 1 urgent, 0 routine, 0 background, 0 in progress, 0 again, 0 delayed>"


async def test_work_that_is_cancelled_is_to_be_done_again(queue: WorkQueue[str], autojump_clock: MockClock) -> None:
    queue.add("a", Priority.ROUTINE)
    with trio.move_on_after(1):
        async with queue.get():
            await trio.sleep_forever()

    assert repr(queue) == "<WorkQueue 0 urgent, 1 routine, 0 background, 0 in progress, 0 again, 0 delayed>"


async def test_work_that_fails_is_to_be_done_again(queue: WorkQueue[str]) -> None:
    queue.add("a")
    with pytest.raises(ValueError, match="broken"):
        async with queue.get():
            raise ValueError("broken")

    assert await take_all(queue) == ["a"]


async def test_a_taker_that_is_cancelled_while_it_waits_takes_nothing(
    queue: WorkQueue[str], autojump_clock: MockClock
) -> None:
    with trio.move_on_after(1):
        async with queue.get():
            pytest.fail("there was nothing to take")
    queue.add("a")

    assert await take_all(queue) == ["a"]


async def test_a_taker_woken_and_cancelled_at_one_moment_loses_no_key(queue: WorkQueue[str]) -> None:
    async with trio.open_nursery() as nursery:

        async def work() -> None:
            async with queue.get():
                await trio.sleep_forever()

        nursery.start_soon(work)
        await wait_all_tasks_blocked()
        queue.add("a")
        nursery.cancel_scope.cancel()

    assert await take_all(queue) == ["a"]


async def test_a_busy_taker_lets_others_have_a_turn(queue: WorkQueue[str]) -> None:
    order: list[str] = []

    async def take_two(name: str) -> None:
        for _ in range(2):
            async with queue.get():
                order.append(name)

    for key in "abcd":
        queue.add(key)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_two, "x")
        nursery.start_soon(take_two, "y")

    assert {order[0], order[1]} == {"x", "y"}


async def test_delayed_keys_come_at_their_time(
    queue: WorkQueue[str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(queue.run)
    start = trio.current_time()
    for key, seconds in (("late", 50), ("soon", 10), ("now", 0)):
        queue.add_after(key, seconds)

    came: list[tuple[str, float]] = []
    for _ in range(3):
        async with queue.get() as (key, _):
            came.append((key, trio.current_time() - start))

    assert came == [("now", 0), ("soon", 10), ("late", 50)]


async def test_the_timer_hears_of_a_key_that_comes_before_the_one_it_waits_for(
    queue: WorkQueue[str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(queue.run)
    start = trio.current_time()
    queue.add_after("late", 50)
    await trio.sleep(5)
    queue.add_after("soon", 10)
    async with queue.get() as (key, _):
        assert (key, trio.current_time() - start) == ("soon", 15)


async def test_delayed_keys_are_routine(
    queue: WorkQueue[str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(queue.run)
    queue.add_after("delayed", 1)
    await trio.sleep(2)
    queue.add("urgent")

    assert await take_all(queue) == ["urgent", "delayed"]


async def test_a_key_waits_for_a_time_of_its_own_at_each_priority(
    queue: WorkQueue[str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(queue.run)
    start = trio.current_time()
    queue.add_after("a", 10, Priority.BACKGROUND)
    queue.add_after("a", 20, Priority.ROUTINE)
    queue.add_after("a", 30, Priority.BACKGROUND)
    taken: list[tuple[Item[str], float]] = []
    for _ in range(2):
        async with queue.get() as item:
            taken.append((item, trio.current_time() - start))

    assert taken == [(Item("a", Priority.BACKGROUND), 10), (Item("a", Priority.ROUTINE), 20)]
    assert repr(queue).endswith("0 delayed>")


async def test_a_delayed_key_that_waits_already_at_another_priority_is_taken_once_at_the_most_urgent_one(
    queue: WorkQueue[str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(queue.run)
    queue.add_after("a", 1, Priority.BACKGROUND)
    queue.add_after("a", 2, Priority.ROUTINE)
    await trio.sleep(3)
    async with queue.get() as item:
        assert item == Item("a", Priority.ROUTINE)

    assert len(queue) == 0


@pytest.mark.parametrize("delays", [(5, 50), (50, 5)])
async def test_the_earlier_of_two_delays_wins_and_counts_once(
    queue: WorkQueue[str], nursery: trio.Nursery, autojump_clock: MockClock, delays: tuple[float, float]
) -> None:
    nursery.start_soon(queue.run)
    start = trio.current_time()
    for delay in delays:
        queue.add_after("a", delay)
    assert repr(queue) == "<WorkQueue 0 urgent, 0 routine, 0 background, 0 in progress, 0 again, 1 delayed>"

    async with queue.get():
        assert trio.current_time() - start == 5

    with trio.move_on_after(1_000) as waiting:
        async with queue.get():
            pytest.fail("came twice")
    assert waiting.cancelled_caught


async def seconds_until_retry(
    queue: WorkQueue[str], key: str, priority: Priority = Priority.ROUTINE, *, at_least: float = 0.0
) -> float:
    """Let a key fail, and wait until it comes again."""
    start = trio.current_time()
    queue.add_rate_limited(key, priority, at_least=at_least)
    async with queue.get() as item:
        assert item == Item(key, priority)
    return trio.current_time() - start


async def test_failures_of_a_key_wait_longer_and_longer_until_it_is_forgotten(
    queue: WorkQueue[str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(queue.run)
    assert [await seconds_until_retry(queue, "a") for _ in range(4)] == [1, 2, 4, 8]
    assert await seconds_until_retry(queue, "b") == 1

    queue.forget("a")
    queue.forget("never failed")

    assert [await seconds_until_retry(queue, key) for key in ("a", "b")] == [1, 2]


async def test_failures_at_one_priority_delay_nothing_at_another(
    queue: WorkQueue[str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(queue.run)
    for _ in range(4):
        await seconds_until_retry(queue, "a", Priority.BACKGROUND)
    assert await seconds_until_retry(queue, "a") == 1

    queue.forget("a")
    assert await seconds_until_retry(queue, "a") == 1
    assert await seconds_until_retry(queue, "a", Priority.BACKGROUND) == 16
    queue.forget("a", Priority.BACKGROUND)
    assert await seconds_until_retry(queue, "a", Priority.BACKGROUND) == 1
    assert await seconds_until_retry(queue, "a") == 2


async def test_a_retry_does_not_come_before_the_time_that_was_asked_for(
    queue: WorkQueue[str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(queue.run)
    assert [await seconds_until_retry(queue, "a", at_least=3.0) for _ in range(4)] == [3, 3, 4, 8]


async def test_a_first_retry_comes_as_soon_as_the_backoff_says(
    registry: CollectorRegistry, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    backoff = Backoff(initial=0.25, maximum=60.0, jitter=0.0)
    queue = WorkQueue[str](metrics=QueueMetrics(registry, "test"), random=Random(0), backoff=backoff)
    nursery.start_soon(queue.run)

    assert await seconds_until_retry(queue, "a") == 0.25


async def test_the_age_of_the_oldest_work_is_known(queue: WorkQueue[str], autojump_clock: MockClock) -> None:
    assert queue.longest_running() == 0
    queue.add("old")
    async with queue.get():
        await trio.sleep(7)
        queue.add("young")
        async with queue.get():
            await trio.sleep(2)
            assert (queue.longest_running(), queue.unfinished_work()) == (9, 11)
    assert (queue.longest_running(), queue.unfinished_work()) == (0, 0)


async def test_the_life_of_keys_is_counted_as_client_go_counts_it(
    queue: WorkQueue[str], registry: CollectorRegistry, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(queue.run)
    queue.add("a", Priority.ROUTINE)
    queue.add("b")
    await trio.sleep(2)
    queue.add("a", Priority.URGENT)  # waits already, since two seconds
    for _ in range(2):
        async with queue.get() as (key, _):
            await trio.sleep(3)
            if key == "b":
                queue.add(key)
                queue.add(key)  # comes again, but once
    async with queue.get():
        queue.add_rate_limited("c")  # is added a second later
    async with queue.get():
        pass

    def sample(name: str) -> float | None:
        return registry.get_sample_value(f"workqueue_{name}", {"name": "test"})

    assert {
        name: sample(name)
        for name in (
            "adds_total",
            "retries_total",
            "queue_duration_seconds_count",
            "queue_duration_seconds_sum",
            "work_duration_seconds_count",
            "work_duration_seconds_sum",
        )
    } == {
        "adds_total": 4,
        "retries_total": 1,
        "queue_duration_seconds_count": 4,
        "queue_duration_seconds_sum": 2 + 5 + 3,
        "work_duration_seconds_count": 4,
        "work_duration_seconds_sum": 3 + 3,
    }


def test_a_schedule_does_not_grow_with_how_often_a_key_is_set() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.set("another", 10_000)
    for time in range(9_999, 0, -1):
        schedule.set("key", time)

    assert len(schedule._heap) <= 4
    assert (len(schedule), schedule.next_time) == (2, 1)
    assert schedule.pop_due(10_000) == ["key", "another"]
    assert (len(schedule), schedule.next_time, schedule._heap) == (0, float("inf"), [])
