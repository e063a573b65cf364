"""Whole documents: which keys they give, what they are called, and what goes wrong."""

import itertools
from fnmatch import fnmatchcase
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secrets_manager.backends import Document, Source, SourceForbidden, SourceNotFound
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.desired import Desired, combine, desired, resolve
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.names import is_key
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.spec import DataFrom, NamedSource, Spec
from secrets_manager.controller.validation import MAX_SECRET_BYTES
from tests.gen import data_source, document

CANARY = "canary-7d1f"
DB, API = Source("secret/data/db"), Source("secret/data/api")
of_db = partial(DataFrom, path="secret/data/db")
VALUES = {"user": "shop", "password": "hunter2", "db.host": "db", "db.port": "5432"}


def whole(*entries: DataFrom, keys: dict[str, str] | None = None) -> Spec:
    keys_map = {key: data_source(place) for key, place in (keys or {}).items()}
    return Spec(name="db", keys_map=keys_map, data_from=entries)


def problem_of(entry: DataFrom, values: dict[str, str | None]) -> Problem:
    found = resolve(whole(entry), {DB: document(values)})
    (problem,) = (value for value in found.values() if isinstance(value, Problem))
    return problem


@pytest.mark.parametrize(
    ("entry", "keys"),
    [
        pytest.param(of_db(), {"user", "password", "db.host", "db.port"}, id="all"),
        pytest.param(of_db(include=("db.*",)), {"db.host", "db.port"}, id="included"),
        pytest.param(of_db(include=("user", "pass?ord")), {"user", "password"}, id="included by two globs"),
        pytest.param(of_db(exclude=("db.*",)), {"user", "password"}, id="excluded"),
        pytest.param(of_db(include=("db.*",), exclude=("*.port",)), {"db.host"}, id="included and excluded"),
        pytest.param(of_db(include=("[up]*",)), {"user", "password"}, id="a set of characters"),
        pytest.param(of_db(prefix="DB_", include=("user",)), {"DB_user"}, id="with a prefix"),
        pytest.param(
            of_db(rename={"user": "login"}, include=("[up]*",), prefix="x-"), {"login", "x-password"}, id="named"
        ),
        pytest.param(of_db(rename={"nothing": "x"}, include=("user",)), {"user"}, id="renamed, but not there"),
        pytest.param(of_db(include=("USER", "user")), {"user"}, id="in its own case"),
    ],
)
def test_an_entry_takes_the_keys_that_it_names(entry: DataFrom, keys: set[str]) -> None:
    found = resolve(whole(entry), {DB: document({**VALUES})})

    assert found.keys() == keys
    assert all(isinstance(value, bytes) for value in found.values())


LONG_GLOBS = tuple("*" + "?" * 247 + f"b{number:03}*" for number in range(64))


def test_the_longest_globs_may_choose_among_the_longest_keys() -> None:
    keys: dict[str, str | None] = {"a" * 250 + f"{number:03}": "x" for number in range(50)}

    assert resolve(whole(of_db(include=("a*",), exclude=LONG_GLOBS)), {DB: document(keys)}).keys() == keys.keys()


@pytest.mark.parametrize(
    "names",
    [["a" * 1000], ["a" * 250 + f"{number:03}" for number in range(100)]],
    ids=["a long name in one step", "many names"],
)
def test_globs_that_would_take_long_are_an_error(names: list[str]) -> None:
    assert problem_of(of_db(include=LONG_GLOBS, exclude=LONG_GLOBS), dict.fromkeys(names, "x")) == Problem(
        Reason.SOURCE_INVALID,
        "dataFrom[0]: secret/data/db: the names and globs up to here are too many or too long: "
        "use fewer or shorter ones",
    )


def test_work_is_bounded_for_all_entries_together() -> None:
    names: dict[str, str | None] = {"a" * 250 + f"{number:03}": "x" for number in range(40)}
    entry = of_db(exclude=LONG_GLOBS)
    found = resolve(whole(*[entry] * 4), {DB: document(names)})

    assert sorted(key for key, value in found.items() if isinstance(value, Problem)) == ["dataFrom[2]", "dataFrom[3]"]


def test_names_that_globs_leave_out_may_be_long() -> None:
    values = {"user": "shop", "https://" + "x" * 1000: "x"}

    assert resolve(whole(of_db(exclude=("https:*",))), {DB: document({**values})}) == {"user": b"shop"}


