import msgspec
import pytest
from msgspec.structs import replace

from secrets_manager.backends.base import (
    BackendError,
    Document,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    Unavailable,
)
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.desired import Desired, combine, desired, resolve
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.problem import Problem, read_problem, summarize
from secrets_manager.controller.secret import digest
from secrets_manager.controller.spec import DataFrom, DataSource, NamedSource
from secrets_manager.controller.templated import parsed, rendered, templates
from secrets_manager.templates import Rendered
from tests.calls import calls
from tests.gen import data_source, document, spec

CANARY = "canary-7d1f"
DB = Source("secret/data/db")
TLS = Source("secret/data/tls")


def at_db(values: dict[str, str | None]) -> Documents:
    return {DB: document(values)}


def test_every_key_gets_its_value_in_its_encoding() -> None:
    wanted = spec(
        keys={
            "raw": "secret/data/db#password",
            "decoded": data_source("secret/data/db#encoded", encoding="base64"),
            "crt": "secret/data/tls#crt",
        }
    )
    documents = {DB: document({"password": "hunter2", "encoded": "YWJj", "unused": "x"}), TLS: document({"crt": "PEM"})}

    assert resolve(wanted, documents) == {"raw": b"hunter2", "decoded": b"abc", "crt": b"PEM"}


def test_same_value_may_serve_several_keys() -> None:
    wanted = spec(keys={"a": "secret/data/db#password", "b": "secret/data/db#password"})

    assert resolve(wanted, at_db({"password": "hunter2"})) == {"a": b"hunter2", "b": b"hunter2"}


def test_where_a_source_is_one_value_any_key_means_it() -> None:
    whole = Document(values={"": "hunter2"}, marker="1", keyless=True)

    assert resolve(spec(), {DB: whole}) == {"pw": b"hunter2"}


def test_empty_value_is_a_value() -> None:
    assert resolve(spec(), at_db({"password": ""})) == {"pw": b""}


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        pytest.param(
            document({"user": CANARY}),
            Problem(
                Reason.SOURCE_NOT_FOUND,
                "key pw: 'password' at secret/data/db does not exist: write it, or correct the name",
            ),
            id="no such key",
        ),
        pytest.param(
            document({"password": None}),
            Problem(
                Reason.SOURCE_INVALID,
                "key pw: 'password' at secret/data/db is null: give it a value, or remove the key here",
            ),
            id="null",
        ),
        pytest.param(
            document({}),
            Problem(
                Reason.SOURCE_NOT_FOUND,
                "key pw: 'password' at secret/data/db does not exist: write it, or correct the name",
            ),
            id="empty document",
        ),
        pytest.param(
            Unavailable("Vault is sealed"), Problem(Reason.BACKEND_UNAVAILABLE, "key pw: Vault is sealed"), id="down"
        ),
        pytest.param(
            SourceNotFound("no such path"), Problem(Reason.SOURCE_NOT_FOUND, "key pw: no such path"), id="no path"
        ),
        pytest.param(
            SourceForbidden("not allowed"), Problem(Reason.SOURCE_FORBIDDEN, "key pw: not allowed"), id="forbidden"
        ),
        pytest.param(
            SourceMalformed("no keys there"), Problem(Reason.SOURCE_INVALID, "key pw: no keys there"), id="malformed"
        ),
    ],
)
def test_problem_names_the_key_the_path_and_the_next_step(found: Document | BackendError, problem: Problem) -> None:
    assert resolve(spec(), {DB: found}) == {"pw": problem}


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("base64", "the value is not base64: encode it, or remove encoding: base64"),
        ("rot13", "encoding 'rot13' is unknown: use text, base64 or base64url"),
    ],
)
def test_value_in_another_encoding_is_a_problem_that_does_not_contain_it(encoding: str, message: str) -> None:
    wanted = spec(keys={"pw": data_source("secret/data/db#password", encoding=encoding)})

    assert resolve(wanted, at_db({"password": CANARY})) == {
        "pw": Problem(Reason.SOURCE_INVALID, f"key pw: 'password' at secret/data/db: {message}")
    }


def test_text_of_a_template_in_another_encoding_is_a_problem_that_does_not_contain_it() -> None:
    wanted = spec(keys={"pw": DataSource(template="{{ db.password }}", encoding="base64")})

    assert resolve(wanted, {}, {"pw": Rendered(CANARY)}) == {
        "pw": Problem(
            Reason.SOURCE_INVALID,
            "key pw: template: the value is not base64: encode it, or remove encoding: base64",
        )
    }


