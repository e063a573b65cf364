"""Whatever stands in a listing: each secret has a marker, or the folder can't be listed. Nothing else comes out."""

from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fake_kubernetes.documents import Json, Object
from secrets_manager.backends import Folder, NotListable, Unavailable
from secrets_manager.backends.vault.backend import open_vault
from secrets_manager.backends.vault.listing import parse_page
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.responses import OK, Response
from secrets_manager.config import VaultConfig
from tests.backends.vault.recorded import RecordedMetrics
from tests.properties.test_vault_hostile import LOGIN, answers
from tests.properties.test_vault_responses import documents, rubbish

PAGE_SIZE = 1_500
MAX_SECRETS = 100_000

FOLDER = "secret/data/x"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MADE = "2025-01-01T00:00:00.123456789Z"
GOOD: Object = {
    "current_version": 2,
    "versions": {"2": {"created_time": MADE, "deletion_time": "", "destroyed": False}},
}
FOREVER = 10**400

times = st.sampled_from(
    [
        "",
        MADE,
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2025-02-30T00:00:00Z",
        "0000-00-00T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999999-23:59",
        "2026-01-01T00:00:00+99:99",
        "2016-12-31T23:59:60Z",
        "20260101T000000Z",
        "2026-W01-1",
        "\N{ARABIC-INDIC DIGIT TWO}026-01-01T00:00:00Z",
        "soon",
        "\x00",
    ]
)
numbers = st.sampled_from([0, 1, 2, -1, 2**63, 2**64, FOREVER])
values = times | numbers | documents


def spoilt(good: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return good | values


versions = st.fixed_dictionaries(
    {},
    optional={"created_time": times | values, "deletion_time": times | values, "destroyed": st.booleans() | values},
)
numbered = st.dictionaries(st.sampled_from(["1", "2", "-1", "x", "", "01", "9" * 400]), spoilt(versions), max_size=3)
entries = st.fixed_dictionaries({}, optional={"current_version": numbers | values, "versions": spoilt(numbered)})
names = st.sampled_from(["db", "tls", "a/b", "below/", "", "/", "..", "\x00", "\N{ZERO WIDTH SPACE}", "\U0010ffff"])
plausible: st.SearchStrategy[Json] = st.builds(
    lambda number, made, end, destroyed: {
        "current_version": number,
        "versions": {str(number): {"created_time": made, "deletion_time": end, "destroyed": destroyed}},
    },
    st.integers(-1, 3) | numbers,
    st.just(MADE) | times,
    times,
    st.booleans(),
)
described: st.SearchStrategy[Json] = plausible | entries | values
listed = st.fixed_dictionaries(
    {},
    optional={
        "keys": st.lists(names | values, max_size=4) | values,
        "key_info": st.dictionaries(names, described, max_size=4) | values,
    },
)
whole = st.fixed_dictionaries(
    {"keys": st.lists(names, max_size=4), "key_info": st.dictionaries(names, described, max_size=4)}
)
listings = st.fixed_dictionaries({"data": whole | whole | listed | values}).map(msgspec.json.encode)
served = st.builds(lambda body: httpx.Response(OK, content=body), listings | listings | rubbish)
replies = served | served | served | answers


class Lister:
    """Answers a login honestly, and each listing as the test says."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if "detailed-metadata" not in request.url.path:
            return httpx.Response(OK, content=LOGIN if request.url.path.endswith("/login") else b'{"data":{"ttl":1}}')
        self.asked += 1
        return self._answer(request)


async def markers_of(lister: Lister) -> dict[str, str] | NotListable | Unavailable:
    config = VaultConfig(url="https://vault.test", role_id="r", secret_id="s")
    async with open_vault(config, RecordedMetrics(), transport=httpx.MockTransport(lister)) as backend:
        try:
            return dict(await backend.markers(Folder(FOLDER)))
        except (NotListable, Unavailable) as error:
            return error


WITHOUT_ZONE: Object = {"created_time": MADE, "deletion_time": "2026-01-01", "destroyed": False}
ODD: Object = {"keys": ["db"], "key_info": {"db": {"current_version": 1, "versions": {"1": WITHOUT_ZONE}}}}


@given(st.lists(replies, min_size=1, max_size=2))
@example([httpx.Response(OK, json={"data": ODD})])
@settings(max_examples=200)
async def test_any_reply_gives_markers_or_says_that_there_are_none(pages: list[httpx.Response]) -> None:
    left = [*pages]

    found = await markers_of(Lister(lambda _: left.pop() if left else httpx.Response(404, content=b"{}")))

    if isinstance(found, dict):
        assert all(marker for marker in found.values())
        assert not [name for name in found if name.endswith("/")]


@given(described)
@settings(max_examples=300)
def test_one_entry_concerns_its_secret_alone_and_every_change_of_it_shows(entry: Json) -> None:
    def markers(entry: Json) -> dict[str, str]:
        body = msgspec.json.encode({"data": {"keys": ["db", "odd"], "key_info": {"db": GOOD, "odd": entry}}})
        return parse_page(Response(OK, body), parse_path(FOLDER), now=NOW).markers

    found = markers(entry)

    assert found.keys() == {"db", "odd"}
    assert found["db"] == f"2@{MADE}"
    if found["odd"].startswith("unclear"):
        assert markers([entry])["odd"] != found["odd"] == markers(entry)["odd"]


@pytest.mark.parametrize("depth", [500, 20_000])
async def test_entry_that_is_nested_without_end(depth: int) -> None:
    body = b'{"data":{"keys":["db"],"key_info":{"db":' + b"[" * depth + b"]" * depth + b"}}}"

    found = await markers_of(Lister(lambda _: httpx.Response(OK, content=body)))

    assert isinstance(found, NotListable) or (isinstance(found, dict) and found.keys() == {"db"})


def page(names: list[str]) -> httpx.Response:
    return httpx.Response(OK, json={"data": {"keys": names, "key_info": {}}})


def onward(request: httpx.Request) -> httpx.Response:
    """Go on for ever, with names without entries."""
    start = int(request.url.params.get("after", "0"))
    return page([f"{number:09}" for number in range(start + 1, start + 1 + PAGE_SIZE)])


def backward(request: httpx.Request) -> httpx.Response:
    start = int(request.url.params.get("after", "500000"))
    return page([f"{number:06}" for number in range(start - 2 * PAGE_SIZE, start - PAGE_SIZE)])


def the_same(_: httpx.Request) -> httpx.Response:
    return page([f"{number:06}" for number in range(PAGE_SIZE)])


def empty_names(_: httpx.Request) -> httpx.Response:
    return page([""] * PAGE_SIZE)


@pytest.mark.parametrize(
    ("pages", "at_most"), [(onward, MAX_SECRETS // PAGE_SIZE + 1), (backward, 2), (the_same, 2), (empty_names, 1)]
)
async def test_pages_without_end_are_given_up(pages: Callable[[httpx.Request], httpx.Response], at_most: int) -> None:
    lister = Lister(pages)

    found = await markers_of(lister)

    assert lister.asked <= at_most
    assert isinstance(found, NotListable)


@given(st.lists(names, max_size=5))
@settings(max_examples=30)
async def test_however_pages_follow_each_other_no_name_is_asked_after_twice(pages: list[str]) -> None:
    """Each page is full, and ends with one of these."""
    after: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        after.append(request.url.params.get("after", ""))
        return page([*["db"] * (PAGE_SIZE - 1), pages.pop()] if pages else [])

    await markers_of(Lister(respond))

    assert after == sorted(set(after))
