"""Whatever befalls the secret store and its folders: every source is read in time, and all users get what is there."""

import msgspec
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.properties.store_world import CONTENTS, FOLDERS, KEYS, LISTINGS, PERIOD, POLICY, SOURCES, living

users, numbers, folders = st.sampled_from(range(len(KEYS))), st.sampled_from(range(len(SOURCES))), st.integers(0, 1)
slowness = st.sampled_from([0.0, 0.2, 1.0])
periods = st.sampled_from([None, None, 4.0, 20.0])
happenings = st.one_of(
    st.tuples(st.just("use"), users, st.frozensets(numbers, min_size=1), periods),
    st.tuples(st.just("release"), users),
    st.tuples(st.just("put"), numbers, st.sampled_from(["written", *CONTENTS])),
    st.tuples(st.just("read slowly"), slowness),
    st.tuples(st.just("list"), folders, st.sampled_from(["allowed", "lagging", *LISTINGS])),
    st.tuples(st.just("list slowly"), slowness),
    st.tuples(st.just("down"), st.sampled_from([None, 6.0])),
    st.tuples(st.just("up")),
    st.tuples(st.just("give up"), users),
)
waits = st.sampled_from([0.0, 0.1, 0.7, 3.0, 15.0, 40.0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(happenings, waits), min_size=5, max_size=25), st.sampled_from([1.0, 1.0, 0.0]))
def test_every_source_is_read_in_time_and_all_users_get_what_is_there(
    course: list[tuple[tuple[object, ...], float]], list_period: float
) -> None:
    async def main() -> None:
        async with living(msgspec.structs.replace(POLICY, list_period=list_period)) as world:
            for user in range(len(KEYS)):
                world.use(user, frozenset(SOURCES[user : user + 3]), None)
            for what, wait in course:
                await world.befall(what, wait=wait)
            world.heal()
            await world.pass_time(2 * world.longest_period + POLICY.probe.maximum)
            world.check_received()

    trio.run(main, clock=MockClock(autojump_threshold=0))


REST = 12 * PERIOD
"""Seconds over which requests are counted: whole periods of every source."""


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(numbers, st.sampled_from(["written", "deleted", "forbidden", "odd"]), min_size=1),
    st.lists(st.sampled_from(["allowed", "refused", "failing"]), min_size=2, max_size=2),
    st.lists(periods, min_size=3, max_size=3),
    st.lists(numbers, max_size=4),
)
def test_listings_cost_no_more_requests_than_the_reads_that_they_save(
    contents: dict[int, str], kinds: list[str], wanted: list[float | None], changes: list[int]
) -> None:
    """Beyond them: one a period for a folder that can't be listed or has failing sources, and what a change costs.

    A change is read, and then all that its definitions are made of, which may be one that a listing has just confirmed.
    """
    uses = [range(user, min(user + 4, len(SOURCES))) for user in range(len(wanted))]

    async def requests(list_period: float) -> int:
        async with living(msgspec.structs.replace(POLICY, list_period=list_period)) as world:
            for number, kind in contents.items():
                world.put(SOURCES[number], kind)
            for folder, kind in zip(FOLDERS, kinds, strict=True):
                world.list(folder, kind)
            for user, period in enumerate(wanted):
                world.use(user, frozenset(SOURCES[number] for number in uses[user]), period)
            await trio.sleep(5 * PERIOD)
            before = world.backend.requests
            for number in changes:
                world.put(SOURCES[number], contents.get(number, "written"))
                await trio.sleep(REST / len(changes))
            if not changes:
                await trio.sleep(REST)
            return world.backend.requests - before

    with_listings, without = (trio.run(requests, each, clock=MockClock(autojump_threshold=0)) for each in (1.0, 0.0))
    poor = sum(kind != "allowed" or has_failing(folder, contents) for folder, kind in zip(FOLDERS, kinds, strict=True))
    for_changes = sum(1 + len(set().union(*(use for use in uses if number in use))) for number in changes)
    assert with_listings <= without + len(FOLDERS) + poor * REST / PERIOD + for_changes


def has_failing(folder: str, contents: dict[int, str]) -> bool:
    """Whether any of its sources fails, so that a listing saves fewer polls than there are sources."""
    inside = [number for number, source in enumerate(SOURCES) if source.path.startswith(folder) and not source.version]
    return any(contents.get(number) in ("forbidden", "odd") for number in inside)
