import pytest

from secrets_manager.controller.definition import InvalidSpec, Reason, Spec
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.validation import MAX_SECRET_BYTES, check_data, checked
from tests.gen import spec

CANARY = "canary-7d1f"
PLACE = "secret/data/db#password"
LONG = "a" * 253

NAME_RULE = "use at most 253 lower case letters, digits, '-' and '.'"
KEY_RULE = "use at most 253 letters, digits, '-', '_' and '.'"


def typed(type_: str, *keys: str) -> Spec:
    return spec(type_=type_, keys=dict.fromkeys(keys or ("pw",), PLACE))


@pytest.mark.parametrize(
    "good",
    [
        spec(),
        spec("a"),
        spec("1"),
        spec("db.example-1.com"),
        spec(LONG),
        spec(keys={".hidden": PLACE, "A_b-c.D9": PLACE, "_": PLACE, "-": PLACE, "a..b": PLACE, LONG: PLACE}),
        typed("Opaque"),
        typed(""),
        typed("example.com/my_own-type"),
        typed("helm.sh/release.v1"),
        typed("bootstrap.kubernetes.io/token"),
        typed("kubernetes.io/tls", "tls.crt", "tls.key", "ca.crt"),
        typed("kubernetes.io/ssh-auth", "ssh-privatekey"),
        typed("kubernetes.io/dockercfg", ".dockercfg"),
        typed("kubernetes.io/dockerconfigjson", ".dockerconfigjson"),
        typed("kubernetes.io/basic-auth", "username"),
        typed("kubernetes.io/basic-auth", "password"),
        spec(refresh="1s"),
        spec(refresh="1m30s"),
        spec(refresh="720h"),
    ],
)
def test_what_kubernetes_takes_passes_as_it_is(good: Spec) -> None:
    assert checked(good) is good


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (spec(""), f"spec.name '' can't be the name of a Secret: {NAME_RULE}"),
        (spec("Db"), f"spec.name 'Db' can't be the name of a Secret: {NAME_RULE}"),
        (spec("db_1"), f"spec.name 'db_1' can't be the name of a Secret: {NAME_RULE}"),
        (spec("-db"), f"spec.name '-db' can't be the name of a Secret: {NAME_RULE}"),
        (spec("db."), f"spec.name 'db.' can't be the name of a Secret: {NAME_RULE}"),
        (spec("a..b"), f"spec.name 'a..b' can't be the name of a Secret: {NAME_RULE}"),
        (spec("../other/x"), f"spec.name '../other/x' can't be the name of a Secret: {NAME_RULE}"),
        (spec("db\n"), f"spec.name 'db\\n' can't be the name of a Secret: {NAME_RULE}"),
        (spec("dß"), f"spec.name 'd\\xdf' can't be the name of a Secret: {NAME_RULE}"),
        (spec("a" * 254), f"spec.name '{'a' * 60}...' can't be the name of a Secret: {NAME_RULE}"),
        (spec(keys={}), "spec.keysMap names no key: add one, or delete this definition"),
        (
            spec(refresh="5"),
            "spec.refreshInterval '5' is no duration: write numbers with their units, like 5s, 1m30s or 300ms",
        ),
        (spec(refresh="999ms"), "spec.refreshInterval 999ms is too little: it is 1s at least"),
        (spec(refresh="0"), "spec.refreshInterval 0 is too little: it is 1s at least"),
        (spec(refresh="-1h"), "spec.refreshInterval -1h is too little: it is 1s at least"),
        (
            spec(refresh="9999999h"),
            "spec.refreshInterval '9999999h' is longer than any duration can be, which is 292 years",
        ),
        (spec(keys={"": PLACE}), f"spec.keysMap: '' can't be a key of a Secret: {KEY_RULE}"),
        (spec(keys={".": PLACE}), f"spec.keysMap: '.' can't be a key of a Secret: {KEY_RULE}"),
        (spec(keys={"..": PLACE}), f"spec.keysMap: '..' can't be a key of a Secret: {KEY_RULE}"),
        (spec(keys={"..a": PLACE}), f"spec.keysMap: '..a' can't be a key of a Secret: {KEY_RULE}"),
        (spec(keys={"a/b": PLACE}), f"spec.keysMap: 'a/b' can't be a key of a Secret: {KEY_RULE}"),
        (spec(keys={"pw\n": PLACE}), f"spec.keysMap: 'pw\\n' can't be a key of a Secret: {KEY_RULE}"),
        (spec(keys={"pw": PLACE, "p w": PLACE}), f"spec.keysMap: 'p w' can't be a key of a Secret: {KEY_RULE}"),
        (spec(keys={"k" * 254: PLACE}), f"spec.keysMap: '{'k' * 60}...' can't be a key of a Secret: {KEY_RULE}"),
        (typed("my type"), "spec.type 'my type' can't be the type of a Secret: use Opaque or kubernetes.io/tls"),
        (typed("-x"), "spec.type '-x' can't be the type of a Secret: use Opaque or kubernetes.io/tls"),
        (
            typed("kubernetes.io/service-account-token"),
            "spec.type kubernetes.io/service-account-token: such Secrets are made by Kubernetes itself",
        ),
        (
            typed("kubernetes.io/tls", "tls.crt"),
            "spec.type kubernetes.io/tls needs the key tls.key: add it to spec.keysMap, or use type Opaque",
        ),
        (
            typed("kubernetes.io/tls", "tls.key"),
            "spec.type kubernetes.io/tls needs the key tls.crt: add it to spec.keysMap, or use type Opaque",
        ),
        (
            typed("kubernetes.io/ssh-auth"),
            "spec.type kubernetes.io/ssh-auth needs the key ssh-privatekey: add it to spec.keysMap, or use type Opaque",
        ),
        (
            typed("kubernetes.io/dockercfg"),
            "spec.type kubernetes.io/dockercfg needs the key .dockercfg: add it to spec.keysMap, or use type Opaque",
        ),
        (
            typed("kubernetes.io/dockerconfigjson"),
            (
                "spec.type kubernetes.io/dockerconfigjson needs the key .dockerconfigjson: "
                "add it to spec.keysMap, or use type Opaque"
            ),
        ),
        (
            typed("kubernetes.io/basic-auth"),
            "spec.type kubernetes.io/basic-auth needs the key username or password in spec.keysMap",
        ),
        (InvalidSpec("spec can't be read: why"), "spec can't be read: why"),
    ],
)
def test_what_kubernetes_would_refuse_is_told_without_reading_anything(bad: Spec | InvalidSpec, message: str) -> None:
    assert checked(bad) == Problem(Reason.DEFINITION_INVALID, message)


