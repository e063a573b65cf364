"""The worked examples of docs/templates.md: what stands there does what is said there."""

import base64
import json
import re
import tomllib
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
import yaml

from secrets_manager.controller.rules import RESERVED_NAMES
from secrets_manager.templates import TemplateInvalid, parse
from tests.documents import ROOT, document
from tests.templates.values import render

HARD = 'p@ss: "w\\o/r#d" %41+\nü'


def example(section: str) -> str:
    """Return the template in the one block of YAML of a section."""
    (block,) = (each for each in document("docs/templates.md").blocks if each.section == section)
    (entry,) = yaml.safe_load(block.text).values()
    return msgspec.convert(entry, dict[str, str])["template"]


def test_a_whole_file() -> None:
    template = example("a-whole-file")
    values = {"db.host": "db.example", "db.user": "shop", "db.password": HARD, "tls.ca": "-----BEGIN\nAAA\n-----END\n"}

    assert parse(template).source_names == {"db", "tls"}
    assert yaml.safe_load(render(template, values)) == {
        "database": {
            "host": "db.example",
            "user": "shop",
            "password": HARD,
            "ssl": True,
            "ca": "-----BEGIN\nAAA\n-----END\n",
        }
    }
    assert "ssl" not in yaml.safe_load(render(template, {**values, "db.host": "localhost"}))["database"]


def test_a_connection_url() -> None:
    url = urlsplit(
        render(example("a-connection-url"), {"db.user": "a@b", "db.password": HARD, "db.host": "db.example"})
    )

    assert (url.scheme, url.hostname, url.port, url.path, url.query) == (
        "postgresql",
        "db.example",
        5432,
        "/shop",
        "sslmode=verify-full",
    )
    assert (unquote(url.username or ""), unquote(url.password or "")) == ("a@b", HARD)


def test_login_of_a_registry() -> None:
    template = example("a-login-for-a-registry")
    values = {"registry.server": "registry.example", "registry.user": "shop", "registry.password": HARD}

    login = json.loads(render(template, values))["auths"]["registry.example"]

    assert (login["username"], login["password"]) == ("shop", HARD)
    assert base64.b64decode(login["auth"]).decode() == f"shop:{HARD}"


def test_words_of_the_language_stand_in_brackets() -> None:
    text = (ROOT / "docs/templates.md").read_text()
    _, _, listed = text.partition("- Words of the language, which stand in brackets as keys and can't be assigned: ")
    words = re.findall("`([a-z]+)`", listed.partition("\n- ")[0])

    assert list(RESERVED_NAMES) == words
    for word in words:
        assert render(f'{{{{ s["{word}"] }}}}', {f"s.{word}": "x"}) == "x"
        for plain in (f"{{{{ s.{word} }}}}", f"{{% assign {word} = s.v %}}"):
            with pytest.raises(TemplateInvalid):
                parse(plain)


def test_toml_takes_json_strings() -> None:
    assert tomllib.loads(render("password = {{ s.v | json }}", v=HARD)) == {"password": HARD}
