"""Parsing of a 200. The responses of a real server are in tests/contracts/test_vault.py."""

import pytest

from secrets_manager.backends.base import Source, SourceMalformed
from secrets_manager.backends.vault.engine import KvV1, KvV2, create_engine
from secrets_manager.errors import UsageError

SOURCE = Source("secret/data/app")
METADATA = b'{"created_time":"2026-01-02T03:04:05.123456789Z","deletion_time":"","destroyed":false,"version":3}'


def kv2(data: bytes) -> bytes:
    return b'{"data":{"data":' + data + b',"metadata":' + METADATA + b'},"lease_id":"","warnings":null}'


def kv1(data: bytes) -> bytes:
    return b'{"data":' + data + b',"lease_id":"","lease_duration":2764800}'


def refusal_of(engine: KvV1 | KvV2, body: bytes) -> str:
    with pytest.raises(SourceMalformed) as caught:
        engine.document(SOURCE, body)
    return str(caught.value)


def test_engines_by_name() -> None:
    assert isinstance(create_engine("kv1"), KvV1)
    assert isinstance(create_engine("kv2"), KvV2)
    with pytest.raises(UsageError, match="'kv3' is unknown"):
        create_engine("kv3")


def test_kv2_document() -> None:
    document = KvV2().document(SOURCE, kv2(b'{"a":"x"}'))

    assert (document.values, document.version, document.marker) == ({"a": "x"}, 3, "3@2026-01-02T03:04:05.123456789Z")
    assert document.changed == "2026-01-02T03:04:05.123456789Z"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'"text"', "text"),
        (b'""', ""),
        (b'"\\u00e9\\n"', "é\n"),
        (b"null", None),
        (b"5432", "5432"),
        (b"12345678901234567890", "12345678901234567890"),
        (b"1.10", "1.10"),
        (b"1e3", "1e3"),
        (b"true", "true"),
        (b'{"b": 1, "a": [1,2]}', '{"b": 1, "a": [1,2]}'),
    ],
)
def test_value_that_is_no_string_stays_the_text_that_the_server_sent(value: bytes, expected: str | None) -> None:
    body = b'{"k": ' + value + b" }"

    assert KvV2().document(SOURCE, kv2(body)).values == {"k": expected}
    assert KvV1().document(SOURCE, kv1(body)).values == {"k": expected}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (rb'{"a":"x?b=1\u0026c=\u003c2\u003e"}', '{"a":"x?b=1&c=<2>"}'),
        (rb'["\u2028","\u2029"]', '["\u2028","\u2029"]'),
        (rb'["\\u0026","\\\u0026"]', r'["\\u0026","\\&"]'),
        (rb'["\u00e9\n\"\u0022"]', r'["\u00e9\n\"\u0022"]'),
        (rb'"{\"a\":\"\\u0026\"}"', r'{"a":"\u0026"}'),
    ],
    ids=["html", "line separators", "a backslash before it", "others", "a text that its author wrote so"],
)
def test_what_go_escapes_for_html_is_written_as_characters(value: bytes, expected: str) -> None:
    body = b'{"k":' + value + b"}"

    assert KvV2().document(SOURCE, kv2(body)).values == {"k": expected}
    assert KvV1().document(SOURCE, kv1(body)).values == {"k": expected}


def test_kv1_marker_is_equal_for_equal_content_alone() -> None:
    first, same, other = (KvV1().document(SOURCE, kv1(data)) for data in (b'{"a":"x"}', b'{"a":"x"}', b'{"a":"y"}'))

    assert first.marker == same.marker != other.marker
    assert first.version is None


def test_kv1_secret_may_have_keys_named_data_and_metadata() -> None:
    document = KvV1().document(SOURCE, kv1(b'{"data":"x","metadata":"y"}'))

    assert document.values == {"data": "x", "metadata": "y"}


@pytest.mark.parametrize(
    "body", [b"", b"<html>canary</html>", b'{"data":', b"[]", b'"canary"', b'{"data":{"data":{}}} canary', b"\xff\xfe"]
)
@pytest.mark.parametrize("engine", [KvV1(), KvV2()])
def test_what_is_not_json_is_refused(engine: KvV1 | KvV2, body: bytes) -> None:
    assert refusal_of(engine, body) == (
        "path 'secret/data/app': Vault's response is not JSON: does vault.url name a Vault?"
    )


@pytest.mark.parametrize("data", [b"null", b"[]", b'"canary"', b"1"])
def test_kv1_without_keys_is_refused(data: bytes) -> None:
    assert refusal_of(KvV1(), kv1(data)) == (
        "path 'secret/data/app': Vault's response has no keys: is vault.engine right for it?"
    )


@pytest.mark.parametrize(
    "body",
    [
        kv1(b'{"user":"canary"}'),
        kv1(b'{"data":"canary"}'),
        kv1(b'{"data":{"a":"canary"},"metadata":"canary"}'),
        kv2(b'["canary"]'),
        kv1(b"null"),
    ],
)
def test_what_is_not_of_kv2_is_refused(body: bytes) -> None:
    assert refusal_of(KvV2(), body) == (
        "path 'secret/data/app': Vault's response is not a secret of KV version 2: "
        "correct the path, or set vault.engine=kv1"
    )


@pytest.mark.parametrize("body", [kv2(b"null"), kv1(METADATA)])
def test_kv2_secret_without_keys_is_refused(body: bytes) -> None:
    assert refusal_of(KvV2(), body) == "path 'secret/data/app' was written without any keys: write it again"


def test_other_paths_of_kv2_are_no_secrets() -> None:
    with pytest.raises(SourceMalformed) as caught:
        KvV2().document(Source("secret/subkeys/app"), b'{"data":{"metadata":' + METADATA + b',"subkeys":{"a":null}}}')

    assert str(caught.value) == "path 'secret/subkeys/app' is not a secret: correct the path"


def test_time_of_creation_that_is_none_is_refused() -> None:
    body = kv2(b"{}").replace(b"2026-01-02", b"canary")

    assert refusal_of(KvV2(), body) == "path 'secret/data/app': its created_time in Vault's response is not a time"


@pytest.mark.parametrize("value", [b'"\xff"', b'{"a":"\xff"}'])
def test_value_that_is_no_text_is_refused(value: bytes) -> None:
    body = kv2(b'{"k":' + value + b"}")

    assert refusal_of(KvV2(), body) == "path 'secret/data/app': a value in Vault's response is not JSON"


@pytest.mark.parametrize("engine", [KvV1(), KvV2()])
def test_secret_that_is_made_at_each_read_is_refused(engine: KvV1 | KvV2) -> None:
    body = b'{"lease_id":"database/creds/app/canary","data":{"username":"u","password":"canary"}}'

    assert refusal_of(engine, body) == (
        "path 'secret/data/app' is a dynamic secret, new at each read: only KV secrets can be kept in sync"
    )


def test_version_in_the_query() -> None:
    assert KvV2().params(Source("p")) == {}
    assert KvV2().params(Source("p", "7")) == {"version": "7"}
    assert KvV1().params(Source("p")) == {}


def test_version_that_can_not_be() -> None:
    for version in ("0", "-1", "x", "", "1&list=true", "9" * 19, "\u0661"):
        with pytest.raises(SourceMalformed, match="there is no version"):
            KvV2().params(Source("p", version))
    with pytest.raises(SourceMalformed, match="KV version 1 has no versions"):
        KvV1().params(Source("p", "1"))
