"""The page as HTML: safe, whole, and the same for those who don't see colours."""

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser

import msgspec
import pytest

from secrets_manager.controller.standing import State
from secrets_manager.statuspage.page import render
from secrets_manager.statuspage.query import Query
from secrets_manager.statuspage.report import Backend, Paging, Report, SourceShown
from secrets_manager.statuspage.routes import CONTENT_SECURITY_POLICY
from secrets_manager.statuspage.style import STYLE
from tests.statuspage.reports import DOWN, STANDBY, report, row, varied

VOID = {"meta", "input", "br", "link", "wbr"}


class Page(HTMLParser):
    """Elements, attributes and texts. Raises: AssertionError where an end is not that of what was begun."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"] and data.strip():
            self.texts.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def html_of(report: Report, query: Query) -> str:
    return "".join(render(report, query))


def page(report: Report, query: Query | None = None) -> Page:
    return Page(html_of(report, query or Query()))


def test_the_elements_nest() -> None:
    for each in (varied(), report(), report(row(), replica=STANDBY, backend=DOWN)):
        page(each)


EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;{}"


def test_a_long_path_breaks_after_a_slash() -> None:
    html = html_of(report(row(sources=(SourceShown(path="secret/data/shop/db", version=1),))), Query())

    assert "<code>secret/<wbr>data/<wbr>shop/<wbr>db</code>" in html


def test_characters_that_reorder_or_hide_text_are_shown_as_escapes() -> None:
    odd = row(
        message="\u202egnihtemos", state=State.FAILING, sources=(SourceShown(path="a\u202e\x1b[2J", version="\x7f"),)
    )

    html = html_of(report(odd), Query())

    assert not set(html) & set("\u202e\x1b\x7f")
    assert r"<code>a\u202e\x1b[2J</code>" in html


def test_sources_that_are_not_shown_are_counted() -> None:
    assert "and 480 more" in page(report(msgspec.structs.replace(row(), more_sources=480))).texts


def test_every_text_is_escaped() -> None:
    evil = row(
        EVIL,
        namespace=EVIL,
        state=State.FAILING,
        reason=EVIL,
        message=EVIL,
        warning=EVIL,
        sources=(SourceShown(path=EVIL, version=EVIL),),
        last_in_sync=EVIL,
        last_sync_time=EVIL,
    )
    hostile = msgspec.structs.replace(evil, since=EVIL, secret_name=EVIL)
    replica = msgspec.structs.replace(STANDBY, identity=EVIL, version=EVIL, unwatched=(EVIL,))
    backend = Backend(kind=EVIL, up=False, since=EVIL, message=EVIL, token=None)
    many = Paging(number=2, size=100, pages=3, matching=250)

    shown = page(
        report(hostile, replica=replica, backend=backend, paging=many), Query(namespace=EVIL, text=EVIL, page=2)
    )

    tags = {tag for tag, _ in shown.elements}
    assert tags.isdisjoint({"script", "img", "iframe", "object", "link", "base", "svg"})
    assert not any(name.startswith("on") or name == "style" for _, has in shown.elements for name in has)
    assert shown.texts.count(EVIL) >= 9
    assert [each["value"] for each in shown.all("input")] == [EVIL, EVIL]


def test_nothing_is_loaded_from_elsewhere() -> None:
    html = html_of(varied(), Query())

    assert "url(" not in html
    assert "@import" not in html
    assert "//" not in re.sub(r"<!DOCTYPE[^>]*>", "", html)
    assert all(each["href"].startswith("/") for each in page(varied()).all("a"))


def test_the_policy_allows_the_style_sheet_of_the_page_and_no_script() -> None:
    (style,) = re.findall("<style>(.*?)</style>", html_of(varied(), Query()), re.DOTALL)
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()

    assert f"style-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'")
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "script-src" not in CONTENT_SECURITY_POLICY


def test_states_are_shown_in_words() -> None:
    texts = page(varied()).texts

    assert {"✕ Failing", "… Pending", "✓ In sync"} <= set(texts)


def test_the_table_has_headers_and_a_caption() -> None:
    shown = page(varied())

    assert [each["scope"] for each in shown.all("th")] == ["col"] * 6 + ["row"] * len(varied().definitions)
    assert len(shown.all("caption")) == 1
    assert "SecretDefinitions" in shown.texts


def test_every_field_of_the_form_has_a_label() -> None:
    html = html_of(varied(), Query(state=State.FAILING))
    fields = [each for each in page(varied()).all("input") if each.get("type") != "hidden"]

    assert len(re.findall("<label>[^<]+<input", html)) == len(fields) == 2


def test_the_form_keeps_the_state() -> None:
    shown = page(varied(), Query(state=State.FAILING))

    assert {"type": "hidden", "name": "state", "value": "Failing"} in shown.all("input")


def test_links_keep_the_filters_and_go_to_the_first_page() -> None:
    shown = page(varied(), Query(namespace="shop", text="db", page=2))
    links = [each["href"] for each in shown.all("a")]

    assert "/?namespace=shop&text=db&state=Failing" in links
    assert "/?namespace=bank&text=db" in links
    assert "/?namespace=shop&text=db" in links, "the page before"
    assert "/?namespace=shop&text=db&page=3" in links
    assert "/status.json?namespace=shop&text=db&page=2" in links


def test_a_single_page_has_no_links_to_others() -> None:
    assert page(report(row())).all("nav") == []


def test_a_standby_says_that_it_is_one_and_what_is_not_watched() -> None:
    texts = page(report(row(), replica=STANDBY)).texts

    assert "Standby" in texts
    assert "This replica is a standby: it watches, but does not read the backend. The leader knows more." in texts
    assert STANDBY.unwatched[0] in texts


def test_a_backend_that_is_down_says_why() -> None:
    texts = page(report(backend=DOWN)).texts

    assert "✕ Down" in texts
    assert "Vault is sealed: unseal it" in texts


def test_the_title_counts_what_fails() -> None:
    assert "2 failing · secrets-manager" in page(varied()).texts
    assert page(report(row())).texts[0] == "secrets-manager"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_the_contrast_of_wcag_aa(scheme: str) -> None:
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in STYLE.split("@media", 2)[:2])
    colours = light if scheme == "light" else light | dark
    pairs = [(ink, paper) for ink in ("text", "soft", "link") for paper in ("page", "card")]
    pairs += [(state, f"{state}-tint") for state in ("bad", "wait", "good")] + [
        (each, "card") for each in ("bad", "good")
    ]

    assert {pair: ratio for pair in pairs if (ratio := contrast(*(colours[name] for name in pair))) < 4.5} == {}


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
