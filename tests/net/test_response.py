import gc
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import NamedTuple

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secrets_manager.net.connection import encoded
from secrets_manager.net.response import Headers, ResponseParser

MAX_FRAMING = 100 * 1024

HEAD = b"HTTP/1.1 200 OK\r\n"
SIZED = HEAD + b"Content-Length: 11\r\nX-Name: a b\r\n\r\nhello world"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
UNTIL_THE_END = HEAD + b"X-Name: c\r\n\r\nhello world"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
TWICE = [(b"A", b"1"), (b"A", b"2"), (b"Content-Length", b"0")]
WHOLE = [SIZED, CHUNKED, INTERIM + SIZED, INTERIM + CHUNKED, EMPTY, HEAD + b"Content-Length: 0\r\n\r\n"]


class Read(NamedTuple):
    """What a parser has made of some chunks."""

    complete: bool
    keep_alive: bool
    status: int
    headers: Headers
    body: bytes


def read(*chunks: bytes) -> Read:
    parser, body = ResponseParser(), b""
    for chunk in chunks:
        parser.feed(chunk)
        body += parser.take_body()
    return Read(parser.is_complete, parser.keep_alive, parser.status, parser.headers, body)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (SIZED, (200, [(b"Content-Length", b"11"), (b"X-Name", b"a b")], b"hello world")),
        (CHUNKED, (200, [(b"transfer-encoding", b"chunked")], b"hello world")),
        (INTERIM + SIZED, (200, [(b"Content-Length", b"11"), (b"X-Name", b"a b")], b"hello world")),
        (EMPTY, (204, [], b"")),
        (HEAD + b"A: 1\r\nA: 2\r\nContent-Length: 0\r\n\r\n", (200, TWICE, b"")),
    ],
)
def test_response_ends_where_its_head_says(response: bytes, answer: tuple[int, Headers, bytes]) -> None:
    assert read(response) == (True, True, *answer)


@given(st.sampled_from(WHOLE), st.lists(st.integers(1, 200), max_size=8))
def test_response_may_be_cut_at_any_byte(response: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted({cut for cut in cuts if cut < len(response)}), len(response)]
    pieces = [response[start:end] for start, end in pairwise(bounds)]

    assert not read(*pieces[:-1]).complete
    assert read(*pieces) == read(response)


@pytest.mark.parametrize("response", WHOLE)
def test_connection_closed_before_the_end_of_a_response_is_an_error(response: bytes) -> None:
    for cut in range(len(response)):
        with pytest.raises(httpx.RemoteProtocolError, match="closed the connection"):
            read(*filter(None, [response[:cut]]), b"")


def test_response_without_a_length_ends_with_its_connection() -> None:
    assert not read(UNTIL_THE_END).complete

    ended = read(UNTIL_THE_END, b"")
    assert (ended.complete, ended.keep_alive, ended.body) == (True, False, b"hello world")


@pytest.mark.parametrize(
    "response",
    [
        SIZED.replace(b"X-Name: a b", b"Connection: close"),
        SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"),
        SIZED + b"HTTP/1.1 200 OK\r\n",
        SIZED + b"garbage",
        SIZED + SIZED,
    ],
    ids=["the server says so", "HTTP/1.0", "another response begins", "garbage follows", "another response follows"],
)
def test_connection_serves_no_other_request(response: bytes) -> None:
    got = read(response)

    assert (got.complete, got.keep_alive, got.body) == (True, False, b"hello world")


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"\x16\x03\x01",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\nabc",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}garbage",
        HEAD + b"X-Folded: a\r\n b\r\n\r\n",
        HEAD + b"X-Null: \x00\r\n\r\n",
    ],
)
def test_malformed_response_is_an_error(response: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        read(response)


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (HEAD, b"X-Name: " + b"x" * 1000 + b"\r\n"),
        (b"", INTERIM),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", b"X-Trailer: t\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;", b"extension" * 100),
    ],
    ids=["headers", "interim responses", "trailers", "chunk extensions"],
)
def test_what_is_no_body_has_a_bound(start: bytes, again: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without any of the body"):
        read(*filter(None, [start]), *[again] * (MAX_FRAMING // len(again) + 2))


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from(
                [HEAD, b"\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n"]
            ),
            st.sampled_from(WHOLE),
        ),
        max_size=8,
    )
)
def test_whatever_a_server_sends_is_a_response_or_an_error_of_httpx(chunks: list[bytes]) -> None:
    with suppress(httpx.TransportError):
        read(*chunks)


@pytest.mark.parametrize(
    "header",
    [
        (b"X-Vault-Token", b"canary\r\nX-Other: 1"),
        (b"X-Vault-Token", b"canary\x00"),
        (b"X Name", b"canary"),
        (b"", b"canary"),
    ],
)
def test_header_that_could_pass_for_another_is_not_sent_nor_quoted(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(httpx.LocalProtocolError) as caught:
        encoded(httpx.Request("GET", "http://x/", headers=[header]), b"")

    assert "canary" not in str(caught.value)


def test_request_is_its_head_and_its_body() -> None:
    request = httpx.Request("POST", "http://x/a?b=%20", headers=[(b"A", b"b c")], content=b"body")
    head = b"HTTP/1.1\r\nHost: x\r\nA: b c\r\nContent-Length: 4\r\n"

    assert encoded(request, b"body") == b"POST /a?b=%20 " + head + b"\r\nbody"
    assert encoded(request, b"body", proxy_headers=[(b"Proxy-Authorization", b"Basic x")]) == (
        b"POST http://x/a?b=%20 " + head + b"Proxy-Authorization: Basic x\r\n\r\nbody"
    )


@contextmanager
def no_garbage_collection() -> Generator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("chunks", [[], [SIZED], [CHUNKED[:60], CHUNKED[60:]], [UNTIL_THE_END, b""], [SIZED, b"more"]])
def test_response_at_its_beginning_or_end_is_no_work_for_the_garbage_collector(chunks: list[bytes]) -> None:
    parser = ResponseParser()
    for chunk in chunks:
        parser.feed(chunk)
    gone = weakref.ref(parser)

    with no_garbage_collection():
        del parser

        assert gone() is None
