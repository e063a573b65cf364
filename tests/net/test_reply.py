import tracemalloc
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secrets_manager.net.connection import encoded
from secrets_manager.net.exchange import Answer, Request, Server
from secrets_manager.net.reply import MAX_FRAMING, ReplyReader
from secrets_manager.net.streams import ReplyTooLarge

HEAD = b"HTTP/1.1 200 OK\r\n"
SIZED = HEAD + b"Content-Length: 11\r\nX-Name: a b\r\n\r\nhello world"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
UNTIL_THE_END = HEAD + b"X-Name: c\r\n\r\nhello world"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
TWICE = [(b"A", b"1"), (b"A", b"2"), (b"Content-Length", b"0")]
WHOLE = [SIZED, CHUNKED, INTERIM + SIZED, INTERIM + CHUNKED, EMPTY, HEAD + b"Content-Length: 0\r\n\r\n"]


def read(*chunks: bytes, at_most: int = 1000) -> ReplyReader:
    reply = ReplyReader(at_most=at_most)
    for chunk in chunks:
        reply.feed(chunk)
    return reply


def test_a_reply_is_held_once() -> None:
    size, chunk = 16 * 1024 * 1024, b"x" * 65_536
    reply = ReplyReader(at_most=size)
    tracemalloc.start()
    try:
        reply.feed(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        while not reply.complete:
            reply.feed(chunk)
        body = reply.answer.body
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(body) == size
    assert peak < 1.25 * size


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (SIZED, Answer(200, [(b"Content-Length", b"11"), (b"X-Name", b"a b")], b"hello world")),
        (CHUNKED, Answer(200, [(b"transfer-encoding", b"chunked")], b"hello world")),
        (INTERIM + SIZED, Answer(200, [(b"Content-Length", b"11"), (b"X-Name", b"a b")], b"hello world")),
        (EMPTY, Answer(204, [], b"")),
        (HEAD + b"A: 1\r\nA: 2\r\nContent-Length: 0\r\n\r\n", Answer(200, TWICE, b"")),
    ],
)
def test_reply_ends_where_its_head_says(reply: bytes, answer: Answer) -> None:
    got = read(reply)

    assert (got.complete, got.keep_alive) == (True, True)
    assert got.answer == answer


@given(st.sampled_from(WHOLE), st.lists(st.integers(1, 200), max_size=8))
def test_reply_may_be_cut_at_any_byte(reply: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted({cut for cut in cuts if cut < len(reply)}), len(reply)]
    pieces = [reply[start:end] for start, end in pairwise(bounds)]

    assert not read(*pieces[:-1]).complete
    assert read(*pieces).answer == read(reply).answer


@pytest.mark.parametrize("reply", WHOLE)
def test_connection_closed_before_the_end_of_a_reply_is_an_error(reply: bytes) -> None:
    for cut in range(len(reply)):
        with pytest.raises(httpx.RemoteProtocolError, match="closed the connection"):
            read(*filter(None, [reply[:cut]]), b"")


def test_reply_without_a_length_ends_with_its_connection() -> None:
    assert not read(UNTIL_THE_END).complete

    ended = read(UNTIL_THE_END, b"")
    assert (ended.complete, ended.keep_alive, ended.answer.body) == (True, False, b"hello world")


@pytest.mark.parametrize(
    "reply",
    [
        SIZED.replace(b"X-Name: a b", b"Connection: close"),
        SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"),
        SIZED + b"HTTP/1.1 200 OK\r\n",
        SIZED + b"garbage",
        SIZED + SIZED,
    ],
    ids=["the server says so", "HTTP/1.0", "another reply begins", "garbage follows", "another reply follows"],
)
def test_connection_serves_no_other_request(reply: bytes) -> None:
    got = read(reply)

    assert (got.complete, got.keep_alive, got.answer.body) == (True, False, b"hello world")


@pytest.mark.parametrize(
    "reply",
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
def test_malformed_reply_is_an_error(reply: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        read(reply)


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (HEAD, b"X-Name: " + b"x" * 1000 + b"\r\n"),
        (b"", INTERIM),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", b"X-Trailer: t\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;", b"extension" * 100),
    ],
    ids=["headers", "interim replies", "trailers", "chunk extensions"],
)
def test_what_is_no_body_has_a_bound(start: bytes, again: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without any of the body"):
        read(*filter(None, [start]), *[again] * (MAX_FRAMING // len(again) + 2))


@pytest.mark.parametrize("reply", [SIZED, CHUNKED, UNTIL_THE_END])
def test_body_has_a_bound(reply: bytes) -> None:
    read(reply, at_most=11)
    with pytest.raises(ReplyTooLarge, match="longer than 10 bytes"):
        read(reply, at_most=10)


@pytest.mark.parametrize("reply", [SIZED, CHUNKED])
def test_compressed_reply_is_refused_before_its_body_has_come(reply: bytes) -> None:
    head = reply.partition(b"\r\n\r\n")[0] + b"\r\nContent-Encoding: gzip\r\n\r\n"
    with pytest.raises(httpx.DecodingError, match="compressed"):
        read(head)


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
def test_whatever_a_server_sends_is_a_reply_or_an_error_of_httpx(chunks: list[bytes]) -> None:
    reply = ReplyReader(at_most=100)
    try:
        for chunk in chunks:
            reply.feed(chunk)
    except (httpx.TransportError, httpx.DecodingError):
        return
    assert len(reply.answer.body) <= 100


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"/a b", []),
        (b"/a\r\nHost: other", []),
        (b"", []),
        (b"/", [(b"X-Vault-Token", b"canary\r\nX-Other: 1")]),
        (b"/", [(b"X-Vault-Token", b"canary\x00")]),
        (b"/", [(b"X Name", b"canary")]),
        (b"/", [(b"", b"canary")]),
    ],
)
def test_request_that_could_pass_for_another_is_not_sent_nor_quoted(
    target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(httpx.LocalProtocolError) as caught:
        encoded(Request(Server(b"http", b"x", None), "GET", target, headers, b"", {}))

    assert "canary" not in str(caught.value)


def test_request_is_its_head_and_its_body() -> None:
    request = Request(Server(b"http", b"x", None), "POST", b"/a?b=%20", [(b"Host", b"x"), (b"A", b"b c")], b"body", {})

    assert encoded(request) == b"POST /a?b=%20 HTTP/1.1\r\nHost: x\r\nA: b c\r\n\r\nbody"
