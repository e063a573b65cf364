"""What is hostile ends in an error, early. How long anything takes is not tested, but what each step pays for."""

import tracemalloc

import pytest

from secrets_manager.templates import RenderFailed, TemplateInvalid, parse
from secrets_manager.templates.bounds import MAX_NESTING, MAX_STEPS, MAX_TEMPLATE, MAX_TEXT, MAX_WORDS, MAX_WORK
from tests.templates.chains import chain
from tests.templates.hostile import quadratic_search
from tests.templates.values import render

LARGE = "x" * MAX_TEXT
SEARCHES = (
    "{% if v contains w %}{% endif %}",
    "{% assign x = v | replace: w, 'x' %}",
    "{% assign x = v | remove: w %}",
    "{% assign x = v | split: w %}",
)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("x" * (MAX_TEMPLATE + 1), "the template is longer than"),
        ("{{s.v}}" * (MAX_STEPS + 1), "more than 160 tags and outputs"),
        ("{% comment %}{% endcomment %}" * (MAX_STEPS + 1), "more than 160 tags and outputs"),
        (("{{ s.v " + "| strip " * 20 + "}}") * (MAX_WORDS // 43 + 1), "more than 1024 words"),
        ("{{ s.v " + "| strip " * 40 + "}}", "more than 64 words in one place"),
        ("{% if " + " and ".join(["s.v == 'x'"] * 30) + " %}{% endif %}", "more than 64 words in one place"),
        ("{{ s" + ".v" * 1000 + " }}", "more than 64 words in one place"),
        ("{% if s.v == 'v' %}" * (MAX_NESTING + 1), "no more than 8 blocks in each other"),
        ("{% capture x %}" * (MAX_NESTING + 1), "no more than 8 blocks in each other"),
    ],
)
def test_large_templates_are_refused(template: str, message: str) -> None:
    with pytest.raises(TemplateInvalid) as failure:
        parse(template)

    assert message in str(failure.value)
    assert len(str(failure.value)) < 200


def test_templates_up_to_the_bounds_are_rendered() -> None:
    assert render("{{s.v}}" * MAX_STEPS, v="v") == "v" * MAX_STEPS
    assert render("x" * MAX_TEMPLATE) == "x" * MAX_TEMPLATE
    assert render("{% if s.v == 'v' %}" * MAX_NESTING + "x" + "{% endif %}" * MAX_NESTING, v="v") == "x"
    assert render("{{ s.v | strip }}", v=LARGE) == LARGE


@pytest.mark.parametrize(
    "template",
    [
        "{% assign x = '0123456789' %}" + "{% assign x = x | append: x %}" * 40 + "{{ x }}",
        "{% assign x = '0123456789' %}" + "{% assign x = x | replace: '0', x %}" * 40 + "{{ x }}",
        "{% assign x = '0123456789' %}" + "{% capture x %}{{ x }}{{ x }}{% endcapture %}" * 30 + "{{ x }}",
        "{% assign x = 'a,b' | split: ',' %}" + "{% assign y = x | join: s.v %}{% assign x = y | split: 'b' %}" * 40,
        "{{ s.v }}{{ s.v }}",
        "{{ s.v | append: s.v }}",
        "{{ s.v | replace: 'x', 'yy' }}",
        "{{ s.v | upcase }}",
        "{{ s.v | url_encode }}",
        "{{ s.v | sha256 }}{{ s.v | sha256 }}",
        "{{ s.v | indent: 64 }}",
        "{{ s.v | certificates }}",
        "{% if s.v == s.v and s.v == s.v and s.v == s.v %}{% endif %}",
        "{% assign x = s.v %}" + "{% if x contains 'y' %}{% endif %}" * 3,
        "{% capture x %}{{ s.v }}{% endcapture %}" * 5,
        "{% assign x = s.v | strip %}" * 2,
        "{% capture x %}{{ s.quarter }}{% endcapture %}" * 6,
        "{% assign x = s.share | size %}" * 100,
        "{% if " + "s.share == 'x' or " * 5 + "s.share == 'x' %}{% endif %}" + "{% assign x = s.share | size %}" * 89,
        "{% assign x = s.controls | json %}",
        "{{ s.longer }}",
        "{% assign x = s.longer %}",
        "{{ s.euro }}",
    ],
)
def test_what_would_grow_or_take_long_is_refused(template: str) -> None:
    with pytest.raises(RenderFailed) as failure:
        render(
            template,
            v=LARGE,
            longer=LARGE + "x",
            euro="€" * (MAX_TEXT // 2),
            controls="\x01" * 300_000,
            quarter="€" * (MAX_TEXT // 4),
            share="x" * (MAX_WORK // 100 - 1),
        )

    assert "too much" in str(failure.value) or "a Secret holds" in str(failure.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ s.x | replace: 'x', s.y }}",
        "{% assign l = s.x | split: 'x' %}{{ l | join: s.y }}",
        "{{ s.lines | indent: 64 }}",
        "{% capture x %}" + "{{ s.y }}" * 40 + "{% endcapture %}",
    ],
)
def test_what_would_be_too_large_is_refused_before_it_is_there(template: str) -> None:
    parsed = parse(template)
    values = {"s.x": "x" * 1000, "s.y": "y" * 30_000, "s.lines": "\na" * 50_000}
    tracemalloc.start()
    try:
        with pytest.raises(RenderFailed, match=f"a text of more than {MAX_TEXT} characters"):
            render(parsed, values)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < MAX_TEXT


