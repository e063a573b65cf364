"""What holds of the documents: links lead somewhere, commands are run, references are those of the program."""

import re
from collections.abc import Iterator
from textwrap import dedent
from urllib.parse import unquote, urlsplit

import pytest

from secrets_manager import supervisor
from secrets_manager.controller import rollout_restart
from secrets_manager.controller.definition import Reason
from tests.documents import ROOT, document, names, parsed, section
from tests.monitoring.rules import alert_names
from tests.reference import REFERENCES

LONGEST_README = 120
LONGEST_NAME = 3
"""Words of a command's name, such as `kubectl get secretdefinitions`."""
PROGRAMS = ("kubectl", "vault", "bao", "helm", "curl", "secrets-manager", ".venv/bin/secrets-manager")

USERS_DOCUMENTS = [name for name in names() if name == "README.md" or name.startswith("docs/")]


def dead(name: str, links: tuple[str, ...]) -> list[str]:
    """Those of a document's links within the project that lead nowhere."""
    return [link for link in links if not urlsplit(link).scheme and not _leads(name, unquote(link))]


def _leads(name: str, link: str) -> bool:
    path, _, slug = link.partition("#")
    file = (ROOT / name).parent / path if path else ROOT / name
    if not file.exists():
        return False
    return not slug or slug in document(str(file.resolve().relative_to(ROOT))).sections


@pytest.mark.parametrize("name", names())
def test_every_link_within_the_project_leads_to_a_file_and_a_section(name: str) -> None:
    assert dead(name, document(name).links) == []


def test_dead_links_are_found() -> None:
    text = "[a](none.md) [b](#none) [c](CHANGELOG.md#none) ![d](none.png) [e](LICENSE) [f](https://a.example) `[g](h)`"

    assert dead("README.md", parsed(text).links) == ["none.md", "#none", "CHANGELOG.md#none", "none.png"]


def places_that_are_run() -> set[str]:
    """Arguments of `commands` anywhere in the tests."""
    return {
        place
        for file in (ROOT / "tests").rglob("*.py")
        for place in re.findall(r'\bcommands\("([^"]+)"\)', file.read_text())
    }


def places_of_commands(name: str) -> Iterator[str]:
    for block in document(name).blocks:
        if block.language == "sh" and not block.excuse:
            yield f"{name}#{block.section}"


@pytest.mark.parametrize("name", USERS_DOCUMENTS)
def test_every_shell_command_is_run_by_a_test_or_marked_as_not_run(name: str) -> None:
    assert sorted({*places_of_commands(name)} - places_that_are_run()) == []


def test_no_test_runs_commands_that_are_not_there() -> None:
    there = {place for name in USERS_DOCUMENTS for place in places_of_commands(name)}

    assert sorted(places_that_are_run() - there) == []


@pytest.mark.parametrize("name", USERS_DOCUMENTS)
def test_a_command_with_arguments_stands_in_a_block_where_it_is_run(name: str) -> None:
    words = [code.split() for code in document(name).inline_code]

    assert [" ".join(each) for each in words if each[0] in PROGRAMS and len(each) > LONGEST_NAME] == []


def test_a_marked_command_is_not_taken_for_one_that_is_run() -> None:
    marked, run, other = parsed(
        "# T\n<!-- not run here: no network -->\n```sh\na\n```\n\n```sh\nb\n```\n- x\n\n  ```sh\n  c\n  ```\n"
    ).blocks

    assert (marked.excuse, run.excuse, other.excuse) == ("no network", "", "")
    assert [each.text for each in (marked, run, other)] == ["a\n", "b\n", "c\n"]


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= LONGEST_README


@pytest.mark.parametrize("name", REFERENCES)
def test_reference_is_what_the_program_says(name: str) -> None:
    assert (ROOT / name).read_text() == REFERENCES[name](), f"{name} is old: run `just reference`"


def test_architecture_shows_the_tree_of_the_supervisor() -> None:
    assert supervisor.__doc__ is not None
    tree = next(part for part in supervisor.__doc__.split("\n\n") if part.startswith("    process"))
    assert dedent(tree) in (ROOT / "docs/architecture.md").read_text()


def sections_below(place: str) -> list[str]:
    """The titles of the sections in one."""
    return re.findall(r"^### (\w+)$", section(place), re.MULTILINE)


def test_runbooks_have_each_reason_of_a_failed_sync() -> None:
    assert sections_below("docs/runbooks.md#reasons") == [one for one in Reason if one is not Reason.SYNCED]


def test_runbooks_have_each_reason_of_a_restart_that_failed() -> None:
    failures = [one for one in rollout_restart.Reason if one not in {"UpToDate", "RestartPending"}]

    assert sections_below("docs/runbooks.md#reasons-of-rolloutrestart") == failures


def test_runbooks_and_operations_have_each_alert() -> None:
    listed = re.findall(r"^\| `(SecretsManager\w+)` \|", section("docs/operations.md#alerts"), re.MULTILINE)

    assert sorted(sections_below("docs/runbooks.md#alerts")) == sorted(alert_names())
    assert sorted(listed) == sorted(alert_names())
