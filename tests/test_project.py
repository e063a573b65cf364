"""What the project's own files promise to those who clone it, and to each other."""

import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement

from tests.documents import commands

ROOT = Path(__file__).parents[1]
DEMO = ".ci/setup demo && .venv/bin/secrets-manager demo"
TEST = ".ci/setup demo,dev && .venv/bin/just test"

FOLDERS = (".ci", "deploy", "docs", "src", "tests", "typings")


def text_files() -> list[Path]:
    """All that belongs to the project, whether git is there or not."""
    not_ours = {
        ".git",
        ".coverage",
    }  # the first is a file in a worktree, the second is what `just coverage` has measured
    top = [path for path in ROOT.iterdir() if path.is_file() and path.name not in not_ours]
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for path in top + below if path.suffix != ".pyc"]


class Comment(NamedTuple):
    place: str
    text: str


def comments() -> Iterator[Comment]:
    for path in (*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")):
        with tokenize.open(path) as source:
            for token in tokenize.generate_tokens(source.readline):
                if token.type == tokenize.COMMENT:
                    yield Comment(f"{path.relative_to(ROOT)}:{token.start[0]}", token.string)


def rules_of(manifest: Path) -> object:
    """The rules of the first role in a manifest."""
    role = next(iter(yaml.safe_load_all(manifest.read_text())))
    return role["rules"]


def test_quick_start_is_exactly_two_commands() -> None:
    assert commands("README.md#quick-start") == [f"{DEMO}\n", f"{TEST}\n"]


def test_ci_runs_the_test_command_of_the_readme_the_simulator_and_the_checks() -> None:
    run = (ROOT / ".ci" / "run").read_text()

    assert [line for line in run.splitlines() if line.endswith("|| status=$?")] == [
        f"{TEST} || status=$?",
        ".venv/bin/just simulate --seeds 300 || status=$?",
        ".venv/bin/just check || status=$?",
    ]


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(
            r"\b(?:pypi|pythonhosted|debian|npmjs|docker|ghcr|quay|gcr|proxy[.]golang)[.](?:org|com|net|io)\b",
            id="registry",
        ),
        pytest.param(r"(?<![\w.$}*-])/(?:work|root|home|Users)/\w", id="path of a machine"),
    ],
)
def test_no_file_names_what_only_one_machine_has(foreign: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in text_files()
        for match in re.finditer(foreign, path.read_text())
    ]

    assert found == []


def test_every_dependency_has_a_floor() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = pyproject["project"]
    wanted = [
        *pyproject["build-system"]["requires"],
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]

    without = [line for line in wanted if ">=" not in {part.operator for part in Requirement(line).specifier}]

    assert without == []


def test_pythons_that_are_declared_are_those_that_setup_looks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [line.removeprefix("Programming Language :: Python :: ") for line in project["classifiers"]]
    looked_for = re.findall(r"\bpython(3\.\d+)\b", (ROOT / ".ci" / "setup").read_text())

    assert list(reversed(looked_for)) == declared
    assert project["requires-python"] == f">={declared[0]}"


def test_go_of_the_wheel_is_new_enough_for_the_control_plane() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (wheel,) = map(Requirement, extras["envtest"])
    module = (ROOT / "tests" / "real" / "controlplane" / "go.mod").read_text()
    needed = re.findall(r"^go (\S+)$", module, re.MULTILINE)

    assert [str(one.version) for one in wheel.specifier] == needed


def test_every_suppressed_warning_has_a_code_and_a_reason() -> None:
    suppressing = re.compile(r"#.*\b(?:noqa|type:\s*ignore|mypy:\s*\w)")
    argued = re.compile(
        r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[\w, -]+\])\s+(?:[-#]\s*)?(?!noqa|type:)\w"
    )

    bare = [comment for comment in comments() if suppressing.search(comment.text) and not argued.search(comment.text)]

    assert bare == []


def test_image_installs_the_versions_that_the_project_asks_for_but_for_what_only_login_plugins_need() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "deploy" / "requirements.txt").read_text(), re.MULTILINE))

    wanted = [Requirement(line) for line in pyproject["project"]["dependencies"]]

    missing = [one.name for one in wanted if not one.specifier.contains(locked.get(one.name.lower(), "0"))]
    assert missing == ["kubernetes"]


def test_rights_are_the_same_cluster_wide_and_in_one_namespace() -> None:
    deploy = ROOT / "deploy"

    assert rules_of(deploy / "cluster-wide" / "clusterrole.yaml") == rules_of(
        deploy / "namespaced" / "namespace-shop.yaml"
    )
