"""The project's documents as data, for tests that hold them to their word: sections, blocks of code, links.

A place is a document and, after `#`, a section: `docs/vault.md#approle`. Slugs are those of GitHub.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]

_EXCUSE = re.compile(r"<!-- not run here: (.+) -->")


class Block(NamedTuple):
    """A fenced block of code."""

    section: str
    """Slug of the heading above; empty before the first one."""
    language: str
    text: str
    excuse: str
    """Why no test runs it, from the comment `<!-- not run here: ... -->` above it; empty if there is none."""


class Document(NamedTuple):
    """One Markdown file."""

    sections: dict[str, str]
    """The text below each heading, with the sections in it, by slug."""
    blocks: tuple[Block, ...]
    links: tuple[str, ...]
    """Targets of links and images, as they are written."""
    inline_code: tuple[str, ...]


def parsed(text: str) -> Document:
    """The parts of a Markdown text."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    headings = list(_headings(tokens))
    inline = [child for token in tokens for child in token.children or ()]
    targets = [
        child.attrGet("href") or child.attrGet("src") for child in inline if child.type in ("link_open", "image")
    ]
    return Document(
        _sections(text, headings),
        tuple(_blocks(tokens, headings)),
        tuple(str(target) for target in targets),
        tuple(child.content for child in inline if child.type == "code_inline"),
    )


@cache
def document(name: str) -> Document:
    """A document by its path from the project's root."""
    return parsed((ROOT / name).read_text())


def names() -> list[str]:
    """All Markdown files of the project, whether git is there or not."""
    folders = (ROOT / name for name in ("docs", "deploy", "src", "tests", "benchmarks"))
    files = [*ROOT.glob("*.md"), *(file for folder in folders for file in folder.rglob("*.md"))]
    return sorted(str(file.relative_to(ROOT)) for file in files)


def section(place: str) -> str:
    """The text of a section, with the sections in it."""
    name, _, slug = place.partition("#")
    return document(name).sections[slug]


def blocks(place: str, language: str) -> list[str]:
    """The blocks of code of this language directly below a heading."""
    name, _, slug = place.partition("#")
    found = [each.text for each in document(name).blocks if (each.section, each.language) == (slug, language)]
    assert found, f"there is no block of {language} at {place}"
    return found


def commands(place: str) -> list[str]:
    """The blocks of shell commands at a place, for a test that runs them: each block must be run, or be excused.

    test_documents.py finds the calls of this function by their text, so name the place in quotes.
    """
    name, _, slug = place.partition("#")
    shell = [each for each in document(name).blocks if (each.section, each.language) == (slug, "sh")]
    found = [each.text for each in shell if not each.excuse]
    assert found, f"there is no command at {place}"
    return found


class _Heading(NamedTuple):
    slug: str
    level: int
    begin: int
    end: int
    """Lines of the heading itself, from 0."""


def _headings(tokens: list[Token]) -> Iterator[_Heading]:
    seen: dict[str, int] = {}
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.map:
            slug = _slug("".join(child.content for child in inline.children or ()))
            count = seen[slug] = seen.get(slug, -1) + 1
            yield _Heading(f"{slug}-{count}" if count else slug, int(opening.tag[1:]), *opening.map)


def _slug(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _sections(text: str, headings: list[_Heading]) -> dict[str, str]:
    lines = text.splitlines(keepends=True)
    sections = {}
    for number, heading in enumerate(headings):
        following = (other.begin for other in headings[number + 1 :] if other.level <= heading.level)
        sections[heading.slug] = "".join(lines[heading.end : next(following, len(lines))])
    return sections


def _blocks(tokens: list[Token], headings: list[_Heading]) -> Iterator[Block]:
    excuse = ""
    for token in tokens:
        if token.type == "fence" and token.map:
            above = [heading.slug for heading in headings if heading.begin < token.map[0]]
            yield Block(above[-1] if above else "", token.info, token.content, excuse)
        found = _EXCUSE.fullmatch(token.content.strip()) if token.type == "html_block" else None
        excuse = found[1] if found else ""