@pytest.mark.parametrize(
    ("call", "kib", "fill"),
    [
        ("strip", 1024, " "),
        ("lstrip", 1024, " "),
        ("rstrip", 1024, " "),
        ("base64_encode", 400, "x"),
        ("base64_decode", 400, "QUJD"),
        ("json", 400, "x"),
        ("sha256", 400, "x"),
        ("replace: 'a', 'b'", 400, "x"),
        ("remove: 'a'", 400, "x"),
        ("split: 'a'", 400, "x"),
        ("strip_newlines", 400, "x"),
        ("upcase", 200, "x"),
        ("downcase", 200, "x"),
        ("capitalize", 200, "x"),
        ("json_field: 'a'", 200, '"'),
        ("indent: 1", 100, "x"),
        ("yaml", 80, "x"),
        ("url_decode", 50, "x"),
        ("certificates", 50, "-----BEGIN CERTIFICATE-----"),
        ("authorities", 50, "-----BEGIN CERTIFICATE-----"),
        ("private_key", 50, "-----BEGIN PRIVATE KEY-----"),
        ("url_encode", 30, "x"),
    ],
)
def test_filter_takes_as_much_as_is_written_down_and_not_much_more_in_one_template(
    call: str, kib: int, fill: str
) -> None:
    size = kib * 1024
    text = fill * (size // len(fill))
    if fill.startswith("-----"):
        text = (chain().root.pem if "CERTIFICATE" in fill else chain().leaf.pkcs8).ljust(size)
    elif fill == '"':
        text = '{"a": "x", "b": "' + "x" * (size - 19) + '"}'
    step = f"{{% assign x = s.v | {call} %}}"

    assert render(step, v=text) == ""
    with pytest.raises(RenderFailed, match="too much"):
        render(step * 4, v=text)


@pytest.mark.parametrize(("text", "sought"), list(quadratic_search())[:3])
@pytest.mark.parametrize("step", SEARCHES)
def test_search_in_short_texts_is_paid_by_both_lengths(step: str, text: str, sought: str) -> None:
    template = "{% assign v = s.v %}{% assign w = s.w %}" + step * 12

    with pytest.raises(RenderFailed, match="too much"):
        render(template, v=text, w=sought)
    render(template, v=text, w="b")


PIECES = [
    "{{",
    "{%",
    "{",
    "}}",
    "%}",
    "{{ '",
    "{{ [",
    '{{ ["a',
    "{% raw %}",
    "{% comment %}",
    "{% raw %}{% ",
    "{{-",
    "|",
    "é",
    "{{ " + " " * 500,
    "{% # ",
    "\n",
    "{% if a.b == ",
    "{{ a.b | x: (",
    "\ud800",
]


@pytest.mark.parametrize("piece", PIECES)
def test_repeated_pieces_are_text_or_an_error(piece: str) -> None:
    message = ""
    try:
        parse(piece * (MAX_TEMPLATE // len(piece)))
    except TemplateInvalid as error:
        message = str(error)

    assert len(message) < 300
