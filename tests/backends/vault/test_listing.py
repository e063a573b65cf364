from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import pytest

from fake_kubernetes.documents import Json, Object
from secrets_manager.backends.base import BackendError, Folder, NotListable, Place, Unavailable
from secrets_manager.backends.vault.engine import Engine, KvV1, KvV2
from secrets_manager.backends.vault.listing import Page, listing_query, listing_url, parse_page
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.responses import Response

PAGE_SIZE = 1_500

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FOLDER = parse_path("secret/data/shop")
MADE = "2025-01-01T00:00:00.123456789Z"
PAST = "2025-12-31T23:59:59.123456789Z"


def version(*, deletion_time: str = "", destroyed: bool = False) -> Object:
    return {"created_time": MADE, "deletion_time": deletion_time, "destroyed": destroyed}


def secret(*versions: Object) -> Object:
    entries: Object = {str(number): each for number, each in enumerate(versions, start=1)}
    return {"current_version": len(versions), "versions": entries, "custom_metadata": None}


def page(secrets: Object) -> Page:
    body = msgspec.json.encode({"data": {"keys": [*secrets], "key_info": secrets}})
    return parse_page(Response(200, body), FOLDER, now=NOW)


def test_newest_version_makes_the_marker() -> None:
    assert page({"db": secret(version(), version()), "below/": {}}) == Page({"db": f"2@{MADE}"}, 2, "")


@pytest.mark.parametrize(
    ("newest", "state"),
    [
        pytest.param(version(destroyed=True), "destroyed", id="destroyed"),
        pytest.param(version(deletion_time=PAST, destroyed=True), "destroyed", id="deleted, then destroyed"),
        pytest.param(version(deletion_time=PAST), "deleted", id="deleted"),
        pytest.param(version(deletion_time="2026-01-01T00:00:00Z"), "deleted", id="deleted just now"),
        pytest.param(version(deletion_time="2026-01-01T00:59:59+01:00"), "deleted", id="deleted elsewhere"),
    ],
)
def test_version_that_can_not_be_read_has_the_marker_of_its_state(newest: Object, state: str) -> None:
    assert page({"db": secret(version(), newest)}).markers == {"db": f"2@{MADE} {state}"}


def test_version_that_is_to_be_deleted_later_is_live_until_then() -> None:
    assert page({"db": secret(version(deletion_time="2026-01-01T00:00:01Z"))}).markers == {"db": f"1@{MADE}"}


def test_secret_without_any_version_is_unwritten() -> None:
    assert page({"db": secret()}).markers == {"db": "unwritten"}


@pytest.mark.parametrize("number", [3, -1, 2**63, 2**64, 10**400])
def test_current_version_without_an_entry_is_unclear(number: int) -> None:
    odd: Object = {**secret(version()), "current_version": number}
    other: Object = {**secret(version(), version()), "current_version": number}

    before, after = page({"db": odd, "tls": secret(version())}), page({"db": other, "tls": secret(version())})

    assert before.markers["db"].startswith("unclear ")
    assert before.markers["db"] != after.markers["db"]
    assert before.markers["tls"] == f"1@{MADE}"


@pytest.mark.parametrize(
    "newest",
    [
        pytest.param(version(deletion_time="2026-01-01"), id="time without a zone"),
        pytest.param(version(deletion_time="2025-12-31T23:59:59"), id="time of a day without a zone"),
        pytest.param(version(deletion_time="2025-02-30T00:00:00Z"), id="day that there is not"),
        pytest.param(version(deletion_time="soon"), id="no time"),
        pytest.param({"destroyed": False}, id="made never"),
        pytest.param({**version(), "destroyed": "no"}, id="wrong type"),
        pytest.param("2", id="no object"),
    ],
)
def test_malformed_entry_affects_its_secret_only(newest: Json) -> None:
    def markers(name: str) -> Mapping[str, str]:
        """The entry, with another version before, and that of a secret beside it."""
        versions: Object = {"1": {"created_time": name}, "2": newest}
        return page({"db": {"current_version": 2, "versions": versions}, "tls": secret(version())}).markers

    before, after = markers("a"), markers("b")

    assert before["tls"] == f"1@{MADE}"
    assert before["db"].startswith("unclear ")
    assert before == markers("a")
    assert before["db"] != after["db"]


def test_full_page_says_where_the_next_one_begins() -> None:
    full: Object = {f"app-{number:04}": secret(version(destroyed=number % 2 == 1)) for number in range(PAGE_SIZE)}

    assert page(full).after == f"app-{PAGE_SIZE - 1:04}"
    assert (listing_query(""), listing_query("app-1")) == (
        {"list": "true", "limit": "1500"},
        {"list": "true", "limit": "1500", "after": "app-1"},
    )


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, NotListable),
        (403, NotListable),
        (404, NotListable),
        (405, NotListable),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (307, Unavailable),
    ],
)
def test_refusal_means_read_by_read_and_trouble_means_later(status: int, error: type[BackendError]) -> None:
    with pytest.raises(error):
        parse_page(Response(status, b'{"errors": []}'), FOLDER, now=NOW)


def test_no_page_after_a_full_one_is_the_end() -> None:
    assert parse_page(Response(404, b"{}"), FOLDER, after="app-0999", now=NOW) == Page({}, 0, "")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"data": null}', b'{"data": {"keys": ["a"]}}', b'{"data": {"keys": 1}}']
)
def test_answer_that_is_no_listing_is_none(body: bytes) -> None:
    with pytest.raises(NotListable):
        parse_page(Response(200, body), FOLDER, now=NOW)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("secret/data/shop/db", Place(Folder("secret/data/shop"), "db")),
        ("/secret/data/shop/db/", Place(Folder("secret/data/shop"), "db")),
        ("secret/data/db", Place(Folder("secret/data"), "db")),
        ("team/kv/data/a/b", Place(Folder("team/kv/data/a"), "b")),
        ("data/data/x", Place(Folder("data/data"), "x")),
        ("secret/data/data", Place(Folder("secret/data"), "data")),
        ("data/x", None),
        ("secret/db", None),
        ("secret/data", None),
    ],
)
def test_place_of_a_path(path: str, place: Place | None) -> None:
    assert KvV2().place(parse_path(path), identity="") == place


def test_nothing_is_listed_for_kv_version_1() -> None:
    engine: Engine = KvV1()
    assert engine.place(parse_path("a/data/b"), identity="") is None


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("secret/data/shop", "secret/detailed-metadata/shop/"),
        ("secret/data", "secret/detailed-metadata/"),
        ("team/kv/data/a/data", "team/kv/detailed-metadata/a/data/"),
        ("data/data/x y", "data/detailed-metadata/x%20y/"),
    ],
)
def test_folder_in_a_url(folder: str, path: str) -> None:
    assert listing_url(parse_path(folder)) == path


def test_folder_of_no_versions_can_not_be_listed() -> None:
    with pytest.raises(NotListable):
        listing_url(parse_path("secret/shop"))


@pytest.mark.parametrize("last", ["app-0000", "app-0999"])
def test_page_that_does_not_go_on_ends_the_listing(last: str) -> None:
    names = [f"app-{number:04}" for number in range(PAGE_SIZE - 1)]
    body = msgspec.json.encode({"data": {"keys": [*names, last], "key_info": {}}})

    with pytest.raises(NotListable):
        parse_page(Response(200, body), FOLDER, after="app-0999", now=NOW)
