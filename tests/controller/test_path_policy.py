import pytest

from secrets_manager.backends.base import SourceMalformed
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.spec import DataSource
from tests.gen import secret_definition, spec

MAX_LENGTH = 2_048

REFUSED = (
    "secret/data/shop/../other/db",
    "secret/data/shop/./db",
    "secret/data/shop//db",
    "secret/data/shop/db?version=1",
    "secret/data/shop/db#key",
    "secret/data/shop/a\nb",
    "secret/data/shop/db\n",
    "secret/data/shop/\x00",
    "secret/data/shop\\db",
    "sys/mounts",
    "auth/token/lookup-self",
    "secret/data/shop/" + "x" * MAX_LENGTH,
    "/",
)
OWN = ("secret/data/{namespace}/*", "secret/data/+/shared")


def segments(path: str) -> tuple[str, ...]:
    return parse_path(path).segments


def allowed(path: str, *patterns: str, namespace: str = "shop") -> bool:
    made = spec(keys={"pw": f"{path}#password"})
    found = PathPolicy(patterns, segments).admit(secret_definition(namespace=namespace, wants=made))
    if found != made:
        assert isinstance(found, Problem)
        assert found.reason is Reason.PATH_NOT_ALLOWED
    return found == made


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("secret/data/{namespace}/*", "secret/data/shop/db", True),
        ("secret/data/{namespace}/*", "/secret/data/shop/a/b", True),
        ("/secret/data/{namespace}/*", "secret/data/shop/db", True),
        ("secret/data/{namespace}/*", "secret/data/shop/db/", True),
        ("secret/data/{namespace}/*", "secret/data/shop/", False),
        ("secret/data/{namespace}/*", "secret/data/shop", False),
        ("secret/data/{namespace}/*", "secret/data/shopping/db", False),
        ("secret/data/{namespace}/*", "secret/data/other/db", False),
        ("secret/data/{namespace}/*", "other/secret/data/shop/db", False),
        ("secret/data/{namespace}-*", "secret/data/shop-db", True),
        ("secret/data/{namespace}*", "secret/data/shop", True),
        ("secret/data/+/shared", "secret/data/anything/shared", True),
        ("secret/data/+/shared", "secret/data/a/b/shared", False),
        ("secret/data/a.b", "secret/data/a.b", True),
        ("secret/data/a.b", "secret/data/axb", False),
        ("*", "secret/data/anything", True),
        ("secret/data/shop/db", "secret/data/shop/db/", True),
        ("secret/data/{namespace}/*", "secret/data/shop/%2e%2e/other", True),
    ],
)
def test_pattern_fits_the_path_whole(pattern: str, path: str, *, fits: bool) -> None:
    assert allowed(path, pattern) is fits


def test_namespace_stands_for_the_definitions_own() -> None:
    path = "secret/data/shop/db"

    assert [allowed(path, *OWN, namespace=each) for each in ("shop", "sho", "other", "s.op")] == [
        True,
        False,
        False,
        False,
    ]


def test_definition_without_a_namespace_is_in_default() -> None:
    assert allowed("secret/data/default/db", *OWN, namespace="")


def test_one_pattern_that_fits_is_enough() -> None:
    assert allowed("secret/data/x/shared", *OWN)


def test_without_patterns_every_path_is_allowed() -> None:
    assert allowed("anything/at/all")


def test_one_path_that_is_not_allowed_is_enough_and_named_with_what_would_be() -> None:
    keys = {"a": "secret/data/shop/db#a", "b": "secret/data/other/db#b"}
    definition = secret_definition(namespace="shop", wants=spec(keys=keys))

    assert PathPolicy(OWN, segments).admit(definition) == Problem(
        Reason.PATH_NOT_ALLOWED,
        "key b: path secret/data/other/db is not allowed to namespace shop: "
        "use one of secret/data/{namespace}/*, secret/data/+/shared",
    )


def test_definition_that_can_not_be_is_reported_first() -> None:
    found = PathPolicy(OWN, segments).admit(secret_definition(wants=spec(keys={})))

    assert isinstance(found, Problem)
    assert found.reason is Reason.DEFINITION_INVALID


@pytest.mark.parametrize("patterns", [OWN, ("*",), ()])
@pytest.mark.parametrize("path", REFUSED)
def test_path_that_can_not_be_taken_apart_is_allowed_by_no_pattern(path: str, patterns: tuple[str, ...]) -> None:
    made = spec(keys={"pw": DataSource(path=path, key="password")})
    found = PathPolicy(patterns, segments).admit(secret_definition(wants=made))

    with pytest.raises(SourceMalformed) as caught:
        segments(path)
    assert found == Problem(Reason.SOURCE_INVALID, f"key pw: {caught.value}")


def test_several_paths_that_can_not_be_are_reported_by_the_first_and_their_number() -> None:
    keys = {"a": "secret/data/other/db#a", "b": "secret/../x#b", "c": "sys/x#c"}

    assert PathPolicy(OWN, segments).admit(secret_definition(wants=spec(keys=keys))) == Problem(
        Reason.SOURCE_INVALID,
        "key b: path 'secret/../x' has a segment . or ..: write the path without them (and 1 more of its keys)",
    )
