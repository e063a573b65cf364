import subprocess
import sys

import pytest

from secrets_manager.templates import RenderFailed, TemplateInvalid, parse
from tests.templates.values import DATABASE, Missing, render


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{ db.user }}", "shop"),
        ('{{ db["tls.crt"] }}', "PEM"),
        ("{{ db['tls.crt'] }}", "PEM"),
        ("a  {{- db.user -}}  b", "ashopb"),
        ("a {%- comment %} {{ any }} thing {% endcomment -%} b", "ab"),
        ("a{% # a note %}b", "ab"),
        ("{% raw %}{{ .Values.db }}{% endraw %}", "{{ .Values.db }}"),
        ("{%- raw -%} {{x}} {%- endraw -%} y", "{{x}}y"),
        ("{ { db }} %} }}", "{ { db }} %} }}"),
        ("{{ 12 }}{{ 'it is \"it\"' }}", '12it is "it"'),
        ('{% assign name = db.user | upcase %}{{ name | append: "-" | append: name }}', "SHOP-SHOP"),
        ("{% capture url %}{{ db.user }}@{{ db.host }}{% endcapture %}<{{ url }}>", "<shop@db.example>"),
        ("{% capture space %} {% endcapture %}<{{ space }}>", "< >"),
        ("{% if db.user == 'shop' %}yes{% else %}no{% endif %}", "yes"),
        ("{% if db.user != 'shop' %}yes{% elsif db.host contains 'example' %}other{% else %}no{% endif %}", "other"),
        ("{% if db.user == 'a' or db.user == 'shop' and db.host == 'b' %}yes{% else %}no{% endif %}", "no"),
        ("{% unless db.user == 'shop' %}yes{% else %}no{% endunless %}", "no"),
        ("{% unless db.user == 'x' %}yes{% endunless %}", "yes"),
        ("{% assign n = db.user | size %}{% if n > 3 and n >= 4 and n < 5 and n <= 4 %}4{% endif %}", "4"),
        ("{% assign l = 'a,b' | split: ',' %}{% if l contains 'b' %}in{% endif %}", "in"),
        ("a{% if db.user == 'shop' %}\n  {% assign x = '1' %}\n{% endif %}{{ x }}", "a1"),
        ("{%\n if\n db.user\n ==\n 'shop'\n %}yes{% endif %}", "yes"),
        ("{% assign l = 'a;b' | split: ';' %}{{ l | join: '\n' }}", "a\nb"),
    ],
)
def test_language(template: str, text: str) -> None:
    assert render(template, DATABASE) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("\n\n{{ db.user", "line 3: {{ is never closed"),
        ("a\n{% if db.a == '1' %}b", "each if, unless and capture has its end tag"),
        ("{% if db.a == '1' %}{% endunless %}", "each if, unless and capture has its end tag"),
        ("{% if db.a == '1' %}{% else %}{% else %}{% endif %}", "has its end tag"),
        ("{% if db.a == '1' %}{% else db.b %}{% endif %}", "nothing follows its else"),
        ("{% endif %}", "has its end tag"),
        ("{% raw %}", "add {% endraw %}"),
        ("{% comment %}{{ x }}", "add {% endcomment %}"),
        ("\n{% for x in y %}{% endfor %}", "line 2: 'for' is no tag: there are assign"),
        ("{% include 'x' %}", "'include' is no tag"),
        ("{% render 'x' %}", "'render' is no tag"),
        ("{% %}", "'' is no tag"),
        ("{{ }}", "a key is written"),
        ("{{ db }}", "db has no key: write one"),
        ("{{ db.user | append: other }}", "other has no key"),
        ("{% if db == 'x' %}{% endif %}", "db has no key"),
        ("{{ db.a.b }}", "json_field"),
        ("{{ db.a['b'] }}", "json_field"),
        ("{{ db[db.a] }}", "a key stands in quotes"),
        ("{{ db[0] }}", "a key stands in quotes"),
        ("{{ [db.a].b }}", "a key stands in quotes"),
        ("{{ my-db.a }}", "'my-db' is no name of a source"),
        ("{{ 1a.b }}", "'1a' is no name of a source"),
        ("{{ dbé.b }}", "is no part of an expression"),
        ("{{ " + "d" * 64 + ".b }}", "63 in all"),
        ("{% assign db = 'x' %}{{ db.user }}", "db is assigned here, and elsewhere a source"),
        ("{% assign my-x = 'x' %}", "can't be assigned"),
        ("{% assign a.b = 'x' %}", "a key is written"),
        ("{% if db.a %}{% endif %}", "a condition compares"),
        ("{% if true %}{% endif %}", "a condition compares"),
        ("{% if db.a == true %}{% endif %}", "only texts in quotes"),
        ("{% if db.a == nil %}{% endif %}", "only texts in quotes"),
        ("{% if db.a == empty %}{% endif %}", "only texts in quotes"),
        ("{{ 1.5 }}", "only texts in quotes"),
        ("{{ 1234567890 }}", "only texts in quotes"),
        ("{{ (1..9) }}", "is no part of an expression"),
        ("{{ db.a | now }}", "'now' is no filter: there are append"),
        ("{{ 'now' | date: '%s' }}", "is no filter"),
        ("{{ db.a | append }}", "filter append takes 1 argument, not 0"),
        ("{{ db.a | strip: 1 }}", "filter strip takes no argument, not 1"),
        ("{{ db.a | replace: 'a', 'b', 'c' }}", "filter replace takes 1 or 2 arguments, not 3"),
        ("{{ db.a | default: 'x', allow_false: 'x' }}", "arguments have no names"),
        ("{{ db.a == 'x' }}", "a key is written"),
        ("{{ db.a db.b }}", "a key is written"),
        ("{{ db. }}", "a key is written"),
        ("{{ db.for }}", "a key is written"),
        ("{{ db.limit }}", "in brackets, if it begins with a digit or is a word of the language"),
        ("{{ db.9-a }}", "in brackets, if it begins with a digit or is a word of the language"),
        ("{{ \"it's }}", "lacks its closing quote"),
        ("{{ db.a ? }}", "'?' is no part of an expression"),
    ],
)
def test_an_invalid_template_is_reported_with_its_line_and_a_remedy(template: str, message: str) -> None:
    with pytest.raises(TemplateInvalid, match=r"^line \d+: ") as failure:
        parse(template)

    assert message in str(failure.value)
    assert len(str(failure.value)) < 500


