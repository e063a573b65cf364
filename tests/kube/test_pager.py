import itertools
from collections.abc import Iterable

import pytest

from secrets_manager.kube.errors import KubeError, MalformedResponse, ResponseTooLarge
from secrets_manager.kube.page import Page
from secrets_manager.kube.pager import MAX_PAGES, Pager
from tests.kube.scripted import ScriptedClient, page
from tests.kube.things import THINGS, Thing, thing

A, B, C = thing("a", version=1), thing("b", version=2), thing("c", version=3)
TOO_LARGE = ResponseTooLarge("the response is longer than 16777216 bytes")


def pager_of(lists: Iterable[Page[Thing] | KubeError], *, page_size: int = 500) -> tuple[ScriptedClient, Pager[Thing]]:
    client = ScriptedClient(lists=lists)
    return client, Pager(client, THINGS, namespace="ns", label_selector="team=a", page_size=page_size)


async def test_pages_of_a_list_are_of_one_snapshot() -> None:
    client, pager = pager_of([page([A], "9", "more"), page([], "9", "and more"), page([B], "9")])

    assert [each.items async for each in pager.pages()] == [[A], [], [B]]
    assert client.requests == [("list", ""), ("list", "more"), ("list", "and more")]
    assert client.limits == [500] * 3


@pytest.mark.parametrize("items", [[], [A]], ids=["empty", "full"])
async def test_a_list_without_an_end_is_malformed(items: list[Thing]) -> None:
    client, pager = pager_of(page(items, "9", f"x{number}") for number in itertools.count())

    with pytest.raises(MalformedResponse, match="no end after 2000 pages"):
        [None async for _ in pager.pages()]
    assert len(client.requests) == MAX_PAGES


async def test_a_page_is_requested_when_the_one_before_it_was_used() -> None:
    client, pager = pager_of([page([A], "9", "more"), page([B], "9")])

    assert [len(client.requests) async for _ in pager.pages()] == [1, 2]


async def test_a_page_that_is_too_large_is_requested_with_half_the_limit_and_the_next_with_one_more() -> None:
    client, pager = pager_of(
        [TOO_LARGE, TOO_LARGE, page([A], "9", "more"), TOO_LARGE, page([B], "9", "last"), page([C], "9")]
    )

    assert [each.items async for each in pager.pages()] == [[A], [B], [C]]
    assert [where for _, where in client.requests] == ["", "", "", "more", "more", "last"]
    assert client.limits == [500, 250, 125, 126, 63, 64]


async def test_limits_grow_again_up_to_the_usual_one() -> None:
    client, pager = pager_of([TOO_LARGE, *[page([A], "9", "more")] * 5, page([B], "9")], page_size=8)

    assert len([each async for each in pager.pages()]) == 6
    assert client.limits == [8, 4, 5, 6, 7, 8, 8]


async def test_the_next_list_begins_with_the_limit_that_fitted() -> None:
    client, pager = pager_of([TOO_LARGE, page([A], "9"), page([A], "10")])

    assert [[each.items async for each in pager.pages()] for _ in range(2)] == [[[A]], [[A]]]
    assert client.limits == [500, 250, 251]


async def test_an_object_that_is_too_large_fails_the_list() -> None:
    client, pager = pager_of([TOO_LARGE] * 3, page_size=4)

    with pytest.raises(ResponseTooLarge):
        await anext(pager.pages())
    assert client.limits == [4, 2, 1]
