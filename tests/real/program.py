"""One server program of a test run: started with a deadline, never left behind, its log shown when it fails."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from socket import socket
from threading import current_thread, main_thread
from types import TracebackType
from typing import Self

POLL = 0.02
TAIL = 4000

may_start: ContextVar[bool] = ContextVar("may_start", default=True)
"""False in a test that is said to do without real servers."""


class ProgramFailed(Exception):
    """The program ended, or did not become ready in time. The text ends with the tail of its log."""


def free_port() -> int:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """A command that can be started, paused, killed and started again with the same arguments."""

    def __init__(self, command: list[str], *, log: Path, environment: Mapping[str, str] | None = None) -> None:
        # The kernel kills it when the test run dies without a chance to clean up.
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        self._command = guard + command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"Program({self._log.stem})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> None:
        assert may_start.get(), f"{self} is started by a test that is not marked; mark it: pytest.mark.real"
        assert not self.running, f"{self} runs already"
        assert current_thread() is main_thread(), "the kernel would kill it when the starting thread ends"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Raises: ProgramFailed when the program ends before it is ready, or takes longer."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise ProgramFailed(f"{self} ended at once\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProgramFailed(f"{self} was not ready within {seconds} s\n{self.tail()}")
            time.sleep(POLL)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """Asks it to stop, and returns its exit code."""
        return self._end(signal.SIGTERM)

    def ended(self) -> int:
        """Waits for its own end, and returns its exit code."""
        assert self._process
        return self._process.wait(timeout=20)

    def pause(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def tail(self) -> str:
        return self._log.read_text(errors="replace")[-TAIL:] if self._log.exists() else "(no log)"

    def _end(self, signum: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(signum)
        code = self._process.wait()
        self._process = None
        return code
