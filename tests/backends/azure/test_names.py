import pytest

from secrets_manager.backends.azure import names
from secrets_manager.backends.base import Source, SourceMalformed

VERSION = "4abcb5b18af946e1a581b3aed8e0c838"


@pytest.mark.parametrize("name", ["a", "DB-password-1", "-", "x" * 127])
def test_whatever_key_vault_allows_in_a_name_is_one(name: str) -> None:
    names.check(Source(name))
    names.check(Source(name, VERSION))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 128,
        "a/b",
        "../keys/a",
        "a?api-version=1",
        "a%2fb",
        "a b",
        "a\n",
        "ä",
        "\uff11",
        "a#b",
        "a_b",
        "a.b",
        "a\\b",
    ],
)
def test_nothing_else_is_a_name(name: str) -> None:
    with pytest.raises(SourceMalformed) as caught:
        names.check(Source(name))

    assert str(caught.value) == (
        f"path {name!r} is not the name of a secret in Key Vault: it has 1 to 127 ASCII letters, digits and dashes"
    )


@pytest.mark.parametrize("version", ["", "1", "latest", f"{VERSION}/x", f"{VERSION}\n", "g" * 32])
def test_what_is_no_version(version: str) -> None:
    with pytest.raises(SourceMalformed) as caught:
        names.check(Source("db", version))

    assert str(caught.value) == (
        f"path 'db': there is no version {version!r}: in Key Vault they have 32 hexadecimal digits"
    )
