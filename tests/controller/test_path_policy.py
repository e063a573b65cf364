import pytest

from secrets_manager.controller.definition import Reason
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.problem import Problem
from tests.gen import secret_definition, spec

OWN = ("secret/data/{namespace}/*", "secret/data/+/shared")


def allowed(path: str, *patterns: str, namespace: str = "shop") -> bool:
    made = spec(keys={"pw": f"{path}#password"})
    found = PathPolicy(patterns).admitted(secret_definition(namespace=namespace, wants=made))
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
        ("secret/data/{namespace}/*", "secret/data/shop/", False),
        ("secret/data/{namespace}/*", "secret/data/shop", False),
        ("secret/data/{namespace}/*", "secret/data/shopping/db", False),
        ("secret/data/{namespace}/*", "secret/data/other/db", False),
        ("secret/data/{namespace}/*", "other/secret/data/shop/db", False),
        ("secret/data/{namespace}-*", "secret/data/shop-db", True),
        ("secret/data/+/shared", "secret/data/anything/shared", True),
        ("secret/data/+/shared", "secret/data/a/b/shared", False),
        ("secret/data/+/shared", "secret/data//shared", False),
        ("secret/data/a.b", "secret/data/a.b", True),
        ("secret/data/a.b", "secret/data/axb", False),
        ("*", "secret/data/anything", True),
        ("secret/data/{namespace}/*", "secret/data/shop/a\nb", True),
        ("secret/data/shop/db", "secret/data/shop/db\n", False),
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

    assert PathPolicy(OWN).admitted(definition) == Problem(
        Reason.PATH_NOT_ALLOWED,
        "key b: path secret/data/other/db is not allowed to namespace shop: "
        "use one of secret/data/{namespace}/*, secret/data/+/shared",
    )


def test_definition_that_can_not_be_is_told_so_first() -> None:
    found = PathPolicy(OWN).admitted(secret_definition(wants=spec(keys={})))

    assert isinstance(found, Problem)
    assert found.reason is Reason.DEFINITION_INVALID
