"""A program that the demo needs: it runs until the demo is over, and its end before that is the demo's end too."""

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import trio

from secrets_manager.errors import StartError

READY_WITHIN = 20.0
POLL = 0.05


async def run_program(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    ready: Callable[[], Awaitable[bool]],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run it until cancelled, which it gets as SIGTERM; started once it is ready.

    Raises: StartError, in a group, with the last line of its log: it was not ready in time, or it ended by itself.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_run, command, environment, log)
        with trio.move_on_after(READY_WITHIN) as waiting:
            while not await ready():  # noqa: ASYNC110 - another process has no event to wait for
                await trio.sleep(POLL)
        if waiting.cancelled_caught:
            raise StartError(f"{_name(command)} was not ready within {READY_WITHIN:g} s: {_last_line(log)}")
        task_status.started()


async def _run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    with log.open("wb") as output:
        await trio.run_process(
            command,
            stdout=output,
            stderr=output,
            env=environment,
            check=False,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends it in order
        )
    raise StartError(f"{_name(command)} ended by itself: {_last_line(log)}")


def free_port() -> int:
    """Return a port of loopback that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _name(command: Sequence[str]) -> str:
    return " ".join([Path(command[0]).name, *command[1:3]])


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"