def names_of(entries: int) -> dict[str, str | None]:
    """Return just too many names for so many entries that put a prefix of one character before each."""
    return {f"{number:0250}": "" for number in range(MAX_SECRET_BYTES // 251 // entries + 1)}


@pytest.mark.parametrize(
    "entries",
    [[of_db(prefix="a")], [of_db(prefix=prefix) for prefix in "abcdefgh"]],
    ids=["of a document", "of several"],
)
def test_more_names_than_a_secret_holds_are_not_resolved(entries: list[DataFrom]) -> None:
    too_many = Problem(
        Reason.SECRET_REJECTED,
        "the names of the keys are more than 1048576 bytes together, and a Secret holds no more: split it into several",
    )
    names = names_of(len(entries))
    wanted = whole(*entries, keys={"own": "secret/data/api#own"})
    api = document({"own": "x"})

    assert resolve(wanted, {DB: document(names), API: api}) == {f"dataFrom[{len(entries) - 1}]": too_many}
    names.popitem()
    assert len(resolve(wanted, {DB: document(names), API: api})) == len(names) * len(entries) + 1


def test_names_that_take_the_place_of_each_other_count_once() -> None:
    names = names_of(2)

    assert resolve(whole(of_db(), of_db(), of_db()), {DB: document(names)}).keys() == names.keys()


@given(st.lists(st.text("ab*?[]!-^|", min_size=1, max_size=5), max_size=4), st.sets(st.text("ab-", min_size=1)))
def test_a_name_is_taken_if_any_of_the_globs_matches_it(globs: list[str], names: set[str]) -> None:
    wanted = {name for name in names if not globs or any(fnmatchcase(name, glob) for glob in globs)}
    left = {name for name in names if not any(fnmatchcase(name, glob) for glob in globs)}

    for entry, expected in ((of_db(include=tuple(globs)), wanted), (of_db(exclude=tuple(globs)), left)):
        found = resolve(whole(entry), {DB: document(dict.fromkeys(names, "x"))})
        assert found.keys() == (expected or {"dataFrom[0]"})


def test_values_come_with_their_keys() -> None:
    found = resolve(whole(of_db(rename={"user": "login"}, include=("user", "password"))), {DB: document({**VALUES})})

    assert found == {"login": b"shop", "password": b"hunter2"}


def test_names_that_a_secret_cannot_have_are_listed_or_converted() -> None:
    values: dict[str, str | None] = {"db host": "db", "ü/ñ": "x", "good": "y"}

    assert problem_of(of_db(), values) == Problem(
        Reason.SOURCE_INVALID,
        "dataFrom[0]: secret/data/db has keys that a Secret can't have: 'db host', '\\xfc/\\xf1': "
        "set conversion: Underscore, or rename",
    )
    found = resolve(whole(of_db(conversion="Underscore")), {DB: document(values)})
    assert found == {"db_host": b"db", "___": b"x", "good": b"y"}


@pytest.mark.parametrize("name", ["", ".", "..", "..a", "k" * 254])
def test_a_name_that_no_conversion_mends_is_an_error(name: str) -> None:
    problem = problem_of(of_db(conversion="Underscore"), {name: "x"})
    assert problem.reason is Reason.SOURCE_INVALID
    assert problem.message.endswith(": rename or exclude them")


@pytest.mark.parametrize(
    "entry", [of_db(conversion="Underscore"), of_db(rename={"a b": "a_b"})], ids=["by conversion", "by rename"]
)
def test_two_keys_of_a_document_that_get_one_name_are_an_error(entry: DataFrom) -> None:
    problem = problem_of(entry, {"a b": "x", "a_b": "y"})

    assert problem.reason is Reason.SOURCE_INVALID
    assert problem.message == (
        "dataFrom[0]: secret/data/db has keys that get the name of another one: 'a b': rename or exclude them"
    )


def test_later_entries_win_and_keys_map_wins_over_all() -> None:
    documents: Documents = {
        DB: document({"a": "db", "b": "db", "c": "db"}),
        API: document({"b": "api", "c": "api", "single": "one"}),
    }
    wanted = whole(of_db(), DataFrom(path="secret/data/api"), keys={"c": "secret/data/api#single"})

    assert resolve(wanted, documents) == {"a": b"db", "b": b"api", "c": b"one", "single": b"one"}


def test_a_key_that_is_lost_is_no_error_whatever_its_value() -> None:
    documents: Documents = {DB: document({"a": None}), API: document({"a": "api"})}

    assert resolve(whole(of_db(), DataFrom(path="secret/data/api")), documents) == {"a": b"api"}


def test_an_empty_document_does_not_empty_the_secret() -> None:
    assert problem_of(of_db(), {}) == Problem(
        Reason.SOURCE_INVALID, "dataFrom[0]: secret/data/db is empty: write its keys, or remove it from dataFrom"
    )


def test_globs_that_leave_nothing_are_an_error() -> None:
    assert problem_of(of_db(include=("x*",)), {**VALUES}) == Problem(
        Reason.SOURCE_INVALID,
        "dataFrom[0]: secret/data/db has no key that include and exclude leave: correct the globs",
    )


def test_a_value_that_is_null_is_an_error_of_its_key() -> None:
    assert problem_of(of_db(), {"user": None, "password": "x"}) == Problem(
        Reason.SOURCE_INVALID, "key user: 'user' at secret/data/db is null: give it a value, or exclude it"
    )


def test_a_value_in_another_encoding_is_an_error_that_does_not_contain_it() -> None:
    assert problem_of(of_db(encoding="base64"), {"a": f"{CANARY}!"}) == Problem(
        Reason.SOURCE_INVALID,
        "key a: 'a' at secret/data/db: the value is not base64: encode it, or remove encoding: base64",
    )


def test_encoding_is_that_of_all_its_keys() -> None:
    found = resolve(whole(of_db(encoding="base64")), {DB: document({"a": "YQ==", "b": "Yg"})})

    assert found == {"a": b"a", "b": b"b"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [(SourceNotFound("gone"), Reason.SOURCE_NOT_FOUND), (SourceForbidden("no"), Reason.SOURCE_FORBIDDEN)],
)
def test_a_document_that_cannot_be_read_is_a_problem_even_beside_others(
    error: SourceNotFound | SourceForbidden, reason: Reason
) -> None:
    wanted = whole(of_db(), DataFrom(path="secret/data/api"))
    found = resolve(wanted, {DB: error, API: document({"a": "x"})})

    assert combine(wanted, found) == Problem(reason, f"dataFrom[0]: {error}")


def test_a_named_source_gives_its_keys() -> None:
    named = Spec(
        name="db", data_from=(DataFrom(source="main"),), sources={"main": NamedSource(path="secret/data/db", version=3)}
    )
    versioned = Source("secret/data/db", "3")

    assert named.read_sources == {versioned}
    assert resolve(named, {versioned: document({"a": "x"})}) == {"a": b"x"}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ('{"user": "shop", "port": 5432, "tags": ["a"]}', {"user": b"shop", "port": b"5432", "tags": b'["a"]'}),
        (f'["{CANARY}"]', None),
        (CANARY, None),
    ],
)
def test_a_source_that_is_one_value_gives_the_fields_of_its_json_object(
    value: str, found: dict[str, bytes | Problem] | None
) -> None:
    keyless = Document(values={"": value}, marker="1", keyless=True)
    problem = Problem(
        Reason.SOURCE_INVALID,
        "dataFrom[0]: secret/data/db is one value and not a JSON object: write one, or take the value by keysMap",
    )

    assert resolve(whole(of_db()), {DB: keyless}) == (found or {"dataFrom[0]": problem})


