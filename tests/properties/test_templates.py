import base64
from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from secrets_manager.templates import RenderFailed, TemplateInvalid, parse
from secrets_manager.templates.bounds import MAX_TEXT
from secrets_manager.templates.filters import FILTERS
from tests.templates.chains import PASSWORD, bundle, chain
from tests.templates.values import Missing

CANARY = "cAnArY-of-a-value"
SIGNS = [CANARY, base64.b64encode(CANARY.encode()).decode()[:-4], CANARY.encode().hex(), CANARY.lower(), CANARY.upper()]
"""What a message would have of a value."""

KEYS = ["a", "b", "tls.crt", "none"]
texts = st.sampled_from(["", ",", "a", "=", "\n", "ä"]) | st.text("ab ,{}%|", max_size=5)
keys = st.builds("s{}".format, st.sampled_from([f'["{key}"]' for key in KEYS] + [".a", ".b", ".none"]))
primaries = keys | texts.map(lambda text: f'"{text}"') | st.integers(0, 99).map(str) | st.sampled_from(["x", "y"])
calls = st.builds(
    lambda name, arguments: f" | {name}{': ' * bool(arguments)}{', '.join(arguments)}",
    st.sampled_from([*FILTERS, "now"]),
    st.lists(primaries, max_size=2),
)
expressions = st.builds(lambda first, more: first + "".join(more), primaries, st.lists(calls, max_size=4))
comparisons = st.builds(
    "{} {} {}".format, primaries, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "contains"]), primaries
)
conditions = st.builds(
    lambda first, more: first + "".join(more),
    comparisons,
    st.lists(st.builds(" {} {}".format, st.sampled_from(["and", "or"]), comparisons), max_size=2),
)
leaves = st.one_of(
    st.text("ab \n{}%", max_size=5),
    expressions.map("{{{{ {} }}}}".format),
    expressions.map("{{{{- {} -}}}}".format),
    st.builds("{{% assign {} = {} %}}".format, st.sampled_from(["x", "y"]), expressions),
)


CHOICE = "{{% if {} %}}{}{{% elsif {} %}}{}{{% else %}}{}{{% endif %}}"


def blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.builds(CHOICE.format, conditions, inner, conditions, inner, inner),
        st.builds("{{% unless {} %}}{}{{% endunless %}}".format, conditions, inner),
        st.builds("{{% capture {} %}}{}{{% endcapture %}}".format, st.sampled_from(["x", "y"]), inner),
    )


templates = st.recursive(leaves, blocks, max_leaves=12)
pieces = st.sampled_from(
    [
        "{{",
        "}}",
        "{%",
        "%}",
        "-",
        "if",
        "endif",
        "assign",
        "x",
        "=",
        "s.a",
        '"',
        "'",
        "[",
        "]",
        "|",
        "raw",
        "\n",
        "(",
        "..",
    ]
)
noise = st.lists(pieces | st.text(max_size=3), max_size=30).map("".join)


def with_canary(text: str) -> str:
    return f"{CANARY}{text}{CANARY}"


values = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=50).map(with_canary),
    st.sampled_from(
        [
            "",
            CANARY,
            f'{{"a": "{CANARY}", "b": [1, null]}}',
            base64.b64encode(CANARY.encode()).decode(),
            base64.b64encode(CANARY.encode() + b"\xff").decode(),
            f"%{CANARY}",
            chain().leaf.pem + chain().leaf.pkcs8 + CANARY,
            f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
            bundle(chain().leaf),
            PASSWORD,
            "x" * MAX_TEXT,
        ]
    ),
)


def attempt(template: str, lookup: Callable[[str, str], str]) -> tuple[str, str]:
    """Return the text, or the error: one of ours, or the one that the lookup raises."""
    try:
        return "text", parse(template).render(lookup).text
    except (TemplateInvalid, RenderFailed) as error:
        return type(error).__name__, str(error)
    except Missing:
        return "Missing", ""


def check(template: str, lookup: Callable[[str, str], str]) -> None:
    kind, text = attempt(template, lookup)

    assert attempt(template, lookup) == (kind, text)
    assert len(text) <= (MAX_TEXT if kind == "text" else 600)
    assert kind != "RenderFailed" or not any(sign in text for sign in [*SIGNS, PASSWORD])


@given(templates, values, values)
@settings(max_examples=300)
def test_generated_templates_make_text_or_an_error_without_a_value(template: str, a: str, b: str) -> None:
    known = {"a": a, "b": b, "tls.crt": CANARY}
    asked: set[str] = set()

    def lookup(source: str, key: str) -> str:
        asked.add(source)
        if source != "s" or key not in known:
            raise Missing
        return known[key]

    check(template, lookup)
    assert not asked or asked <= parse(template).source_names


@given(noise | st.text())
@settings(max_examples=300)
@example("{{" * 50 + "s.a" + "}}" * 50)
@example('{{ s["' + "a" * 500 + '"] }}')
@example("{{ s.a | " + "a" * 500 + " }}")
@example("{{ " + "a" * 500 + " }}")
@example("{% " + "a" * 500 + " %}")
@example("{% assign " + "a" * 500 + " = 's' %}")
def test_noise_makes_text_or_an_error(template: str) -> None:
    check(template, lambda _source, _key: CANARY)


@given(st.sampled_from(sorted(FILTERS)), values, st.lists(values | st.integers(0, 2**31), max_size=2))
@settings(max_examples=300)
@example("json_field", '{"a": 1}', [with_canary("")])
def test_any_value_in_any_filter_makes_text_or_an_error_without_it(
    name: str, value: str, more: list[str | int]
) -> None:
    known = {"v": value, **{f"k{at}": str(each) for at, each in enumerate(more)}}
    arguments = [str(each) if isinstance(each, int) else f"s.k{at}" for at, each in enumerate(more)]

    check(f"{{{{ s.v | {name}{': ' * bool(arguments)}{', '.join(arguments)} }}}}", lambda _source, key: known[key])
