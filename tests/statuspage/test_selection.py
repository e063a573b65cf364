"""Which definitions are shown, and in which order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secrets_manager.controller.definition import SecretDefinition, decode
from secrets_manager.controller.standing import Standing, State
from secrets_manager.statuspage.query import Query
from secrets_manager.statuspage.selection import Selection

PAGE_SIZE = 100


def definition(
    name: str, *, namespace: str = "shop", path: str = "secret/data/db", secret: str = ""
) -> SecretDefinition:
    spec = f'{{"name": "{secret or name}", "keysMap": {{"a": {{"path": "{path}", "key": "a"}}}}}}'
    return decode(f'{{"metadata": {{"namespace": "{namespace}", "name": "{name}"}}, "spec": {spec}}}'.encode())


def selected(query: Query, *found: tuple[SecretDefinition, Standing]) -> Selection:
    selection = Selection(query)
    for each, standing in found:
        if selection.is_in_namespace(each):
            selection.add(each, standing)
    return selection


def names(selection: Selection) -> list[str]:
    return [str(each.key) for each in selection.page()[1]]


FAILING, PENDING, IN_SYNC = (Standing(state) for state in State)


def test_failing_ones_come_first_then_those_that_wait_each_by_name() -> None:
    selection = selected(
        Query(),
        (definition("b"), IN_SYNC),
        (definition("c"), FAILING),
        (definition("a"), PENDING),
        (definition("z", namespace="bank"), IN_SYNC),
        (definition("d"), FAILING),
    )

    assert names(selection) == ["shop/c", "shop/d", "shop/a", "bank/z", "shop/b"]


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("SHOP/DB", True),
        ("db", True),
        ("other-name", True),
        ("NotFound", True),
        ("no such", True),
        ("/team/", True),
        ("x", False),
    ],
)
def test_text_is_looked_for_in_names_reason_message_and_paths(text: str, *, matches: bool) -> None:
    found = definition("db", path="secret/data/team/a", secret="other-name")
    standing = Standing(State.FAILING, "SourceNotFound", "no such key")

    assert (names(selected(Query(text=text), (found, standing))) == ["shop/db"]) is matches


def test_a_namespace_matches_as_a_whole() -> None:
    found = [(definition("a", namespace=name), IN_SYNC) for name in ("shop", "shop-test", "bank")]

    assert names(selected(Query(namespace="shop"), *found)) == ["shop/a"]


def test_counts_are_of_all_states_whichever_is_shown() -> None:
    selection = selected(Query(state=State.FAILING), (definition("a"), FAILING), (definition("b"), IN_SYNC))

    assert names(selection) == ["shop/a"]
    assert (selection.counts.failing, selection.counts.pending, selection.counts.in_sync) == (1, 0, 1)


def test_nothing_is_one_empty_page() -> None:
    paging, shown = selected(Query(page=9)).page()

    assert (paging.number, paging.pages, paging.matching, shown) == (1, 1, 0, [])


STATES = st.lists(st.sampled_from([FAILING, PENDING, IN_SYNC]), max_size=3 * PAGE_SIZE)


@given(STATES, st.sampled_from([None, *State]))
def test_the_pages_together_show_each_once_and_in_order(standings: list[Standing], state: State | None) -> None:
    found = [(definition(f"{number:04}"), standing) for number, standing in enumerate(standings)]
    wanted = [str(each.key) for each, standing in found if state in (None, standing.state)]
    of = {str(each.key): list(State).index(standing.state) for each, standing in found}
    shuffled = sorted(found, key=lambda each: hash((each[0].key, 1)))

    pages = selected(Query(state=state), *shuffled).page()[0].pages
    shown = [names(selected(Query(state=state, page=number + 1), *shuffled)) for number in range(pages)]

    assert [name for page in shown for name in page] == sorted(wanted, key=lambda name: (of[name], name))
    assert all(len(page) == PAGE_SIZE for page in shown[:-1])