@pytest.mark.parametrize("type_", ["kubernetes.io/tls", "kubernetes.io/dockerconfigjson"])
def test_a_document_without_the_keys_of_the_type_is_a_problem(type_: str) -> None:
    wanted = Spec(name="db", type=type_, data_from=(of_db(),))
    problem = desired(wanted, ({DB: document({"a": "x"})}))

    assert isinstance(problem, Problem)
    assert problem.reason is Reason.SECRET_REJECTED
    assert problem.message.startswith(f"spec.type {type_} needs the key ")


names = st.text(st.sampled_from("ab._- ü"), max_size=4)
documents_of_names = st.dictionaries(names, st.none() | st.sampled_from(["x", "YQ==", "?"]), max_size=4)
entries = st.builds(
    DataFrom,
    path=st.sampled_from(["secret/data/db", "secret/data/api"]),
    include=st.lists(st.text(st.sampled_from("ab*?"), min_size=1, max_size=3), max_size=2).map(tuple),
    exclude=st.lists(st.text(st.sampled_from("ab*?"), min_size=1, max_size=3), max_size=1).map(tuple),
    prefix=st.sampled_from(["", "P_", "."]),
    rename=st.dictionaries(names, st.sampled_from(["a", "b", "new"]), max_size=2),
    conversion=st.sampled_from(["", "Underscore"]),
    encoding=st.sampled_from(["", "base64"]),
)


@given(st.lists(entries, min_size=1, max_size=3), documents_of_names, documents_of_names)
def test_the_result_is_the_same_whatever_the_order_of_reads_and_of_keys(
    wanted: list[DataFrom], db: dict[str, str | None], api: dict[str, str | None]
) -> None:
    spec = whole(*wanted, keys={"a": "secret/data/db#a"})
    results = [
        resolve(spec, dict(order))
        for order in itertools.permutations(
            [(DB, Document(values=db, marker="1")), (API, Document(values=api, marker="2"))]
        )
    ]
    turned = {DB: Document(values=dict(reversed(db.items())), marker="1"), API: Document(values=api, marker="2")}

    assert results[0] == results[1] == resolve(spec, turned)
    assert list(results[0]) == list(resolve(spec, turned))
    made = combine(spec, results[0])
    assert isinstance(made, Problem) or all(map(is_key, made.data))
    assert isinstance(made, Desired | Problem)
