"""A request goes out when its answer is asked for, in one piece."""

import ssl

import httpcore
import pytest

from secrets_manager.net.corked import Corked


class Wire(httpcore.AsyncNetworkStream):
    """Remembers what was done with it, in order."""

    def __init__(self, *, broken: bool = False) -> None:
        self.done: list[str] = []
        self._broken = broken

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        self.done.append(f"write {buffer.decode()} within {timeout}")
        if self._broken:
            raise httpcore.WriteError

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        self.done.append(f"read {max_bytes} within {timeout}")
        return b"answer"

    async def aclose(self) -> None:
        self.done.append("close")

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
    ) -> httpcore.AsyncNetworkStream:
        self.done.append(f"TLS with {server_hostname} within {timeout}")
        return self

    def get_extra_info(self, info: str) -> object:
        return f"its {info}"


@pytest.mark.parametrize("broken", [False, True], ids=["whole", "refused early"])
async def test_request_goes_out_when_its_answer_is_asked_for(*, broken: bool) -> None:
    wire = Wire(broken=broken)
    stream = Corked(wire)

    await stream.write(b"head ", 1.0)
    await stream.write(b"body", 1.0)
    assert wire.done == []

    assert [await stream.read(10, 2.0), await stream.read(20, 3.0)] == [b"answer", b"answer"]
    assert wire.done == ["write head body within 2.0", "read 10 within 2.0", "read 20 within 3.0"]


async def test_stream_under_tls_is_corked_too() -> None:
    wire = Wire()
    stream = await Corked(wire).start_tls(ssl.create_default_context(), "x", 4.0)

    await stream.write(b"head")
    assert wire.done == ["TLS with x within 4.0"]


async def test_what_was_not_sent_is_dropped_by_the_end() -> None:
    wire = Wire()
    stream = Corked(wire)

    await stream.write(b"head")
    await stream.aclose()

    assert wire.done == ["close"]
    assert stream.get_extra_info("socket") == "its socket"
