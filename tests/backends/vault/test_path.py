"""Valid paths, and their URLs."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secrets_manager.backends.base import SourceMalformed
from secrets_manager.backends.vault.path import parse_path

MAX_LENGTH = 2_048


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("secret/data/app", "secret/data/app"),
        ("secret/data/a b", "secret/data/a%20b"),
        ("secret/data/100%", "secret/data/100%25"),
        ("secret/data/%2e%2e/x", "secret/data/%252e%252e/x"),
        ("secret/data/a%2Fb", "secret/data/a%252Fb"),
        ("secret/data/é", "secret/data/%C3%A9"),
        ("secret/data/a..b", "secret/data/a..b"),
        ("secret/data/...", "secret/data/..."),
        ("secret/data/a+b&c=d;e:f@g", "secret/data/a%2Bb%26c%3Dd%3Be%3Af%40g"),
        ("/secret/data/app", "secret/data/app"),
        ("secret/data/app/", "secret/data/app"),
        ("system/data/app", "system/data/app"),
        ("secret/sys/auth", "secret/sys/auth"),
    ],
)
def test_path_is_encoded_segment_by_segment(path: str, expected: str) -> None:
    assert parse_path(path).url == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "path '' is empty: write the full path, such as secret/data/app"),
        ("/", "path '/' is empty: write the full path, such as secret/data/app"),
        (
            "secret/../sys/mounts",
            "path 'secret/../sys/mounts' has a segment . or ..: write the path without them",
        ),
        ("./secret/app", "path './secret/app' has a segment . or ..: write the path without them"),
        (
            "secret//app",
            "path 'secret//app' has two slashes in a row, or more than one at an end: leave the others out",
        ),
        (
            "//secret/app",
            "path '//secret/app' has two slashes in a row, or more than one at an end: leave the others out",
        ),
        ("secret/app?version=1", "path 'secret/app?version=1' holds one of ? # \\, which are not allowed in a path"),
        ("secret/app#key", "path 'secret/app#key' holds one of ? # \\, which are not allowed in a path"),
        ("secret\\app", "path 'secret\\\\app' holds one of ? # \\, which are not allowed in a path"),
        ("secret/app\nX: y", "path 'secret/app\\nX: y' holds an invisible character: write it again"),
        ("secret/\x7f", "path 'secret/\\x7f' holds an invisible character: write it again"),
        ("secret/\u2028", "path 'secret/\\u2028' holds an invisible character: write it again"),
        ("secret/\ud800", "path 'secret/\\ud800' holds an invisible character: write it again"),
        ("sys/mounts", "path 'sys/mounts' is under sys/, which belongs to Vault itself: correct the path"),
        (
            "/auth/token/lookup-self",
            "path '/auth/token/lookup-self' is under auth/, which belongs to Vault itself: correct the path",
        ),
        ("identity/x", "path 'identity/x' is under identity/, which belongs to Vault itself: correct the path"),
        ("cubbyhole/x", "path 'cubbyhole/x' is under cubbyhole/, which belongs to Vault itself: correct the path"),
    ],
)
def test_invalid_path_is_refused_with_a_hint(path: str, expected: str) -> None:
    with pytest.raises(SourceMalformed) as caught:
        parse_path(path)

    assert str(caught.value) == expected


def test_longest_path() -> None:
    assert parse_path("s/" + "x" * (MAX_LENGTH - 2)).url == "s/" + "x" * (MAX_LENGTH - 2)
    with pytest.raises(SourceMalformed) as caught:
        parse_path("s/" + "x" * (MAX_LENGTH - 1))

    assert str(caught.value).endswith("xxx...' is longer than 2048 characters")
    assert len(str(caught.value)) < 300


def encoded_or_none(path: str) -> str | None:
    try:
        return parse_path(path).url
    except SourceMalformed:
        return None


@given(st.text(max_size=40) | st.text(alphabet="as/.%?#\\ \n", max_size=12))
def test_what_is_read_is_what_was_written_or_nothing(path: str) -> None:
    encoded = encoded_or_none(path)
    if encoded is None:
        return

    segments = encoded.split("/")
    assert encoded.isascii()
    assert not set(encoded) & set("?#\\ ")
    assert not {"", ".", ".."} & set(segments)
    assert [unquote(segment) for segment in segments] == path.removeprefix("/").removesuffix("/").split("/")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("secret/data/shop/db", (("secret",), ("shop", "db"))),
        ("team/kv/data/a/data/b", (("team", "kv"), ("a", "data", "b"))),
        ("data/data/x", (("data",), ("x",))),
        ("secret/data", (("secret",), ())),
        ("data/x", None),
        ("secret/shop", None),
    ],
)
def test_parts_of_a_path_of_kv2(path: str, expected: tuple[tuple[str, ...], tuple[str, ...]] | None) -> None:
    assert parse_path(path).kv_v2 == expected
