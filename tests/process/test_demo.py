"""The demo, as a stranger runs it."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.real.program import Program

pytestmark = pytest.mark.real

SHOWN = [
    "OpenBao, a Kubernetes API in memory and the controller are up",
    "✓ a SecretDefinition becomes a Secret _ s",
    "✓ a change in Vault arrives (polled each second here) _ s",
    "✓ a manual edit of the Secret is reverted _ s",
    "✓ the definition is deleted, and its Secret goes with it _ s",
]


def test_the_demo_shows_all_acts_with_their_times_and_ends_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "secrets_manager", "demo"], capture_output=True, text=True, timeout=120, check=False
    )

    lines = [re.sub(r"\d+\.\d\d s", "_ s", line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in lines if line.startswith(("OpenBao", "✓"))] == SHOWN


def test_kept_up_it_names_its_status_page(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with Program([sys.executable, "-m", "secrets_manager", "demo", "--keep"], log=log) as demo:
        demo.start()
        try:
            demo.wait_until(lambda: "In another terminal" in log.read_text(), seconds=120)
            (page,) = re.findall(r"The status page is at (\S+)", log.read_text())
            answer = httpx.get(page, trust_env=False, timeout=20)
        finally:
            code = demo.terminate()  # it ends the programs that it has started, which a kill would leave behind
    assert code == 0
    assert (answer.status_code, "database" in answer.text) == (200, True)


def test_a_context_that_is_not_there_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "secrets_manager", "demo", "--kube-context", "nowhere"],
        env={"HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
