"""The public message of a failure of Key Vault has neither a path nor the server's messages."""

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError

from secrets_manager.backends.azure.errors import listing_error, login_error, read_error
from secrets_manager.backends.base import UNKNOWN_PROBLEM, BackendError, Folder, RateLimited, Source, Unavailable
from secrets_manager.net import errors as net
from tests.backends.azure.harness import answering, backend_of
from tests.doubles.key_vault import KeyVaultState, failure

DB = Source("tenant-b-db")
CODE = "tenantB"
ADDRESS = "Key Vault https://shop.vault.azure.net"


def public_message(error: BackendError) -> str:
    assert isinstance(error, Unavailable)
    others = error.for_others()
    assert (type(others), others.retry_after) == (type(error), error.retry_after)
    assert str(others) == others.store
    return str(others)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 409, 418, 429, 500, 503])
async def test_answer_of_each_status(vault: KeyVaultState, status: int) -> None:
    vault.fault = answering(failure(status, CODE, inner="ForbiddenByFirewall" if status == 403 else CODE))
    errors: list[BackendError] = []

    async with backend_of(vault) as backend:
        for path in (DB.path, "other"):
            with pytest.raises(BackendError) as caught:
                await backend.read(Source(path))
            errors.append(caught.value)

    for error in errors:
        assert CODE not in public_message(error)
        assert DB.path not in public_message(error)
        assert public_message(error) != UNKNOWN_PROBLEM
        assert str(error) == public_message(error) or CODE in str(error) or status == 403


async def test_retry_after_holds_for_all_requests(vault: KeyVaultState) -> None:
    """One refused request stops all others."""
    vault.fault = answering(failure(503, CODE, headers={"Retry-After": "100"}))
    async with backend_of(vault) as backend:
        with pytest.raises(Unavailable) as first:
            await backend.read(DB)
        with pytest.raises(Unavailable) as second:
            await backend.read(Source("other"))
        vault.fault = answering(failure(429, CODE))
        with pytest.raises(Unavailable) as listing:
            await backend.markers(Folder(""))

    assert CODE in str(first.value)
    assert str(second.value) == str(listing.value) == public_message(first.value)
    assert second.value.retry_after is not None


async def test_requests_during_retry_after_fail_with_the_same_class(vault: KeyVaultState) -> None:
    vault.fault = answering(failure(429, CODE, headers={"Retry-After": "100"}))
    async with backend_of(vault) as backend:
        for _ in range(2):
            with pytest.raises(RateLimited):
                await backend.read(DB)


@pytest.mark.parametrize(
    "error",
    [
        ServiceRequestError("secret tenant-b-db"),
        HttpResponseError("secret tenant-b-db"),
        ValueError("the challenge resource of tenant-b-db"),
        ValueError("tenant-b-db"),
        OSError(111, "tenant-b-db"),
        net.TimedOut("tenant-b-db"),
        net.TlsFailed("tenant-b-db"),
        net.CertificateNotTrusted("tenant-b-db"),
        net.ConnectionLost("tenant-b-db"),
        net.MalformedResponse("tenant-b-db"),
        RecursionError("tenant-b-db"),
        OverflowError("tenant-b-db"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_request_without_an_answer(error: Exception) -> None:
    for found in (read_error(error, DB, ADDRESS), listing_error(error, ADDRESS)):
        assert "tenant" not in public_message(found)
        assert str(found) == public_message(found)


@pytest.mark.parametrize(
    "error",
    [
        ClientAuthenticationError("AADSTS700016: tenant-b-db"),
        ServiceRequestError("tenant-b-db"),
        ValueError("tenant-b-db"),
        net.TimedOut("tenant-b-db"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_login_that_fails(error: Exception) -> None:
    found = login_error(error, "workload identity")

    assert "tenant" not in public_message(found)
    assert str(found) == public_message(found)
