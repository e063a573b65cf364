"""Take a template apart into text, outputs and tags: in one pass, in time that grows with its length alone.

The lexers of python-liquid are regular expressions, which search to the end again and again where a template is made
for that. So the outer one is replaced by this, and the inner one gets only what was found in order here.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from liquid.token import TOKEN_CONTENT, TOKEN_EXPRESSION, TOKEN_OUTPUT, TOKEN_TAG, Token

from secrets_manager.templates import bounds
from secrets_manager.templates.errors import TemplateInvalid, located, shown

TAGS = ("assign", "capture", "endcapture", "if", "elsif", "else", "endif", "unless", "endunless")

_OPENING = re.compile(r"\{[{%]")
_TAG = re.compile(r"(?P<name>#|\w*)\s*(?P<rest>.*)", re.DOTALL)
_VERBATIM = {
    "raw": re.compile(r"\{%-?\s*endraw\s*-?%\}"),
    "comment": re.compile(r"\{%-?\s*endcomment\s*-?%\}"),
}
_SPACE = r"[ \t\r\n]*"
_STRING = r"""(?:"[^"]*"|'[^']*')"""
_BRACKETS = rf"\[{_SPACE}{_STRING}{_SPACE}\]"
_WORD = re.compile(rf"{_SPACE}({_STRING}|{_BRACKETS}|[A-Za-z0-9_][A-Za-z0-9_-]*|[!=<>]=|<>|[.:,|<>=])")


class _Markup(NamedTuple):
    """`{{ inside }}` or `{% inside %}`, from `start` to `end`. A dash at an edge cuts the white space beside it."""

    opening: str
    start: int
    end: int
    inside: str
    inside_at: int
    cuts_before: bool
    cuts_after: bool


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a template, as python-liquid's parser takes them. Raises: TemplateInvalid."""
    count = _Count(text)
    position, cut = 0, False
    while (markup := _next_markup(text, position)) is not None:
        yield from _content(text, position, markup.start, cut_left=cut, cut_right=markup.cuts_before)
        position, cut = markup.end, markup.cuts_after
        count.step(markup.start)
        if markup.opening == "{{":
            count.words(markup.inside, markup.inside_at)
            yield Token(TOKEN_OUTPUT, text[markup.start : markup.end], markup.start, text)
            yield Token(TOKEN_EXPRESSION, markup.inside, markup.inside_at, text)
            continue
        name, rest, rest_at = _tag(markup)
        if name in _VERBATIM:
            end = _VERBATIM[name].search(text, markup.end)
            if end is None:
                raise TemplateInvalid(located(text, markup.start, f"{name} is never closed: add {{% end{name} %}}"))
            if name == "raw":
                yield from _content(
                    text, markup.end, end.start(), cut_left=cut, cut_right=end.group().startswith("{%-")
                )
            position, cut = end.end(), end.group().endswith("-%}")
        elif name in TAGS:
            count.words(rest, rest_at)
            yield Token(TOKEN_TAG, name, markup.start, text)
            if rest:
                yield Token(TOKEN_EXPRESSION, rest, rest_at, text)
        elif name != "#":
            raise TemplateInvalid(
                located(text, markup.start, f"{shown(name)} is no tag: there are {', '.join(TAGS)}, comment and raw")
            )
    yield from _content(text, position, len(text), cut_left=cut, cut_right=False)


def _content(text: str, start: int, end: int, *, cut_left: bool, cut_right: bool) -> Iterator[Token]:
    content = text[start:end]
    content = content.lstrip() if cut_left else content
    content = content.rstrip() if cut_right else content
    if content:
        yield Token(TOKEN_CONTENT, content, start, text)


def _next_markup(text: str, position: int) -> _Markup | None:
    opening = _OPENING.search(text, position)
    if opening is None:
        return None
    closing = "}}" if opening.group() == "{{" else "%}"
    end = text.find(closing, opening.end())
    if end < 0:
        raise TemplateInvalid(
            located(text, opening.start(), f"{opening.group()} is never closed: add {closing}, or write it in raw")
        )
    whole = text[opening.end() : end]
    inside = whole.removeprefix("-").removesuffix("-")
    before = len(inside) - len(inside.lstrip()) + whole.startswith("-")
    return _Markup(
        opening=opening.group(),
        start=opening.start(),
        end=end + len(closing),
        inside=inside.strip(),
        inside_at=opening.end() + before,
        cuts_before=whole.startswith("-"),
        cuts_after=whole.endswith("-"),
    )


def _tag(markup: _Markup) -> tuple[str, str, int]:
    """Return the name of a tag, what follows it, and where that stands."""
    found = _TAG.match(markup.inside)
    assert found is not None
    return found["name"], found["rest"], markup.inside_at + found.start("rest")


class _Count:
    """Counts the steps of a template and their words, and refuses what is no word."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._steps = self._words = 0

    def step(self, at: int) -> None:
        """Raises: TemplateInvalid."""
        self._steps += 1
        if self._steps > bounds.MAX_STEPS:
            raise self._too_large(at, f"more than {bounds.MAX_STEPS} tags and outputs")

    def words(self, expression: str, at: int) -> None:
        """Raises: TemplateInvalid."""
        words = self._words_in(expression, at)
        self._words += words
        if self._words > bounds.MAX_WORDS:
            raise self._too_large(at, f"more than {bounds.MAX_WORDS} words in tags and outputs")

    def _too_large(self, at: int, what: str) -> TemplateInvalid:
        return TemplateInvalid(located(self._text, at, f"{what}: make several keys of the template"))

    def _words_in(self, expression: str, at: int) -> int:
        words = position = 0
        while position < len(expression):
            word = _WORD.match(expression, position)
            if word is None:
                raise TemplateInvalid(located(self._text, at, _fault(expression[position:].lstrip())))
            position = word.end()
            words += 1
            if words > bounds.MAX_STEP_WORDS:
                why = f"more than {bounds.MAX_STEP_WORDS} words in one place: assign a part of it"
                raise TemplateInvalid(located(self._text, at, why))
        return words


def _fault(rest: str) -> str:
    if rest[0] in "\"'":
        return f"{shown(rest)} lacks its closing quote: the other kind of quote may stand in between"
    if rest[0] == "[":
        return f'{shown(rest)} can\'t be read: a key stands in quotes, as in db["tls.crt"]'
    return f"{shown(rest)} can't be read: {rest[0]!a} is no part of an expression"
