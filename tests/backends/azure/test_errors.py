"""The message of each failure, without the server's messages."""

from pathlib import Path
from threading import Event

import msgspec
import pytest

from fake_kubernetes.documents import Json
from secrets_manager.backends.azure.backend import open_azure
from secrets_manager.backends.azure.errors import unavailable
from secrets_manager.backends.base import (
    BackendError,
    Folder,
    RateLimited,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    TimedOut,
    TlsFailed,
    Unavailable,
    Unreachable,
)
from secrets_manager.config import AzureConfig
from secrets_manager.net import errors as net
from tests.backends.azure.harness import RecordedMetrics, answering, backend_of, error_of, waiting_for
from tests.doubles.key_vault import KeyVaultState, Response, failure
from tests.kube.certificates import Authority

DB = Source("db")
NO_VERSION = "0" * 32


async def test_what_is_not_there(vault: KeyVaultState) -> None:
    vault.set("db", "canary")

    missing = await error_of(vault, Source("none"))
    version = await error_of(vault, Source("db", NO_VERSION))
    vault.disable("db")
    disabled = await error_of(vault, DB)
    vault.delete("db")
    deleted = await error_of(vault, DB)

    assert [type(each) for each in (missing, version, disabled, deleted)] == [SourceNotFound] * 4
    assert str(missing) == ("path 'none' does not exist or is disabled: write or enable it, or correct the path")
    assert str(version) == f"path 'db' has no version '{NO_VERSION}': correct the version"
    assert str(disabled) == "path 'db' is disabled: enable it, or correct the path"
    assert str(deleted) == "path 'db' does not exist or is disabled: write or enable it, or correct the path"


@pytest.mark.parametrize("inner", ["ForbiddenByPolicy", "ForbiddenByRbac", "AccessDenied"])
async def test_right_that_is_missing(vault: KeyVaultState, inner: str) -> None:
    vault.fault = answering(failure(403, "Forbidden", inner=inner))

    error = await error_of(vault, DB)

    assert type(error) is SourceForbidden
    assert str(error) == (
        f"path 'db' may not be read by this identity ({inner}): "
        "give it the role Key Vault Secrets User, or the permission get in the access policy"
    )


@pytest.mark.parametrize(
    ("response", "kind", "expected"),
    [
        (
            failure(400, "BadParameter"),
            Unavailable,
            "answered 400 (BadParameter): if that stays, correct azure-kv.url or azure-kv.api-version",
        ),
        (failure(429, "Throttled"), RateLimited, "is throttled: fewer requests are let through"),
        (
            Response(302, headers={"Location": "https://localhost:1/"}),
            Unavailable,
            "answered 302: if that stays, correct azure-kv.url or azure-kv.api-version",
        ),
        (
            Response(503, b"<html>canary-message</html>"),
            Unavailable,
            "answered 503: if that stays, correct azure-kv.url or azure-kv.api-version",
        ),
        (Response(0), Unreachable, "can't be reached, or closed the connection before its response was complete"),
        (
            Response(200, b"<html>canary-message</html>", {"Content-Type": "text/html"}),
            Unavailable,
            "sent a malformed response: does azure-kv.url name a Key Vault?",
        ),
        (
            Response(200, b'["canary-message"]', {"Content-Type": "application/json"}),
            Unavailable,
            "sent a malformed response: does azure-kv.url name a Key Vault?",
        ),
    ],
)
async def test_what_concerns_the_whole_vault(
    vault: KeyVaultState, response: Response, kind: type[Unavailable], expected: str
) -> None:
    vault.fault = answering(response)

    error = await error_of(vault, DB)

    assert type(error) is kind
    assert str(error) == f"Key Vault {vault.url} {expected}"


async def unavailable_for(vault: KeyVaultState) -> str:
    """Return why the vault can't be used, which a read and a listing say alike."""
    read = await error_of(vault, DB)
    async with backend_of(vault) as backend:
        with pytest.raises(Unavailable) as listing:
            await backend.markers(Folder(""))
    assert type(read) is Unavailable
    assert str(read) == str(listing.value)
    return str(read)


@pytest.mark.parametrize("inner", ["ForbiddenByFirewall", "ForbiddenByConnection", "ForbiddenByNsp"])
async def test_network_that_the_vault_is_closed_to_is_no_missing_right(vault: KeyVaultState, inner: str) -> None:
    vault.fault = answering(failure(403, "Forbidden", inner=inner))

    assert await unavailable_for(vault) == (
        f"Key Vault {vault.url} is closed to this machine ({inner}): "
        "allow its address in the vault's firewall, or reach it by its private endpoint"
    )


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize(
    "body", [b"", b"<html>canary</html>", b"[]", b'{"error": "Forbidden"}', b'{"error": ["canary"]}']
)
async def test_refusal_that_is_not_key_vaults_says_nothing_about_the_secret(
    vault: KeyVaultState, status: int, body: bytes
) -> None:
    vault.fault = answering(Response(status, body, {"Content-Type": "application/json" if body else "text/html"}))

    assert await unavailable_for(vault) == (
        f"Key Vault {vault.url} sent a response that is not Key Vault's ({status}): "
        "does azure-kv.url name a Key Vault, with no proxy that answers in its place?"
    )


