"""Translate the SDK's errors into BackendError.

The SDK's messages repeat what servers sent, so only codes are taken from them. Key Vault returns 403 for a missing
permission, for a disabled secret and for its firewall. The inner error code shows which.
"""

import os
import re
import socket
import ssl

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.rest import HttpResponse

from secrets_manager.backends.azure.names import quoted
from secrets_manager.backends.base import (
    BackendError,
    LoginRefused,
    NotListable,
    RateLimited,
    Source,
    SourceForbidden,
    SourceNotFound,
    TimedOut,
    TlsFailed,
    Unavailable,
    Unreachable,
)

UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
THROTTLED = 429
MAX_RETRY_AFTER = 300.0
"""Seconds. A longer Retry-After is cut."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]{1,60}")
_AADSTS = re.compile(r"AADSTS[0-9]{1,9}")

WRONG_RESOURCE = (
    "requests a token for another domain than its own: correct azure-kv.url, "
    "or set azure-kv.verify-challenge-resource=false if it is an emulator or a private cloud"
)


def read_error(error: Exception, source: Source, address: str) -> BackendError:
    """Return the error for a failed read."""
    path = f"path {quoted(source.path)}"
    match status_code(error), _error_code(error):
        case 404, _ if source.version is not None:
            return SourceNotFound(f"{path} has no version {quoted(source.version)}: correct the version")
        case 404, _:
            return SourceNotFound(f"{path} does not exist or is disabled: write or enable it, or correct the path")
        case 403, "SecretDisabled":
            return SourceNotFound(f"{path} is disabled: enable it, or correct the path")
        case 403, code if code != "ForbiddenByFirewall":
            return SourceForbidden(
                f"{path} may not be read by this identity{_in_parentheses(code)}: "
                "give it the role Key Vault Secrets User, or the permission get in the access policy"
            )
        case _:
            return unavailable(error, address)


def listing_error(error: Exception, address: str) -> BackendError:
    """Return the error for a failed listing."""
    if status_code(error) in {FORBIDDEN, NOT_FOUND}:
        return NotListable(f"{address} does not let this identity list secrets{_in_parentheses(_error_code(error))}")
    return unavailable(error, address)


def unavailable(error: Exception, address: str) -> Unavailable:
    """Return the error for a failure of the vault as a whole. Its error code is about the failed request."""
    status = status_code(error)
    if status is None:
        return _no_response(error, address)
    kind, fault, advice = _diagnosis(status)
    code = "" if status == THROTTLED else _in_parentheses(_error_code(error))
    return kind(
        f"{address} {fault}{code}: {advice}",
        store=f"{address} {fault}: {advice}",
        retry_after=_retry_after(error),
    )


def _diagnosis(status: int) -> tuple[type[Unavailable], str, str]:
    match status:
        case 401:
            return LoginRefused, "refuses the token", "is azure-kv.tenant-id the vault's own?"
        case 403:
            return Unavailable, "is closed to this machine", "allow its address in the vault's firewall"
        case 429:
            return RateLimited, "is throttled", "fewer requests are let through"
        case _:
            return (
                Unavailable,
                f"answered {status}",
                "if that stays, correct azure-kv.url or azure-kv.api-version",
            )


def login_error(error: Exception, method: str) -> Unavailable:
    """Return the error for a failed login. Entra ID's messages have a code that its documentation explains."""
    who, code, causes = f"login to Azure as {method}", _AADSTS.search(str(error)), _causes(error)
    for cause in causes:
        if isinstance(cause, FileNotFoundError | PermissionError) and cause.filename:
            return LoginRefused.of_store(f"{who}: {cause.filename} can't be read ({cause.strerror})")
    if isinstance(error, ClientAuthenticationError) and not any(isinstance(cause, OSError) for cause in causes):
        details = _in_parentheses(code.group() if code else "")
        return LoginRefused.of_store(f"{who} was refused{details}: correct its settings, or allow it")
    return _no_response(error, f"{who}: its endpoint")


def status_code(error: Exception) -> int | None:
    """Return the status of the response; None if there was none."""
    return error.status_code if isinstance(error, HttpResponseError) else None


def _error_code(error: Exception) -> str:
    """Return the innermost error code of the response: the outer one is always Forbidden."""
    if not isinstance(error, HttpResponseError) or error.error is None:
        return ""
    codes = [error.error.code, (error.error.innererror or {}).get("code")]
    return next((str(code) for code in reversed(codes) if code and _CODE.fullmatch(str(code))), "")


def _in_parentheses(code: str) -> str:
    return f" ({code})" if code else ""


def _retry_after(error: Exception) -> float | None:
    """Return the seconds of Retry-After. Azure does not use its other form, a date."""
    response = error.response if isinstance(error, HttpResponseError) else None
    value = response.headers.get("Retry-After", "") if isinstance(response, HttpResponse) else ""
    return min(float(value), MAX_RETRY_AFTER) if value.isascii() and value.isdigit() else None


def _no_response(error: Exception, address: str) -> Unavailable:
    """Return the error for a missing or malformed response."""
    for cause in _causes(error):
        failure = _connection_error(cause, address)
        if failure is not None:
            return failure
    if isinstance(error, ValueError) and "challenge resource" in str(error):
        return Unavailable.of_store(f"{address} {WRONG_RESOURCE}")
    if isinstance(error, AzureError | OSError):
        return Unreachable.of_store(
            f"{address} can't be reached, or closed the connection before its response was complete"
        )
    return Unavailable.of_store(f"{address} sent a malformed response: does azure-kv.url name a Key Vault?")


def _connection_error(cause: BaseException, address: str) -> Unavailable | None:
    """Return the error if the cause is about the connection."""
    match cause:
        case TimeoutError():
            return TimedOut.of_store(f"{address} did not answer in time")
        case ssl.SSLError():
            return TlsFailed.of_store(f"{address} {_tls(cause)}")
        case socket.gaierror():
            return Unreachable.of_store(f"{address} can't be reached (its name is not known)")
        case OSError(errno=int(number)) if number > 0:
            return Unreachable.of_store(f"{address} can't be reached ({os.strerror(number)})")
        case _:
            return None


def _tls(error: ssl.SSLError) -> str:
    match error:
        case ssl.SSLCertVerificationError(verify_message=str(flaw)):
            return (
                f"has a certificate that is not trusted ({flaw}): put its CA into SSL_CERT_FILE, or check the host name"
            )
        case _:
            reason: str | None = getattr(error, "reason", None)  # missing where the error is not OpenSSL's
            return f"can't be reached by TLS ({reason or 'handshake failed'})"


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and its causes, the innermost first."""
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in found:
        found.append(each)
        each = (each.inner_exception if isinstance(each, AzureError) else None) or each.__cause__ or each.__context__
    return found[::-1]
