"""One wrapper around a transport that sees every request in order, and lets a test spoil any of them.

    faults = Faults(KubeTransport(cluster))
    faults.at(3, lose_reply())                      # the third request happens, its answer is lost
    faults.always(answer(503), when=is_write)       # until `faults.heal()`
    client = httpx.AsyncClient(transport=faults)
    assert faults.calls == [("GET", "/api/v1/secrets"), ...]

A fault is a function around the sending of one request, so a test can bring its own.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple, TypeAlias

import httpx
import msgspec
import trio

from fake_kubernetes.documents import Object, parse
from fake_kubernetes.patches import merged
from tests.doubles.kube_transport import AS_OF, read_timeout

Send: TypeAlias = Callable[[httpx.Request], Awaitable[httpx.Response]]
Fault: TypeAlias = Callable[[httpx.Request, Send], Awaitable[httpx.Response]]
Condition: TypeAlias = Callable[[httpx.Request], bool]
Killer: TypeAlias = Callable[[trio.CancelScope], Fault]


class Call(NamedTuple):
    """One request as the program sent it, also when a fault kept it from the server."""

    method: str
    path: str


class Rule(NamedTuple):
    fault: Fault
    applies: Callable[[int, httpx.Request], bool]
    times: float


class Faults(httpx.AsyncBaseTransport):
    """Counts all requests from 1 on. The rule that was set first and applies is the one that is used."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.calls: list[Call] = []
        self.requests: list[httpx.Request] = []
        self._inner = inner
        self._rules: list[Rule] = []

    def __repr__(self) -> str:
        return f"Faults({len(self.calls)} calls, {len(self._rules)} rules)"

    def at(self, number: int, fault: Fault) -> None:
        """Spoil the request of this number, counted from the start."""
        self._rules.append(Rule(fault, lambda current, _: current == number, 1))

    def next(self, fault: Fault, *, when: Condition | None = None, times: int = 1) -> None:
        """Spoil the next requests that the condition holds for."""
        self._add(fault, when=when, times=times)

    def always(self, fault: Fault, *, when: Condition | None = None) -> None:
        """Spoil all requests that the condition holds for, until `heal`."""
        self._add(fault, when=when, times=float("inf"))

    def heal(self) -> None:
        """Forget all rules."""
        self._rules.clear()

    def count(self, when: Callable[[Call], bool]) -> int:
        return sum(map(when, self.calls))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(Call(request.method, request.url.path))
        self.requests.append(request)
        fault = self._fault_for(len(self.calls), request)
        if fault is None:
            return await self._inner.handle_async_request(request)
        return await fault(request, self._inner.handle_async_request)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _add(self, fault: Fault, *, when: Condition | None, times: float) -> None:
        self._rules.append(Rule(fault, lambda _, request: when is None or when(request), times))

    def _fault_for(self, number: int, request: httpx.Request) -> Fault | None:
        for index, rule in enumerate(self._rules):
            if rule.times > 0 and rule.applies(number, request):
                self._rules[index] = rule._replace(times=rule.times - 1)
                return rule.fault
        return None


def is_write(request: httpx.Request) -> bool:
    return request.method != "GET"


def is_watch(request: httpx.Request) -> bool:
    return request.url.params.get("watch") in ("1", "true")


def on_path(*, ends: str) -> Condition:
    return lambda request: request.url.path.endswith(ends)


def lose_request(error: Exception | None = None) -> Fault:
    """Raise before the server has seen the request."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        raise error or httpx.ConnectError("connection refused", request=request)

    return fault


def lose_reply(error: Exception | None = None) -> Fault:
    """Let the server act, then raise: the client can't know that it did."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        await (await send(request)).aclose()
        raise error or httpx.ReadError("connection reset by peer", request=request)

    return fault


def kill_before(scope: trio.CancelScope) -> Fault:
    """Let the program die, in the form of its cancel scope, with the request unsent."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        scope.cancel()
        await trio.sleep_forever()

    return fault


def kill_after(scope: trio.CancelScope) -> Fault:
    """Let the program die right after the server has acted."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        with trio.CancelScope(shield=True):
            await (await send(request)).aclose()
        scope.cancel()
        await trio.sleep_forever()

    return fault


