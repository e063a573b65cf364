import httpx
import msgspec
import pytest

from secrets_manager.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Expired,
    FieldConflict,
    FieldOwner,
    Forbidden,
    Invalid,
    NotFound,
    Overloaded,
    ServerError,
    Throttled,
    Unauthorized,
)
from secrets_manager.kube.status import error_from_status

NO_HEADERS = httpx.Headers()


def status(**fields: object) -> bytes:
    return msgspec.json.encode({"kind": "Status", "apiVersion": "v1", "status": "Failure", **fields})


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (302, "", ApiError),
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (405, "MethodNotAllowed", Invalid),
        (408, "", ServerError),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Expired),
        (413, "", Invalid),
        (415, "UnsupportedMediaType", Invalid),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", Throttled),
        (500, "InternalError", ServerError),
        (503, "ServiceUnavailable", ServerError),
        (504, "Timeout", ServerError),
        (599, "", ServerError),
    ],
)
def test_code_and_reason_decide_the_kind(code: int, reason: str, expected: type[ApiError]) -> None:
    error = error_from_status(code, NO_HEADERS, status(reason=reason, message="why"))

    assert type(error) is expected
    assert (error.code, error.reason) == (code, reason)


@pytest.mark.parametrize(
    ("message", "by_authorization"),
    [
        (
            'deployments.apps "web" is forbidden: User "system:serviceaccount:a:b" cannot get resource "deployments"',
            True,
        ),
        ('forbidden: User "jane" cannot get path "/metrics"', True),
        ('secrets is forbidden: User "o"hara" cannot list resource "secrets" in API group "": no rule', True),
        ('secrets "app" is forbidden: exceeded quota: some, requested: secrets=1, used: secrets=5', False),
        ('admission webhook "calm" denied the request: User jane cannot restart', False),
        ("", False),
    ],
)
def test_what_authorization_refuses_is_told_from_what_admission_does(message: str, *, by_authorization: bool) -> None:
    error = error_from_status(403, NO_HEADERS, status(reason="Forbidden", message=message))

    assert isinstance(error, Forbidden)
    assert error.by_authorization is by_authorization


EXCEEDED = 'secrets "app" is forbidden: exceeded quota: q, requested: {}, used: {}, limited: {}'


@pytest.mark.parametrize(
    ("requested", "used", "limited", "full"),
    [
        ("secrets=1", "secrets=3", "secrets=3", True),
        ("secrets=1", "secrets=3", "secrets=1", False),
        ("secrets=1", "secrets=3", "secrets=0", False),
        ("count/secrets=1,secrets=1", "count/secrets=3,secrets=3", "count/secrets=3,secrets=3", True),
        ("count/secrets=1,secrets=1", "count/secrets=3,secrets=3", "count/secrets=3,secrets=2", False),
        ("secrets=1", "secrets=1k", "secrets=1000", True),
        ("secrets=1", "secrets=1001", "secrets=1k", False),
        ("secrets=1", "secrets=1024", "secrets=1Ki", True),
        ("secrets=1", "secrets=1", "secrets=1500m", True),
        ("secrets=1", "secrets=2", "secrets=1500m", False),
        ("secrets=1", "secrets=1000", "secrets=1e3", True),
        ("secrets=1", "secrets=1.5", "secrets=1.5", True),
        ("secrets=1", "secrets=3", "secrets=many", False),
        ("secrets=1", "secrets=3", "secrets=9e999999999", False),
        ("secrets=1", "secrets=\u0663", "secrets=3", False),
        ("secrets=1", "secrets=3", "pods=3", False),
        ("secrets=1", "secrets=3,pods=3", "secrets=3", False),
        ("secrets=1", "secrets=3", "", False),
        ("secrets=1", "secrets", "secrets=3", False),
    ],
)
def test_quota_that_is_full_is_told_from_one_that_is_exceeded_already(
    requested: str, used: str, limited: str, *, full: bool
) -> None:
    message = EXCEEDED.format(requested, used, limited)
    error = error_from_status(403, NO_HEADERS, status(reason="Forbidden", message=message))

    assert isinstance(error, Forbidden)
    assert error.by_full_quota is full


@pytest.mark.parametrize(
    ("message", "full"),
    [
        (EXCEEDED.format("secrets=1", "secrets=3", "secrets=3").replace("app", "a" * 253), True),
        (EXCEEDED.format("secrets=1", "secrets=3", "secrets=3") + ", and more", False),
        ("exceeded quota: ask your administrator", False),
        ("", False),
    ],
    ids=["too long to be quoted", "other words behind", "words of a webhook", "none"],
)
def test_quota_is_known_by_the_whole_message(message: str, *, full: bool) -> None:
    error = error_from_status(403, NO_HEADERS, status(reason="Forbidden", message=message))

    assert isinstance(error, Forbidden)
    assert error.by_full_quota is full


def test_text_names_request_code_reason_and_message() -> None:
    body = status(reason="Conflict", message="the object has been modified")

    error = error_from_status(409, NO_HEADERS, body, request="PUT /api/v1/x")

    assert str(error) == "PUT /api/v1/x: 409 Conflict: the object has been modified"


