"""`just release` and `just build`, each in a repository of its own that is thrown away."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
VENV = Path(sys.executable).parent
pytestmark = pytest.mark.real  # a hundred processes of git, and four builds of a wheel

CONFIGURATION = {
    "GIT_AUTHOR_NAME": "Author",
    "GIT_AUTHOR_EMAIL": "author@example.com",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_NAME": "Committer",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_EMAIL": "committer@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}
CHART = "deploy/chart/Chart.yaml"
OVERLAYS = ("deploy/cluster-wide/kustomization.yaml", "deploy/namespaced/kustomization.yaml")
CHANGELOG = """# Changelog

## [Unreleased]

### Added

- A flag.

## [1.0.0] - 2020-01-02
"""


class Repository:
    """One commit, with the files that a release or a build uses."""

    def __init__(self, root: Path, *, version: str = "3.0.0.dev0", sources: bool = False) -> None:
        self._root = root
        for name in (".ci/release", ".ci/build", ".ci/image", ".gitignore", "LICENSE", "README.md", CHART, *OVERLAYS):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        project = (ROOT / "pyproject.toml").read_text()
        self.write("pyproject.toml", re.sub(r'(?m)^version = .*"$', f'version = "{version}"', project))
        self.write("CHANGELOG.md", CHANGELOG)
        if sources:
            not_ours = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / "src", root / "src", ignore=not_ours, copy_function=shutil.copyfile)
        self.git("init", "--quiet")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "first")

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments, check=True).stdout.strip()

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(".ci/release", *arguments)

    def build(self, *arguments: str, path: str) -> subprocess.CompletedProcess[str]:
        return self.run(".ci/build", *arguments, path=path)

    def run(
        self, *command: str, path: str = os.environ["PATH"], check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        environment = os.environ | CONFIGURATION | {"PATH": path}
        return subprocess.run(command, cwd=self._root, env=environment, capture_output=True, text=True, check=check)

    def read(self, name: str) -> str:
        return (self._root / name).read_text()

    def write(self, name: str, text: str) -> None:
        (self._root / name).write_text(text)

    def state(self) -> tuple[str, str, str]:
        return self.git("rev-parse", "HEAD"), self.git("status", "--porcelain"), self.git("tag")

    def version(self) -> str:
        (version,) = re.findall(r'^version = "(.*)"$', self.read("pyproject.toml"), re.MULTILINE)
        return str(version)

    def versions_of_the_chart(self) -> list[str]:
        chart = yaml.safe_load(self.read(CHART))
        return [chart["version"], chart["appVersion"]]

    def image_tags(self) -> list[str]:
        return [image["newTag"] for name in OVERLAYS for image in yaml.safe_load(self.read(name))["images"]]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("major", "2.3.4", "3.0.0"),
        ("minor", "2.3.4", "2.4.0"),
        ("patch", "2.3.4", "2.3.5"),
        ("major", "3.0.0.dev0", "3.0.0"),
        ("minor", "2.1.0.dev0", "2.1.0"),
        ("major", "2.1.0.dev0", "3.0.0"),
        ("minor", "2.1.1.dev0", "2.2.0"),
    ],
)
def test_release_sets_the_version_and_the_image_tags_commits_and_tags(
    tmp_path: Path, kind: str, before: str, after: str
) -> None:
    repository = Repository(tmp_path, version=before)

    result = repository.release(kind)

    assert (result.returncode, result.stderr) == (0, "")
    assert repository.version() == after
    assert repository.image_tags() == [after, after]
    assert repository.versions_of_the_chart() == [after, after]
    assert repository.git("status", "--porcelain") == ""
    assert repository.git("log", "--format=%s").splitlines() == [f"release: {after}", "first"]
    assert repository.git("describe") == f"v{after}"
    assert set(repository.git("diff", "--name-only", "HEAD^").splitlines()) == {
        "CHANGELOG.md",
        "pyproject.toml",
        CHART,
        *OVERLAYS,
    }


def test_release_dates_the_changelog_and_begins_a_new_section(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    first_day = datetime.now(UTC).date()

    repository.release("major")

    days = {f"{day:%Y-%m-%d}" for day in (first_day, datetime.now(UTC).date())}
    assert repository.read("CHANGELOG.md") in {
        CHANGELOG.replace("## [Unreleased]\n", f"## [Unreleased]\n\n## [3.0.0] - {day}\n") for day in days
    }


def test_dry_run_shows_the_differences_and_changes_nothing(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    before = repository.state()

    result = repository.release("major", "--dry-run")

    assert result.returncode == 0
    assert repository.state() == before
    assert '\n-version = "3.0.0.dev0"\n+version = "3.0.0"\n' in result.stdout
    assert result.stdout.count("\n+    newTag: 3.0.0\n") == 2
    assert '\n+version: 3.0.0\n+appVersion: "3.0.0"\n' in result.stdout
    assert "\n+## [3.0.0] - " in result.stdout


@pytest.mark.parametrize("name", ["README.md", "new-file"])
def test_release_refuses_a_tree_with_changes(tmp_path: Path, name: str) -> None:
    repository = Repository(tmp_path)
    repository.write(name, "changed\n")
    before = repository.state()

    result = repository.release("patch")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "release: refused: the working tree has changes that are not committed\n"
    assert repository.state() == before


def test_release_refuses_a_version_that_has_a_tag(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.git("tag", "v3.0.0")
    before = repository.state()

    result = repository.release("patch")

    assert result.stderr == "release: refused: the tag v3.0.0 exists\n"
    assert repository.state() == before


def test_release_needs_one_of_the_three_kinds(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    before = repository.state()

    results = [repository.release(*arguments) for arguments in ((), ("huge",), ("--dry-run",), ("major", "minor"))]

    usage = "release: use  .ci/release major|minor|patch [--dry-run]\n"
    assert [(result.returncode, result.stderr) for result in results] == [(1, usage)] * 4
    assert repository.state() == before


def programs(folder: Path, **stand_ins: str) -> str:
    """A PATH with what a build uses, and no builder of images; a stand-in is a shell script."""
    folder.mkdir()
    for name in ("bash", "diff", "dirname", "git", "mkdir", "mktemp", "mv", "rm", "sed", "sha256sum"):
        (folder / name).symlink_to(shutil.which(name) or name)
    (folder / "hatchling").symlink_to(VENV / "hatchling")
    for name, script in stand_ins.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_wheel_depends_on_the_commit_alone(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin")
    hashes = []
    for name, umask in (("one", 0o022), ("other", 0o077)):
        inherited = os.umask(umask)
        try:
            result = Repository(tmp_path / name, version="2.3.4", sources=True).build(path=path)
        finally:
            os.umask(inherited)
        assert result.returncode == 0
        (wheel,) = (tmp_path / name / "dist").iterdir()
        assert wheel.name == "secrets_manager-2.3.4-py3-none-any.whl"
        hashes.append(hashlib.sha256(wheel.read_bytes()).hexdigest())
        assert f"{hashes[-1]}  ./{wheel.name}" in result.stdout.splitlines()

    assert hashes[0] == hashes[1]


def test_build_fails_where_two_wheels_differ(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", hatchling='mkdir "$5"; echo $$ >"$5/a.whl"')

    result = Repository(tmp_path / "project").build(path=path)

    assert result.returncode == 1
    assert "first/a.whl" in result.stdout
    assert not (tmp_path / "project" / "dist").exists()


def test_build_without_a_builder_of_images_says_so(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", hatchling='mkdir "$5"; echo >"$5/a.whl"')

    result = Repository(tmp_path / "project").build(path=path)

    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == "build: no image, for lack of podman or docker"


def test_image_is_built_with_the_version_and_the_commit(tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", hatchling='mkdir "$5"; echo >"$5/a.whl"', podman='echo "$*"')
    repository = Repository(tmp_path / "project", version="2.3.4")
    commit = repository.git("rev-parse", "HEAD")

    of_the_commit, packages = repository.build(path=path).stdout.splitlines()[-2:]
    repository.write("README.md", "changed\n")
    changed, _ = repository.build("images.example.com/secrets-manager:next", path=path).stdout.splitlines()[-2:]

    assert "--tag secrets-manager:dev --build-arg VERSION=2.3.4" in of_the_commit
    assert f"--build-arg REVISION={commit} " in of_the_commit
    assert packages == "build --target sbom --output dist ."
    assert "--tag images.example.com/secrets-manager:next --build-arg VERSION=2.3.4" in changed
    assert f"--build-arg REVISION={commit}-dirty " in changed


@pytest.mark.parametrize("place", ["images.example.com/secrets-manager", "localhost:5000/secrets-manager"])
def test_image_without_a_tag_gets_that_of_the_chart_and_the_overlays(tmp_path: Path, place: str) -> None:
    path = programs(tmp_path / "bin", podman='echo "$*"')
    repository = Repository(tmp_path / "project", version="2.3.4")
    repository.release("minor")

    of_the_release = repository.run(".ci/image", "--push", place, path=path).stdout.splitlines()

    assert repository.image_tags() == ["2.4.0", "2.4.0"]
    assert f"--tag {place}:2.4.0 --build-arg VERSION=2.4.0" in of_the_release[0]
    assert of_the_release[-1] == f"push {place}:2.4.0"