VERSIONED = {Source("secret/data/db", "3"): document({"pw": "old"}), DB: document({"pw": "new"})}


def test_versions_of_one_path_may_be_mixed() -> None:
    old, same = data_source("secret/data/db#pw", version=3), data_source("secret/data/db#pw", version="3")
    keys = spec(keys={"now": "secret/data/db#pw", "before": old, "again": same})
    wanted = replace(keys, data_from=(DataFrom(path="secret/data/db", version=3),))

    assert wanted.read_sources == frozenset(VERSIONED)
    assert resolve(wanted, VERSIONED) == {"pw": b"old", "now": b"new", "before": b"old", "again": b"old"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param('{"user": "shop", "port": 5432}', b"shop", id="string"),
        pytest.param('{"user": 1.10}', b"1.10", id="number"),
        pytest.param('{"user": {"first": [1, 2]}}', b'{"first": [1, 2]}', id="object"),
        pytest.param('{"user": ""}', b"", id="empty"),
    ],
)
def test_property_is_one_field_of_a_value_that_is_a_json_object(text: str, value: bytes) -> None:
    wanted = spec(keys={"pw": data_source("secret/data/db#password", property_="user")})

    assert resolve(wanted, at_db({"password": text})) == {"pw": value}


def test_property_is_decoded_like_a_whole_value() -> None:
    wanted = spec(keys={"pw": data_source("secret/data/db#password", property_="user", encoding="base64")})

    assert resolve(wanted, at_db({"password": '{"user": "YWJj"}'})) == {"pw": b"abc"}


def test_value_is_taken_apart_once_for_all_keys_that_are_fields_of_it() -> None:
    fields = [f"field-{number}" for number in range(100)]

    def work(keys: int, more_fields: int) -> int:
        wanted = spec(keys={field: data_source("secret/data/db#password", property_=field) for field in fields[:keys]})
        value = dict.fromkeys([*fields, *(f"more-{number}" for number in range(more_fields))], "x")
        documents = at_db({"password": msgspec.json.encode(value).decode()})
        return calls(lambda: resolve(wanted, documents))

    assert work(keys=100, more_fields=100) - work(keys=100, more_fields=0) == work(keys=1, more_fields=100) - work(
        keys=1, more_fields=0
    )


@pytest.mark.parametrize("encoding", ["", "base64"])
def test_value_is_decoded_once_and_held_once_for_all_its_keys(encoding: str) -> None:
    """Else a value of 1 MiB that thousands of keys name takes gigabytes before it is found too large."""
    keys = {f"key-{number}": data_source("secret/data/db#password", encoding=encoding) for number in range(100)}
    found = resolve(spec(keys=keys), at_db({"password": "hunter22"}))

    assert len(found) == 100
    assert len({id(value) for value in found.values()}) == 1


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        (f'{{"other": "{CANARY}"}}', Reason.SOURCE_NOT_FOUND, ", property 'user' does not exist: write it"),
        ('{"user": null}', Reason.SOURCE_INVALID, ", property 'user' is null: give it a value, or remove the key here"),
        (CANARY, Reason.SOURCE_INVALID, " is not a JSON object: write one, or remove property: user"),
        (f'["{CANARY}"]', Reason.SOURCE_INVALID, " is not a JSON object: write one, or remove property: user"),
        ('{"user": "\\ud800"}', Reason.SOURCE_INVALID, " is not a JSON object: write one, or remove property: user"),
        ('{"user": "\ud800"}', Reason.SOURCE_INVALID, " is not a JSON object: write one, or remove property: user"),
        ("", Reason.SOURCE_INVALID, " is not a JSON object: write one, or remove property: user"),
        (
            '{"user": ' + "[" * 100_000,
            Reason.SOURCE_INVALID,
            " is not a JSON object: write one, or remove property: user",
        ),
        ("[" * 100_000, Reason.SOURCE_INVALID, " is not a JSON object: write one, or remove property: user"),
    ],
    ids=[
        "no such field",
        "null",
        "plain text",
        "list",
        "half a character",
        "half a character unescaped",
        "empty",
        "deep below the field",
        "deep",
    ],
)
def test_property_that_can_not_be_had(text: str, reason: Reason, message: str) -> None:
    wanted = spec(keys={"pw": data_source("secret/data/db#password", property_="user")})

    (problem,) = resolve(wanted, {DB: Document(values={"password": text}, marker="1")}).values()

    assert isinstance(problem, Problem)
    assert problem.reason == reason
    assert problem.message.startswith(f"key pw: 'password' at secret/data/db{message}")
    assert CANARY not in problem.message