@pytest.mark.parametrize(
    ("secret_type", "data"),
    [
        ("Opaque", {"pw": b""}),
        ("Opaque", {"pw": b"x" * MAX_SECRET_BYTES}),
        ("Opaque", {"a": b"x" * (MAX_SECRET_BYTES - 1), "b": b"x"}),
        ("kubernetes.io/tls", {"tls.crt": b"not looked into", "tls.key": b""}),
        ("kubernetes.io/dockercfg", {".dockercfg": b'{"registry": {"auth": "x"}}'}),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": b" {} "}),
    ],
)
def test_data_that_fits_is_no_problem(secret_type: str, data: dict[str, bytes]) -> None:
    assert check_data(secret_type, data) is None


def test_data_that_is_too_large_is_told_by_its_size() -> None:
    data = {"a": CANARY.encode() + b"x" * (MAX_SECRET_BYTES - len(CANARY)), "b": b"y"}

    assert check_data("Opaque", data) == Problem(
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
def test_docker_configuration_that_is_no_json_object_is_told_but_not_shown(kind: str, value: bytes) -> None:
    assert check_data(f"kubernetes.io/{kind}", {f".{kind}": value}) == Problem(
        Reason.SECRET_REJECTED, f"key .{kind}: type kubernetes.io/{kind} needs a JSON object there"
    )
