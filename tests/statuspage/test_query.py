from urllib.parse import urlencode

import pytest

from secrets_manager.controller.standing import State
from secrets_manager.statuspage.query import Query, parse_query

MAX_PAGE = 1_000_000
MAX_TEXT = 200


def test_all_parameters() -> None:
    assert parse_query(b"namespace=shop&text=secret%2Fdata+x&state=failing&page=3") == Query(
        namespace="shop", text="secret/data x", state=State.FAILING, page=3
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"page=0",
        b"page=-1",
        b"page=x",
        b"page=%C2%B2",
        b"page=1e3",
        b"state=unknown",
        b"namespace=%20",
        b"other=1",
        b"&&&",
        b"=",
        b"\xff",
        b"&".join(b"a=%d" % number for number in range(100)),
    ],
)
def test_what_makes_no_sense_counts_as_not_given(raw: bytes) -> None:
    assert parse_query(raw) == Query()


def test_everything_is_bounded() -> None:
    query = parse_query(b"text=" + b"x" * 10_000 + b"&page=" + b"9" * 100)

    assert len(query.text) == MAX_TEXT
    assert query.page == MAX_PAGE


def test_the_last_of_a_parameter_counts() -> None:
    assert parse_query(b"text=a&text=b").text == "b"


@pytest.mark.parametrize("query", [Query(), Query(namespace="a&b", text="ä=?#", state=State.IN_SYNC, page=7)])
def test_a_link_leads_back_to_its_query(query: Query) -> None:
    assert parse_query(query.link().encode()) == query


def test_a_link_may_change_the_query() -> None:
    query = Query(namespace="shop", state=State.FAILING, page=2)

    assert query.link(state="", page=1) == urlencode({"namespace": "shop"})