def test_values_together_make_one_secret() -> None:
    wanted = replace(spec("db-secret", type_="kubernetes.io/basic-auth"), immutable=True)
    values = {"password": b"hunter2"}

    assert combine(wanted, values) == Desired(
        name="db-secret", type="kubernetes.io/basic-auth", data=values, digest=digest(values), immutable=True
    )


def test_what_templates_are_made_from_may_not_be_quoted_either() -> None:
    templated = spec(keys={"url": DataSource(template="db://{{ db.user }}"), "pw": "secret/data/tls#pw"})
    wanted = replace(templated, sources={"db": NamedSource(path=DB.path)})
    documents = {DB: document({"user": "shop", "none": None, "empty": ""}), TLS: document({"pw": "x", "unused": "y"})}

    made = desired(wanted, documents, {"url": Rendered("db://shop", ("part", ""))})

    assert isinstance(made, Desired)
    assert made.values is not None
    assert sorted(made.values) == [b"db://shop", b"part", b"shop", b"x"]


def test_what_filters_take_out_of_values_may_not_be_quoted_either() -> None:
    keys = {"url": DataSource(template="db://{{ db.login | json_field: 'pw' }}")}
    wanted = replace(spec(keys=keys), sources={"db": NamedSource(path=DB.path)})
    documents = at_db({"login": '{"pw": "hunter2"}'})
    read = templates(parsed(wanted))
    assert not isinstance(read, Problem)

    made = desired(wanted, documents, dict(rendered(read, wanted, documents)))

    assert isinstance(made, Desired)
    assert made.values is not None
    assert sorted(made.values) == [b"db://hunter2", b"hunter2", b'{"pw": "hunter2"}']


def test_type_is_opaque_unless_said() -> None:
    assert combine(spec(), {"pw": b"x"}) == Desired(
        name="db", type="Opaque", data={"pw": b"x"}, digest=digest({"pw": b"x"})
    )


def test_one_bad_key_is_enough_for_no_secret() -> None:
    problem = Problem(Reason.SOURCE_FORBIDDEN, "key b: not allowed")

    assert combine(spec(), {"a": b"good", "b": problem, "c": b"good"}) == problem


def test_several_problems_are_one_with_the_first_keys_reason() -> None:
    wanted = spec(
        keys={"z": "secret/data/tls#z", "b": "secret/data/db#b", "a": "secret/data/db#a", "ok": "secret/data/db#ok"}
    )
    documents: Documents = {DB: document({"ok": "fine"}), TLS: SourceForbidden("not allowed")}

    assert desired(wanted, (documents)) == Problem(
        Reason.SOURCE_NOT_FOUND,
        "key a: 'a' at secret/data/db does not exist: write it, or correct the name (and 2 more of its keys)",
    )


def test_values_that_kubernetes_would_refuse_are_reported_before_it_does() -> None:
    wanted = spec(type_="kubernetes.io/dockerconfigjson", keys={".dockerconfigjson": "secret/data/db#config"})

    assert combine(wanted, {".dockerconfigjson": CANARY.encode()}) == Problem(
        Reason.SECRET_REJECTED,
        "key .dockerconfigjson: type kubernetes.io/dockerconfigjson needs a JSON object there",
    )


def test_repr_shows_no_value() -> None:
    made = combine(spec(), {"pw": CANARY.encode()})

    assert repr(made) == "Desired('db', type='Opaque', keys=['pw'])"


def test_one_problem_is_its_own_summary() -> None:
    problem = read_problem(SourceForbidden("not allowed"), where="key pw")

    assert summarize([problem]) == problem == Problem(Reason.SOURCE_FORBIDDEN, "key pw: not allowed")


@pytest.mark.parametrize("error", [Unavailable, SourceNotFound, SourceForbidden, SourceMalformed])
def test_every_failure_of_a_read_has_a_reason(error: type[BackendError]) -> None:
    assert read_problem(error("why"), where="key pw").message == "key pw: why"
