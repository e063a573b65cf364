import json
import tomllib

import pytest
import yaml

from secrets_manager.templates import RenderFailed, parse
from secrets_manager.templates.filters import FILTERS
from tests.templates.values import render


@pytest.mark.parametrize(
    ("filters", "value", "text"),
    [
        ('append: "b"', "a", "ab"),
        ("append: 1", "a", "a1"),
        ('prepend: "b"', "a", "ba"),
        ('replace: "a", "x"', "banana", "bxnxnx"),
        ('replace: "a"', "banana", "bnn"),
        ('remove: "an"', "banana", "ba"),
        ("upcase", "aß", "ASS"),
        ("downcase", "ÄB", "äb"),
        ("capitalize", "shop DB", "Shop db"),
        ("strip", " \n a \n", "a"),
        ("lstrip", " \n a \n", "a \n"),
        ("rstrip", " \n a \n", " \n a"),
        ("strip_newlines", "a\r\nb\nc", "abc"),
        ('split: "," | join: "; "', "a,b,,c", "a; b; ; c"),
        ('split: "," | first', "a,b", "a"),
        ('split: "," | last', "a,b", "b"),
        ('split: "," | size', "", "0"),
        ("size", "häß", "3"),
        ('default: "x"', "", "x"),
        ('default: "x"', "a", "a"),
        ('default: "x"', " ", " "),
        ('split: "," | default: "x"', "", "x"),
        ("indent: 2", "a\nb\n\nc\n", "a\n  b\n\n  c\n"),
        ("base64_encode", "ü", "w7w="),
        ("base64_decode", " w7\nw=\n", "ü"),
        ("base64_encode | base64_decode", "any \x00 text", "any \x00 text"),
        ("url_encode", "p@ss/w:rd +%ü~", "p%40ss%2Fw%3Ard%20%2B%25%C3%BC~"),
        ("url_encode | url_decode", "p@ss/w:rd +%ü~", "p@ss/w:rd +%ü~"),
        ("url_decode", "a+b%20c", "a+b c"),
        ("sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("json", "\x7f", '"\\u007f"'),
        ("json", 'a"\\\n\tü😀\x01', '"a\\"\\\\\\n\\tü😀\\u0001"'),
        ("yaml", "yes: #\x7f\x85\u2028\ufeff", '"yes: #\\u007f\\u0085\\u2028\\ufeff"'),
        ('json_field: "a"', '{"a": "x\\u00fc", "b": 1}', "xü"),
        ('json_field: "a"', '{"a": 1.10}', "1.10"),
        ('json_field: "a"', '{"a": true}', "true"),
        ('json_field: "a.b"', '{"a.b": ""}', ""),
        ('json_field: "a" | json_field: "b" | json_field: 1', '{"a": {"b": [1, "x"]}}', "x"),
    ],
)
def test_filter(filters: str, value: str, text: str) -> None:
    assert render(f"{{{{ s.v | {filters} }}}}", v=value) == text


@pytest.mark.parametrize(
    ("filters", "value", "message"),
    [
        ('replace: "", "x"', "a", "filter replace '', 'x': it looks for an empty text"),
        ('split: ""', "a", "filter split '': it splits at an empty text"),
        ('split: ","', "," * 1024, "filter split ',': a list has 1024 items at most"),
        ('join: ","', "a", "filter join ',': it takes a list"),
        ("first", "a", "filter first: it takes a list"),
        ('split: "," | first', "", "filter first: the list is empty"),
        ('split: "," | last', "", "filter last: the list is empty"),
        ('split: "," | upcase', "a", "filter upcase: a list has no text of its own"),
        ("size | size", "a", "filter size: a number has no size"),
        ('indent: "2"', "a", "filter indent '2': its argument is a number"),
        ("indent: 65", "a", "filter indent 65: it indents by 64 at most"),
        ("base64_decode", "canary", "filter base64_decode: the value is not base64"),
        ("base64_decode", "/w==", "filter base64_decode: what it decodes to is no text"),
        ("base64_encode", "\ud800", "lone surrogate"),
        ("url_encode", "\ud800", "lone surrogate"),
        ("url_decode", "100% canary", "filter url_decode: the value has a %"),
        ("url_decode", "%ff", "filter url_decode: what it decodes to is no text"),
        ("sha256", "\ud800", "lone surrogate"),
        ("json", "\ud800", "lone surrogate"),
        ("yaml", "\ud800", "lone surrogate"),
        ('json_field: "a"', "canary", "filter json_field 'a': the value is not a JSON object"),
        ('json_field: "a"', "[1]", "the value is not a JSON object"),
        ('json_field: "a"', "\ud800", "the value is not a JSON object"),
        ('json_field: "a"', '{"a":' * 20_000, "the value is not a JSON object"),
        ('json_field: "b"', '{"a": 1}', "filter json_field 'b': the value has no such field, or it is null"),
        ('json_field: "a"', '{"a": null}', "filter json_field 'a': the value has no such field, or it is null"),
        ('json_field: "a"', '{"a": "\\ud800"}', "the value is not a JSON object"),
        ('json_field: "a"', '{"a": 1, "b": "\\ud800"}', "or holds half a character (a lone surrogate)"),
        ('json_field: "a"', '{"a": 1, "b": "\ud800"}', "or holds half a character (a lone surrogate)"),
        ("json_field: 0", "{}", "the value is not a JSON array"),
        ("json_field: 1", "[1]", "filter json_field 1: the value has no such item"),
    ],
)
def test_filter_refuses_what_it_can_not_do(filters: str, value: str, message: str) -> None:
    with pytest.raises(RenderFailed, match=r"^line 1: filter ") as failure:
        render(f"{{{{ s.v | {filters} }}}}", v=value)

    assert message in str(failure.value)
    assert "canary" not in str(failure.value)


@pytest.mark.parametrize(
    ("filters", "value", "parts"),
    [
        ('json_field: "a"', '{"a": "hunter2"}', ("hunter2",)),
        ("base64_decode", "aHVudGVyMg==", ("hunter2",)),
        ("url_decode", "hunter%32", ("hunter2",)),
        ('remove: "user:"', "user:hunter2", ("hunter2",)),
        ('split: ":" | last', "shop:hunter2:", ("shop", "hunter2", "")),
        (
            'base64_decode | split: ":" | last | upcase',
            "c2hvcDpodW50ZXIy",
            ("shop:hunter2", "shop", "hunter2", "HUNTER2"),
        ),
        ('default: "x"', "", ()),
        ("strip", "hunter2", ()),
        ("size", "hunter2", ()),
    ],
)
def test_what_a_filter_makes_of_a_value_is_told(filters: str, value: str, parts: tuple[str, ...]) -> None:
    """A message may quote it, and the result has it only as a part, or encoded."""
    made = parse(f"{{% assign x = s.v | {filters} %}}{{% capture y %}}{{{{ s.v | {filters} }}}}{{% endcapture %}}")

    assert made.render(lambda _, __: value).parts == parts


@pytest.mark.parametrize(
    ("output", "parts"),
    [
        ("'EXCEEDED' | downcase | split: 'e' | join: '-'", ()),
        ("'EXCEEDED' | downcase | append: s.v | upcase", ("exceededx", "EXCEEDEDX")),
        ("'X' | append: '-' | append: s.v | remove: 'x'", ("X-x", "X-")),
    ],
)
def test_what_a_filter_makes_of_literals_is_no_part_of_a_value(output: str, parts: tuple[str, ...]) -> None:
    assert parse(f"{{{{ {output} }}}}").render(lambda _, __: "x").parts == parts


def test_json_and_yaml_read_back_what_was_written() -> None:
    value = "".join(map(chr, range(0x3000))) + "\ufdd0\ufeff\ufffe\uffff😀"

    assert json.loads(render("{{ s.v | json }}", v=value)) == value
    assert tomllib.loads(render("a = {{ s.v | json }}", v=value)) == {"a": value}
    assert yaml.safe_load(render("{{ s.v | yaml }}", v=value)) == value


def test_every_filter_bounds_its_arguments() -> None:
    assert all(0 <= each.least <= each.most <= 2 and each.cost > 0 for each in FILTERS.values())
