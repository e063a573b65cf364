"""A real Prometheus of Debian's package `prometheus`, which scrapes one program each second and evaluates rules.

Tests that need it, or promtool, are skipped where it is missing: .ci/setup puts both beside the venv's Python.
"""

import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
import yaml

from fake_kubernetes.documents import Json, Object, at, items, parse, text
from tests.real.program import Program, free_port, may_start

READY_WITHIN = 30.0
JOB = "secrets-manager"


def program_or_skip(name: str) -> str:
    """Where the program is; the test that asks is skipped where it is missing."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: .ci/setup dev gets it, on Debian")
    return found


def promtool(*arguments: str) -> str:
    """Run promtool, and return what it prints. Raises: AssertionError where it fails."""
    assert may_start.get(), "promtool is started by a test that is not marked; mark it: pytest.mark.real"
    command = [program_or_skip("promtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Prometheus:
    """What it knows."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/v1/", trust_env=False, timeout=30)

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._http.get("status/runtimeinfo").is_success
        except httpx.HTTPError:
            return False

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and the value of each sample, now. Raises: AssertionError where the expression is wrong."""
        reply = self._get("query", query=expression)
        return [
            (msgspec.convert(at(each, "metric"), dict[str, str]), float(str(items(each, "value")[1])))
            for each in items(reply, "data", "result")
        ]

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        return {labels["alertname"] for labels, _ in self.query('ALERTS{alertstate="firing"}')}

    def failed_rules(self) -> list[str]:
        """The rules that can't be evaluated."""
        rules = [rule for group in items(self._get("rules"), "data", "groups") for rule in items(group, "rules")]
        assert rules
        return [text(rule, "name") for rule in rules if text(rule, "health") == "err"]

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str, **query: str) -> Object:
        reply = self._http.get(path, params=query)
        assert reply.is_success, reply.text
        return parse(reply.content)


@contextmanager
def running_prometheus(folder: Path, *, scraped_port: int, rules: Json) -> Generator[Prometheus]:
    """One that scrapes the program at this port, under the job JOB, and evaluates these rules."""
    folder.mkdir()
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    target = {"targets": [f"127.0.0.1:{scraped_port}"]}
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": JOB, "honor_labels": True, "static_configs": [target]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = [
        program_or_skip("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with Program(command, log=folder / "prometheus.log") as program:
        program.start()
        made = Prometheus(f"http://127.0.0.1:{port}")
        try:
            program.wait_until(made.ready, seconds=READY_WITHIN)
            yield made
        finally:
            made.close()