async def test_code_of_an_emulator_counts_as_key_vaults(vault: KeyVaultState) -> None:
    vault.fault = answering(failure(404, "com.github.nagyesta.lowkeyvault.service.exception.NotFoundException"))

    assert type(await error_of(vault, DB)) is SourceNotFound


@pytest.mark.parametrize("inner", ["AccessDenied", ["AccessDenied"], 5, {"code": {"a": 1}}, {"code": "no code"}, None])
async def test_inner_error_without_a_code_leaves_the_outer_one(vault: KeyVaultState, inner: Json) -> None:
    body = msgspec.json.encode({"error": {"code": "Forbidden", "message": "canary", "innererror": inner}})
    vault.fault = answering(Response(403, body, {"Content-Type": "application/json"}))

    error = await error_of(vault, DB)

    assert type(error) is SourceForbidden
    assert str(error).startswith("path 'db' may not be read by this identity (Forbidden): ")


@pytest.mark.parametrize("value", [b'{"canary": 1}', b'["canary"]', b"5", b"1.10", b"true", b"NaN", b'"\\ud800"'])
async def test_value_that_is_not_text_is_malformed(vault: KeyVaultState, value: bytes) -> None:
    body = b'{"value": %b, "id": "https://localhost/secrets/db/1"}' % value
    vault.fault = answering(Response(200, body, {"Content-Type": "application/json"}))

    error = await error_of(vault, DB)

    assert type(error) is SourceMalformed
    assert str(error) == "path 'db' has a value that is not text: write it again"


async def test_secret_without_a_value(vault: KeyVaultState) -> None:
    vault.fault = answering(
        Response(200, b'{"id":"https://localhost/secrets/db/1"}', {"Content-Type": "application/json"})
    )

    error = await error_of(vault, DB)

    assert type(error) is SourceMalformed
    assert str(error) == "path 'db' has no value: write it again"


async def test_failures_are_counted_by_their_kind(vault: KeyVaultState) -> None:
    vault.set("forbidden", "canary")
    vault.fault = lambda request: (
        failure(403, "Forbidden", inner="ForbiddenByRbac") if request.token and "forbidden" in request.path else None
    )
    metrics = RecordedMetrics()

    async with backend_of(vault, metrics) as backend:
        for path in ("none", "forbidden", "a/b"):
            with pytest.raises(BackendError):
                await backend.read(Source(path))

    assert metrics.read_errors == [
        ("none", "SourceNotFound"),
        ("forbidden", "SourceForbidden"),
        ("a/b", "SourceMalformed"),
    ]
    assert metrics.login_errors == 0


async def test_no_failure_repeats_what_the_server_said(vault: KeyVaultState, caplog: pytest.LogCaptureFixture) -> None:
    for status in (400, 401, 403, 404, 409, 429, 500, 503):
        vault.fault = answering(failure(status, "canary code"))
        assert "canary" not in str(await error_of(vault, DB))

    assert "canary" not in caplog.text


async def test_vault_that_does_not_answer_is_given_up(vault: KeyVaultState) -> None:
    released = Event()
    vault.fault = waiting_for(released)

    error = await error_of(vault, DB, AzureConfig(timeout=0.2))
    released.set()

    assert type(error) is TimedOut
    assert str(error) == f"Key Vault {vault.url} did not answer in time"


@pytest.mark.parametrize(
    ("cause", "kind", "expected"),
    [
        (net.TlsFailed("canary", "WRONG_VERSION_NUMBER"), TlsFailed, "can't be reached by TLS (WRONG_VERSION_NUMBER)"),
        (net.TlsFailed("canary"), TlsFailed, "can't be reached by TLS (handshake failed)"),
        (net.NameNotKnown(), Unreachable, "can't be reached (its name is not known)"),
        (net.ConnectFailed("Connection refused"), Unreachable, "can't be reached (Connection refused)"),
        (net.ConnectFailed(""), Unreachable, "can't be reached: no connection"),
        (
            net.ProxyRefused("407"),
            Unreachable,
            "can't be reached: a proxy refused (407): check HTTPS_PROXY and NO_PROXY",
        ),
        (
            net.ConnectionLost("Connection reset by peer"),
            Unreachable,
            "can't be reached, or closed the connection before its response was complete",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_exchange_that_does_not_come_about(cause: net.HttpError, kind: type[Unavailable], expected: str) -> None:
    error = unavailable(cause, "Key Vault")

    assert (type(error), str(error)) == (kind, f"Key Vault {expected}")


async def test_authority_that_is_not_trusted(
    vault: KeyVaultState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path).certificate))

    error = await error_of(vault, DB)

    assert type(error) is TlsFailed
    assert str(error) == (
        f"Key Vault {vault.url} has a certificate that is not trusted (unable to get local issuer certificate): "
        "put its CA into SSL_CERT_FILE, or check the host name"
    )


async def test_token_is_not_sent_to_a_vault_of_another_domain(vault: KeyVaultState) -> None:
    vault.set("db", "canary")

    async with open_azure(AzureConfig(url=vault.url), RecordedMetrics()) as backend:
        with pytest.raises(Unavailable) as caught:
            await backend.read(DB)

    assert str(caught.value) == (
        f"Key Vault {vault.url} requests a token for another domain than its own: correct azure-kv.url, "
        "or set azure-kv.verify-challenge-resource=false if it is an emulator or a private cloud"
    )
    assert vault.logins == []
