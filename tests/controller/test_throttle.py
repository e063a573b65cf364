import trio
import trio.testing
from trio.testing import MockClock

from secrets_manager.backends.base import Source, Unavailable
from secrets_manager.controller.throttle import Throttle
from tests.controller.scripted import ANY, ScriptedBackend, idle, key


async def test_trouble_halves_the_bound_once_a_second_and_down_to_one(autojump_clock: MockClock) -> None:
    throttle = Throttle(16)
    bounds = []
    for _ in range(6):
        for _ in range(5):
            throttle.failed()
        bounds.append(throttle.bound)
        await trio.sleep(1)

    assert bounds == [8, 4, 2, 1, 1, 1]


async def test_each_quiet_second_adds_one_up_to_the_most(autojump_clock: MockClock) -> None:
    throttle = Throttle(4)
    throttle.failed()
    bounds = []
    for _ in range(4):
        await trio.sleep(1)
        for _ in range(5):
            throttle.answered()
        bounds.append(throttle.bound)

    assert bounds == [3, 4, 4, 4]


async def test_answers_while_nothing_is_wrong_do_not_put_off_the_first_halving(autojump_clock: MockClock) -> None:
    throttle = Throttle(4)
    await trio.sleep(60)
    throttle.answered()
    throttle.failed()

    assert throttle.bound == 2


async def test_no_more_requests_are_under_way_than_the_bound(autojump_clock: MockClock) -> None:
    backend = ScriptedBackend(takes=1.0)
    sources = idle(backend, concurrency=3)
    many = frozenset(Source(f"secret/data/app-{number}") for number in range(12))
    sources.use(key("db"), many)

    began = trio.current_time()
    await sources.documents(key("db"), many)

    assert (backend.most_under_way, trio.current_time() - began) == (3, 4.0)


async def test_store_in_trouble_gets_fewer_requests_at_a_time_and_more_again_when_it_answers(
    autojump_clock: MockClock,
) -> None:
    backend = ScriptedBackend(takes=0.1)
    sources = idle(backend, concurrency=16)
    troubled = Source("secret/data/troubled")
    backend.put(troubled, Unavailable("Vault limits the rate of requests"))
    sources.use(key("db"), frozenset({troubled}))
    await sources.documents(key("db"), frozenset({troubled}))

    assert (sources.told.up, sources.told.concurrency) == (True, 8)

    backend.put(troubled, ANY)
    await trio.sleep(60)
    await sources.documents(key("db"), frozenset({troubled}))

    assert (sources.told.up, sources.told.concurrency) == (True, 9)


async def test_request_that_waits_for_its_turn_may_be_cancelled(autojump_clock: MockClock) -> None:
    throttle = Throttle(1)

    async def take(seconds: float) -> None:
        async with throttle.turn():
            await trio.sleep(seconds)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take, 10)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            await take(0)

    assert scope.cancelled_caught
    with trio.fail_after(1):
        await take(0)