def test_line_of_an_error_is_that_of_its_statement() -> None:
    with pytest.raises(TemplateInvalid, match=r"^line 3: x has no key"):
        parse("a\n{% assign y = 'x' %}\n{{ x }}\n")
    with pytest.raises(RenderFailed, match=r"^line 4: filter base64_decode: "):
        render("a\n{% if s.v == 'v' %}\n\n {{ s.v | base64_decode }}{% endif %}", v="v")
    with pytest.raises(RenderFailed, match=r"^line 2: == can't compare a text with a number"):
        render("{% if s.v == 'x' %}\n{% elsif s.v == 1 %}{% endif %}", v="v")


def test_sources_are_known_before_any_value_is() -> None:
    template = """{% if a.x == b.x %}{{ c.x | append: d.x }}{% elsif e["x"] contains "y" %}{% capture l %}{{ f.x }}
        {% endcapture %}{% else %}{% assign l = g.x %}{% endif %}{% unless h.x == "" %}{{ l }}{% endunless %}"""

    assert parse(template).source_names == frozenset("abcdefgh")
    assert (
        parse("text {% raw %}{{ i.x }}{% endraw %}{% comment %}{{ j.x }}{% endcomment %}").source_names == frozenset()
    )


@pytest.mark.parametrize(
    "template",
    [
        "{{ db.none }}",
        "{{ none.user }}",
        "{{ db.none | default: 'x' }}",
        "{{ db.user | default: db.none }}",
        "{{ db.user | append: db.none }}",
        "{% if db.none == '' %}{% endif %}",
        "{% if db.user == db.none %}{% endif %}",
        "{% assign x = db.none %}",
        "{% capture x %}{{ db.none }}{% endcapture %}",
    ],
)
def test_error_of_the_lookup_passes_unchanged(template: str) -> None:
    with pytest.raises(Missing):
        render(template, DATABASE)


def test_what_was_assigned_on_another_way_only_is_an_error() -> None:
    template = "{% if db.user == 'x' %}{% assign a = 'b' %}{% endif %}{{ a }}"

    with pytest.raises(RenderFailed, match=r"^line 1: a is not assigned on the way"):
        render(template, DATABASE)


@pytest.mark.parametrize("condition", ["s.v > '1'", "s.v == 1", "s.n contains 1", "l == 'a'", "1 contains '1'"])
def test_what_does_not_compare_is_an_error(condition: str) -> None:
    with pytest.raises(RenderFailed, match="can't compare"):
        render(f"{{% assign l = 'a,b' | split: ',' %}}{{% if {condition} %}}{{% endif %}}", v="1", n="1")


def test_list_is_no_text() -> None:
    with pytest.raises(RenderFailed, match=r"^line 1: a list has no text of its own: join it"):
        render("{{ s.v | split: ',' }}", v="a,b")


@pytest.mark.real
def test_package_is_imported_without_the_libraries() -> None:
    program = (
        "import sys, secrets_manager.templates as t; print('liquid' in sys.modules, 'cryptography' in sys.modules);"
        "t.parse(''); print('liquid' in sys.modules, 'cryptography' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert found.stdout == "False False\nTrue False\n"