def late(seconds: float) -> Fault:
    """Let the server act at once and answer after so many seconds, or never if the client waits less."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        limit = read_timeout(request)
        response = await send(request)
        await trio.sleep(min(seconds, limit))
        if seconds > limit:
            await response.aclose()
            raise httpx.ReadTimeout("no answer in time", request=request)
        return response

    return fault


async def hang(request: httpx.Request, send: Send) -> httpx.Response:
    """Let the client wait in vain, and the server never see the request."""
    await trio.sleep(read_timeout(request))
    raise httpx.ReadTimeout("no answer in time", request=request)


def held(seconds: float) -> Fault:
    """Let the request reach the server only after so many seconds."""

    async def hold(request: httpx.Request, send: Send) -> httpx.Response:
        await trio.sleep(seconds)
        return await send(request)

    return hold


def delayed(seconds: float, *, nursery: trio.Nursery) -> Fault:
    """Let the client give up at once, and the request reach the server all the same, so many seconds later."""

    async def arrive(request: httpx.Request, send: Send) -> None:
        await trio.sleep(seconds)
        await (await send(request)).aclose()

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        nursery.start_soon(arrive, request, send)
        raise httpx.ReadTimeout("no answer in time", request=request)

    return fault


async def twice(request: httpx.Request, send: Send) -> httpx.Response:
    """Let the request arrive twice, as a proxy's retry does; the client gets the second answer."""
    await (await send(request)).aclose()
    return await send(request)


def answer(status: int, *, reason: str = "", message: str = "injected", headers: Mapping[str, str] = {}) -> Fault:
    """Answer with a Status in the server's place."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        document = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": status,
        }  # fmt: skip
        known = {"Content-Type": "application/json", **headers}
        return httpx.Response(status, content=msgspec.json.encode(document), headers=known)

    return fault


def rubbish(content: bytes, *, status: int = 200) -> Fault:
    """Answer with these bytes, which need not be JSON."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        return httpx.Response(status, content=content)

    return fault


def admission(change: Object) -> Fault:
    """Merge a change into what a create, replace or merge patch brings about, as a mutating webhook does."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        body = merged(parse(await request.aread()), change)
        headers = {**request.headers}
        headers.pop("content-length")
        changed = httpx.Request(
            request.method,
            request.url,
            headers=headers,
            content=msgspec.json.encode(body),
            extensions=request.extensions,
        )
        return await send(changed)

    return fault


def seen(change: Object) -> Fault:
    """Merge a change into the object that a request is answered with."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        response = await send(request)
        body = merged(parse(await response.aread()), change)
        return httpx.Response(response.status_code, content=msgspec.json.encode(body))

    return fault


def warned(*texts: str) -> Fault:
    """Let the server act, and warn of something beside its answer."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        response = await send(request)
        headers = [("Warning", f'299 - "{text}"') for text in texts]
        return httpx.Response(response.status_code, content=await response.aread(), headers=headers)

    return fault


def as_of(revision: int) -> Fault:
    """Answer a get or list from the state at an earlier revision, as an API server behind its peers does."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        request.extensions[AS_OF] = revision
        return await send(request)

    return fault


def silent_after(seconds: float) -> Fault:
    """Pass the body on for so long, and then nothing: the connection stays open, until the reader has had enough."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        response = await send(request)
        stream = SilentStream(response, since=trio.current_time() + seconds, limit=read_timeout(request))
        return httpx.Response(response.status_code, stream=stream)

    return fault


class SilentStream(httpx.AsyncByteStream):
    """Another body, as far as it came before a moment. No generator, so that a reader may leave it at any place."""

    def __init__(self, response: httpx.Response, *, since: float, limit: float) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._response = response
        self._chunks = aiter(response.stream)
        self._since = since
        self._limit = limit

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        given_up_at = trio.current_time() + self._limit
        with trio.move_on_at(self._since):
            return await anext(self._chunks)
        await trio.sleep_until(given_up_at)
        raise httpx.ReadTimeout("the stream was silent for too long")

    async def aclose(self) -> None:
        await self._response.aclose()


def cut(at: int, *, error: bool = False) -> Fault:
    """End the body after so many bytes: cleanly, or with the connection lost."""

    async def fault(request: httpx.Request, send: Send) -> httpx.Response:
        response = await send(request)
        whole = await response.aread() if "content-length" in response.headers else None
        return httpx.Response(response.status_code, stream=CutStream(response, whole=whole, at=at, error=error))

    return fault


class CutStream(httpx.AsyncByteStream):
    """The first bytes of another body. No generator, so that a reader may leave it at any place."""

    def __init__(self, response: httpx.Response, *, whole: bytes | None, at: int, error: bool) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._response = response
        self._chunks = aiter(response.stream)
        self._whole = whole
        self._left = at
        self._error = error

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._left and (part := (await self._next_chunk())[: self._left]):
            self._left -= len(part)
            return part
        if self._error:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
        raise StopAsyncIteration

    async def _next_chunk(self) -> bytes:
        if self._whole is None:
            return await anext(self._chunks, b"")
        await trio.lowlevel.checkpoint()
        chunk, self._whole = self._whole, b""
        return chunk

    async def aclose(self) -> None:
        await self._response.aclose()
