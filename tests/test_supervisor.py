"""Where the process serves: at one address, at two, or at none."""

import httpx
import pytest
import trio

from secrets_manager.config import ServerConfig
from secrets_manager.server.message import Response, immediate
from secrets_manager.server.router import Route
from secrets_manager.supervisor import listening, serve_all

LOCAL = "127.0.0.1:0"


def saying(text: bytes) -> Route:
    return Route(immediate(lambda _: Response(200, text)))


async def said(config: ServerConfig) -> list[list[str]]:
    """What is answered at the address of the metrics and at that of the probes, where there are such, by path."""
    answers: list[list[str]] = []
    with listening(config) as listeners:
        async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False) as client:
            await nursery.start(
                serve_all, listeners, None, {"/metrics": saying(b"metrics")}, {"/healthz": saying(b"probe")}, None
            )
            for listener in filter(None, listeners):
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                answers.append([(await client.get(f"{url}/{path}")).text for path in ("metrics", "healthz")])
            nursery.cancel_scope.cancel()
    return answers


@pytest.mark.parametrize(
    ("config", "answers"),
    [
        (ServerConfig(metrics_addr=LOCAL), [["metrics", "probe"]]),
        (
            ServerConfig(metrics_addr=LOCAL, health_probe_addr=LOCAL),
            [["metrics", "try /metrics\n"], ["try /healthz\n", "probe"]],
        ),
        (ServerConfig(metrics_addr="", health_probe_addr=LOCAL), [["try /healthz\n", "probe"]]),
        (ServerConfig(metrics_addr=""), []),
    ],
    ids=["one address", "two addresses", "probes alone", "nothing"],
)
async def test_where_metrics_and_probes_are_served(config: ServerConfig, answers: list[list[str]]) -> None:
    assert await said(config) == answers