def test_causes_are_reported_where_they_say_something_else() -> None:
    causes = [
        {"reason": "FieldValueInvalid", "message": "must be lower case", "field": "metadata.name"},
        {"reason": "NamespaceTerminating", "field": "metadata.namespace"},
    ]
    body = status(reason="Forbidden", message="it must be lower case", details={"causes": causes})

    assert str(error_from_status(403, NO_HEADERS, body)) == "403 Forbidden: it must be lower case; NamespaceTerminating"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>token=hunter2</html>",
        b'{"kind":"Secret","message":"hunter2"}',
        b'{"kind":"Status","message":["hunter2"]}',
        b'{"kind":"Status","message":"hunter2\xff"}',
        b'["hunter2"]',
    ],
)
def test_body_that_is_no_status_is_not_repeated(body: bytes) -> None:
    error = error_from_status(404, NO_HEADERS, body)

    assert (type(error), str(error), error.reason) == (NotFound, "404 Not Found", "")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"Too many requests, please try again later.\n", Overloaded),
        (status(reason="TooManyRequests"), Throttled),
        (status(message='admission webhook "limits.example.com" denied the request: slow down'), Throttled),
    ],
    ids=["no Status", "a reason", "no reason"],
)
def test_a_429_is_an_overload_only_without_a_status(body: bytes, expected: type[ApiError]) -> None:
    error = error_from_status(429, httpx.Headers({"Retry-After": "7"}), body)

    assert (type(error), error.retry_after) == (expected, 7.0)


def test_words_stay_on_one_line() -> None:
    error = error_from_status(500, NO_HEADERS, status(reason="x\ny", message="a\n\x1b\u2028b"))

    assert str(error) == "500 Internal Server Error: x\\ny: a\\n\\x1b\\u2028b"


def test_words_are_cut_between_two_of_them() -> None:
    message = "short " * 40 + "hunter2" * 10

    error = error_from_status(500, NO_HEADERS, status(reason="InternalError", message=message))

    assert str(error) == f"500 InternalError: {'short ' * 39}short…"


def test_what_the_server_says_in_its_own_words_is_kept_apart() -> None:
    error = error_from_status(400, NO_HEADERS, status(reason="hunter2", message="no\nway"), request="PUT /x")

    assert (error.summary, error.server_message) == ("PUT /x: 400 Bad Request", "hunter2: no\nway")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            'illegal base64 data, error found in #10 byte of ...|{"a":"hunter2"}|...',
            "400 BadRequest: illegal base64 data",
        ),
        (
            ' "" is invalid: patch: Invalid value: "{\\"data\\":{\\"a\\":\\"hunter2\\"}}": illegal base64 data',
            '400 BadRequest:  "" is invalid: patch:',
        ),
    ],
)
def test_what_the_server_quotes_of_an_object_is_left_out(message: str, expected: str) -> None:
    causes = [{"message": message.rpartition("patch: ")[2]}]

    error = error_from_status(400, NO_HEADERS, status(reason="BadRequest", message=message, details={"causes": causes}))

    assert str(error) == expected


@pytest.mark.parametrize(
    ("headers", "details", "expected"),
    [
        ({}, {}, None),
        ({"retry-after": "7"}, {}, 7.0),
        ({"Retry-After": "7"}, {"retryAfterSeconds": 3}, 7.0),
        ({}, {"retryAfterSeconds": 3}, 3.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {"retryAfterSeconds": 3}, 3.0),
        ({"Retry-After": "-7"}, {}, None),
        ({"Retry-After": "0"}, {}, None),
        ({"Retry-After": "32"}, {}, 32.0),
        ({"Retry-After": "9" * 400}, {}, 32.0),
        ({}, {"retryAfterSeconds": 3600}, 32.0),
    ],
)
def test_retry_after_is_of_the_header_or_else_of_the_details(
    headers: dict[str, str], details: dict[str, int], expected: float | None
) -> None:
    error = error_from_status(429, httpx.Headers(headers), status(details=details))

    assert error.retry_after == expected


def test_conflicts_of_an_apply_name_fields_and_managers() -> None:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl \\"x\\"" using v1',
            "field": ".data.tls.crt",
        },
        {"reason": "FieldManagerConflict", "message": "conflict", "field": ".data.a"},
        {"reason": "SomethingElse", "message": 'not "this"', "field": ".data.b"},
    ]
    body = status(reason="Conflict", message="Apply failed with 2 conflicts", details={"causes": causes})
    error = error_from_status(409, NO_HEADERS, body)
    assert isinstance(error, FieldConflict)
    assert error.owners == (FieldOwner(".data.tls.crt", 'kubectl "x"'), FieldOwner(".data.a", ""))
    assert type(error_from_status(422, NO_HEADERS, body)) is Invalid


def test_a_conflict_without_fields_is_one_of_the_object() -> None:
    causes = [{"reason": "FieldValueInvalid", "message": "no", "field": "metadata.uid"}]
    error = error_from_status(409, NO_HEADERS, status(reason="Conflict", details={"causes": causes}))
    assert type(error) is Conflict
