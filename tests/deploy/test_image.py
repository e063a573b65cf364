"""The Dockerfile, as far as it can be checked without building it: by a linter, and by what must stand in it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LINTER = Path(sys.executable).parent / "hadolint"


class Instruction(NamedTuple):
    name: str
    text: str


def instructions() -> list[Instruction]:
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in whole]


def of_the_last_stage(name: str) -> list[str]:
    found = instructions()
    begins = max(number for number, one in enumerate(found) if one.name == "FROM")
    return [one.text for one in found[begins:] if one.name == name]


def lint(text: str) -> str:
    command = [str(LINTER), "--failure-threshold", "style", "--no-color", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stdout


def test_the_linter_finds_nothing() -> None:
    assert lint((ROOT / "Dockerfile").read_text()) == ""
    assert "DL3025" in lint("FROM scratch:1\nENTRYPOINT secrets-manager\n")


def test_pid_1_is_the_program_and_gets_the_signal_that_it_understands() -> None:
    assert [json.loads(text) for text in of_the_last_stage("ENTRYPOINT")] == [["secrets-manager"]]
    assert of_the_last_stage("STOPSIGNAL") == ["SIGTERM"]


def test_the_image_has_no_pip_left_and_nothing_is_installed_into_it_but_the_environment_built_before() -> None:
    (run,) = of_the_last_stage("RUN")

    assert run.startswith("python -m pip uninstall ")
    assert run.endswith(" setuptools wheel pip")
    assert of_the_last_stage("COPY") == ["--from=build /opt/secrets-manager /opt/secrets-manager"]


def test_whatever_is_installed_while_building_is_pinned_by_hash_or_was_built_here() -> None:
    installs = [
        command
        for one in instructions()
        if one.name == "RUN"
        for command in one.text.split("&&")
        if re.search(r"pip\b.*\b(install|wheel)\b", command) and "uninstall" not in command
    ]

    assert len(installs) == 5
    assert [command for command in installs if "--require-hashes" not in command and "--no-index" not in command] == []


def test_the_image_says_what_it_is() -> None:
    (labels,) = of_the_last_stage("LABEL")

    assert re.findall(r"org\.opencontainers\.image\.([\w.]+)=", labels) == [
        "title",
        "description",
        "licenses",
        "version",
        "revision",
        "created",
        "source",
        "base.name",
    ]


def test_what_is_copied_is_what_dockerignore_lets_in() -> None:
    copied = {
        source
        for one in instructions()
        if one.name == "COPY" and "--from" not in one.text
        for source in one.text.split()[:-1]
    }
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert [path for path in copied if not any(Path(path).match(pattern) for pattern in let_in)] == []
    assert [path for path in copied if not (ROOT / path).exists()] == []
