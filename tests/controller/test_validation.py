import pytest
from msgspec.structs import replace

from secrets_manager.controller.definition import Reason
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.spec import DataFrom, DataSource, InvalidSpec, NamedSource, Spec
from secrets_manager.controller.validation import validate_data, validate_spec
from tests.controller.specs import BAD, FAULTS_OF_SEVERAL, GOOD, KEY_RULE, PLACE, SEVERAL
from tests.gen import spec

MAX_SECRET_BYTES = 1024 * 1024

CANARY = "canary-7d1f"


@pytest.mark.parametrize("good", GOOD)
def test_what_kubernetes_takes_passes_as_it_is(good: Spec) -> None:
    assert validate_spec(good) is good


@pytest.mark.parametrize(
    ("bad", "message"), [*BAD, (InvalidSpec("spec can't be read: why"), "spec can't be read: why")]
)
def test_what_kubernetes_would_refuse_is_reported_without_reading_anything(
    bad: Spec | InvalidSpec, message: str
) -> None:
    assert validate_spec(bad) == Problem(Reason.DEFINITION_INVALID, message)


def test_all_faults_are_reported_at_once() -> None:
    assert validate_spec(SEVERAL) == Problem(Reason.DEFINITION_INVALID, "; ".join(FAULTS_OF_SEVERAL))


def test_sources_of_one_definition_are_bounded_however_many_keys_they_give() -> None:
    most = Spec(
        name="db",
        keys_map={f"k{number}": DataSource(path=f"p{number % 999}", key=f"{number}") for number in range(3000)},
        data_from=(DataFrom(path="p0"), DataFrom(path="p0", version=1)),
        sources={"again": NamedSource(path="p0")},
    )
    assert validate_spec(most) is most

    assert validate_spec(replace(most, data_from=(*most.data_from, DataFrom(path="more")))) == Problem(
        Reason.DEFINITION_INVALID,
        "spec names 1001 sources, and at most 1000 may be: make several definitions of it, or write several keys at "
        "one path",
    )


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (2, "'k 00', 'k 01'"),
        (10, ", ".join(f"'k {number:02}'" for number in range(10))),
        (12, ", ".join(f"'k {number:02}'" for number in range(10)) + " and 2 more"),
    ],
)
def test_all_bad_keys_are_named_up_to_ten(number: int, named: str) -> None:
    assert validate_spec(spec(keys={f"k {each:02}": PLACE for each in range(number)})) == Problem(
        Reason.DEFINITION_INVALID, f"spec.keysMap: {named} can't be a key of a Secret: {KEY_RULE}"
    )


@pytest.mark.parametrize(
    ("secret_type", "data"),
    [
        ("Opaque", {"pw": b""}),
        ("Opaque", {"pw": b"x" * MAX_SECRET_BYTES}),
        ("Opaque", {"a": b"x" * (MAX_SECRET_BYTES - 1), "b": b"x"}),
        ("kubernetes.io/tls", {"tls.crt": b"not checked", "tls.key": b""}),
        ("kubernetes.io/dockercfg", {".dockercfg": b'{"registry": {"auth": "x"}}'}),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": b" {} "}),
    ],
)
def test_data_that_fits_is_no_problem(secret_type: str, data: dict[str, bytes]) -> None:
    assert validate_data(secret_type, data) is None


def test_data_that_is_too_large_is_reported_by_its_size() -> None:
    data = {"a": CANARY.encode() + b"x" * (MAX_SECRET_BYTES - len(CANARY)), "b": b"y"}

    assert validate_data("Opaque", data) == Problem(
        Reason.SECRET_REJECTED,
        "the values are 1048577 bytes together, and a Secret holds 1048576: split it into several",
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(CANARY.encode(), id="text"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"a": ', id="cut"),
        pytest.param(b"{} {}", id="two"),
        pytest.param(b'{"\xff\xfe": 1}', id="no UTF-8"),
        pytest.param(b'{"a": ' + b"[" * 100_000, id="deep"),
    ],
)
@pytest.mark.parametrize("kind", ["dockercfg", "dockerconfigjson"])
def test_docker_configuration_that_is_no_json_object_is_reported_but_not_shown(kind: str, value: bytes) -> None:
    assert validate_data(f"kubernetes.io/{kind}", {f".{kind}": value}) == Problem(
        Reason.SECRET_REJECTED, f"key .{kind}: type kubernetes.io/{kind} needs a JSON object there"
    )
