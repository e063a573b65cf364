"""Values, the forms in which a webhook may print them, and messages around them."""

import base64
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import httpx
import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from secrets_manager.controller.redaction import MIN_SUBSTRING, WITHHELD, redact
from secrets_manager.kube.status import MAX_MESSAGE, error_from_status

Form = Callable[[str], str]


def go_quoted(value: str) -> str:
    """As Go's %+q prints a string."""
    named = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}
    named |= {'"': r"\"", "\\": r"\\"}
    return f'"{"".join(named.get(char) or go_rune(char) for char in value)}"'


def go_rune(char: str) -> str:
    if " " <= char <= "~":
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def go_json(value: str) -> str:
    escaped = json.dumps(value, ensure_ascii=False)
    return escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def as_base64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


FORMS: dict[str, Form] = {
    "plain, quoted": lambda value: f'"{value}"',
    "base64": as_base64,
    "base64 without padding": lambda value: as_base64(value).rstrip("="),
    "base64 for URLs": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "base64 for URLs without padding": lambda value: base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
    "JSON": json.dumps,
    "Go's JSON": go_json,
    "JSON in JSON": lambda value: json.dumps(json.dumps(value)),
    "base64 in JSON": lambda value: json.dumps(as_base64(value)),
    "URL": lambda value: f"value={quote(value, safe='')}",
    "form": lambda value: f"value={quote_plus(value)}",
    "base64 in a URL": lambda value: quote(as_base64(value), safe=""),
    "Go's %q": go_quoted,
    "Go's %v of bytes": lambda value: f"[{' '.join(str(byte) for byte in value.encode())}]",
}
forms = st.sampled_from(sorted(FORMS)).map(FORMS.__getitem__)
characters = st.characters(exclude_categories=["Cs"])
values = st.text(characters, min_size=1, max_size=12).filter(str.strip)
long_values = st.text(characters, min_size=MIN_SUBSTRING, max_size=200).filter(
    lambda value: len(value.strip()) >= MIN_SUBSTRING
)
words = ("Secret", "the", "value", "of", "this", "is", "too", "weak", "(see", "/api/v1/", "for", "10", "rules)")
sentences = st.lists(st.sampled_from(words), min_size=2, max_size=8).map(" ".join)


def refusal(message: str, *data: str) -> str:
    """The redacted error of a rejected Secret with this data."""
    body = msgspec.json.encode({"kind": "Status", "reason": "Invalid", "message": message})
    error = error_from_status(422, httpx.Headers(), body, request="PATCH /x")
    return str(redact(error, [value.encode() for value in data]))


@given(before=sentences, value=values, form=forms, after=sentences)
def test_a_message_with_a_value_in_any_form_is_withheld(before: str, value: str, form: Form, after: str) -> None:
    message = f"{before} {form(value)} {after}"
    assume(len(message) <= MAX_MESSAGE)

    assert refusal(message, value) == f"PATCH /x: 422 Invalid ({WITHHELD})"


@given(value=long_values, form=st.just(str) | forms, length=st.integers(0, MAX_MESSAGE - 2))
def test_a_value_that_is_cut_at_the_longest_text_is_not_leaked_by_its_beginning(
    value: str, form: Form, length: int
) -> None:
    head = "x" * length
    text = refusal(f"{head} {form(value)} {'and so on ' * MAX_MESSAGE}", value)

    rest = text.removeprefix(f"PATCH /x: 422 Invalid: {head}").strip(" …")
    shown = re.sub(r"\\(U.{8}|u.{4}|x..|.)", "?", rest)  # each escape is one character of the value
    assert WITHHELD in text or len(shown) < MIN_SUBSTRING or re.fullmatch(r"\[\d+( \d+){,2}", rest)


@given(message=sentences, value=st.sampled_from(["1", "v1", "0", "is", "t", "a", "10"]))
def test_a_short_value_spoils_no_message_that_does_not_set_it_off(message: str, value: str) -> None:
    assert refusal(message, value) == f"PATCH /x: 422 Invalid: {message}".removesuffix(": ")


@given(message=sentences, value=long_values)
def test_a_message_without_a_value_stays_as_it_is(message: str, value: str) -> None:
    if value.strip() not in message:
        assert refusal(message, value) == f"PATCH /x: 422 Invalid: {message}".removesuffix(": ")
