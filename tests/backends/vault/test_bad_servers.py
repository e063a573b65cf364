"""Servers that break HTTP itself, on a real socket."""

import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from secrets_manager.backends.base import BackendError, SourceTooLarge, TimedOut, Unavailable, Unreachable
from secrets_manager.backends.vault.client import VaultClient, open_vault_client
from secrets_manager.config import VaultConfig

MAX_BODY = 8 * 1024 * 1024

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
MIB = b"x" * 1024**2


Answer = Callable[[trio.SocketStream], Awaitable[None]]


async def serve(
    answer: Answer, *, task_status: trio.TaskStatus[trio.SocketListener] = trio.TASK_STATUS_IGNORED
) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listener)
    await trio.serve_listeners(answer, [listener])


@asynccontextmanager
async def client_of(
    *pieces: bytes, endless: bytes = b"", every: float = 0.0, read_timeout: float = 60.0
) -> AsyncGenerator[VaultClient]:
    """A client of a server that answers to each connection with these pieces, and then with the same one for ever."""

    async def answer(stream: trio.SocketStream) -> None:
        try:
            await stream.receive_some()
            for piece in pieces:
                await stream.send_all(piece)
            while endless:
                await stream.send_all(endless)
                await trio.sleep(every)
        except trio.BrokenResourceError:
            pass
        finally:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        listener = await nursery.start(serve, answer)
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with open_vault_client(VaultConfig(url=url, timeout=read_timeout)) as client:
            yield client
        nursery.cancel_scope.cancel()


async def failure(client: VaultClient) -> type[BackendError]:
    with pytest.raises(BackendError) as caught:
        await client.request("GET", "secret/data/app", token="s.canary")
    assert "canary" not in str(caught.value)
    return type(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x16\x03\x01\x00\x05hello",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n{}",
        HEAD + b"Content-Length: 10\r\nContent-Length: 11\r\n\r\n{}",
        HEAD + b"Content-Length: 10\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}",
        HEAD + b"X: " + b"x" * 1024**2,
        b"\xff\xfe\r\n\r\n",
    ],
    ids=lambda answer: repr(answer[-24:]),
)
async def test_what_is_no_http_or_not_whole(answer: bytes) -> None:
    async with client_of(answer) as client:
        assert await failure(client) is Unreachable


async def test_what_is_compressed_is_not_read() -> None:
    """A proxy may do it, though no compression was asked for."""
    async with client_of(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}") as client:
        with pytest.raises(Unavailable, match=r"can't be asked: the response is compressed, which was not asked for"):
            await client.request("GET", "secret/data/app")


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 104857600\r\n\r\n", b"Connection: close\r\n\r\n"],
    ids=["a hundred megabytes", "endless"],
)
async def test_what_is_too_long_is_left_in_the_middle(head: bytes) -> None:
    async with client_of(HEAD + head, endless=MIB) as client:
        tracemalloc.start()
        kind = await failure(client)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert kind is SourceTooLarge
    assert peak < 3 * MAX_BODY


@pytest.mark.parametrize(
    ("pieces", "endless"),
    [((HEAD,), b"X: y\r\n"), ((HEAD, b"Content-Length: 1000\r\n\r\n"), b"x"), ((), b"H")],
    ids=["in the head", "in the body", "before the status"],
)
async def test_what_drips_is_given_up(pieces: tuple[bytes, ...], endless: bytes) -> None:
    async with client_of(*pieces, endless=endless, every=0.05, read_timeout=0.3) as client:
        with trio.fail_after(60):
            kind = await failure(client)

    assert kind in {TimedOut, Unreachable}


async def test_client_is_as_good_as_new_afterwards() -> None:
    answers: list[Callable[[], bytes]] = [
        lambda: HEAD + b"Content-Length: 10\r\n\r\n{}",
        lambda: b"",
        lambda: HEAD + b"Content-Length: 2\r\n\r\n{}",
    ]

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answers.pop(0)())

    async with trio.open_nursery() as nursery:
        listener = await nursery.start(serve, answer)
        config = VaultConfig(url=f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
        async with open_vault_client(config) as client:
            kind = await failure(client)
            reply = await client.request("GET", "secret/data/app")
        nursery.cancel_scope.cancel()

    assert (kind, reply.status, reply.body) == (Unreachable, 200, b"{}")
