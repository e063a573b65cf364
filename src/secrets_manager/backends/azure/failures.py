"""What the SDK raises, in our words: what failed, and what helps.

Its own texts repeat what servers have said, so nothing of them is passed on but codes. Key Vault answers 403 for a
missing right, for a disabled secret and for its firewall alike; the inner code tells which.
"""

import os
import re
import socket
import ssl

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.rest import HttpResponse

from secrets_manager.backends.azure.names import shown
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
LONGEST_WAIT = 300.0
"""Seconds: whoever asks for more may have meant something else."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]{1,60}")
_AADSTS = re.compile(r"AADSTS[0-9]{1,9}")

WRONG_RESOURCE = (
    "asks for a token for another address than its own: correct azure-kv.url, "
    "or set azure-kv.verify-challenge-resource=false if it is an emulator or a cloud of your own"
)


def read_failure(error: Exception, source: Source, address: str) -> BackendError:
    """Why a secret could not be read."""
    path = f"path {shown(source.path)}"
    match status_of(error), _code_of(error):
        case 404, _ if source.version is not None:
            return SourceNotFound(f"{path} has no version {shown(source.version)}: correct the version")
        case 404, _:
            return SourceNotFound(f"{path} does not exist or is disabled: write or enable it, or correct the path")
        case 403, "SecretDisabled":
            return SourceNotFound(f"{path} is disabled: enable it, or correct the path")
        case 403, code if code != "ForbiddenByFirewall":
            return SourceForbidden(
                f"{path} may not be read by this identity{_in_brackets(code)}: "
                "give it the role Key Vault Secrets User, or the permission get in the access policy"
            )
    return trouble(error, address)


def listing_failure(error: Exception, address: str) -> BackendError:
    """Why the vault could not be listed."""
    if status_of(error) in {FORBIDDEN, NOT_FOUND}:
        return NotListable(f"{address} does not let this identity list secrets{_in_brackets(_code_of(error))}")
    return trouble(error, address)


def trouble(error: Exception, address: str) -> Unavailable:
    """What concerns the vault as a whole. The code that it gives is of the request that failed."""
    status = status_of(error)
    if status is None:
        return _no_answer(error, address)
    kind, fault, advice = _complaint(status)
    code = "" if status == THROTTLED else _in_brackets(_code_of(error))
    return kind(
        f"{address} {fault}{code}: {advice}",
        store=f"{address} {fault}: {advice}",
        retry_after=_wait_of(error),
    )


def _complaint(status: int) -> tuple[type[Unavailable], str, str]:
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


def login_failure(error: Exception, method: str) -> Unavailable:
    """Why there is no token. Entra ID's words have a code, which its documentation explains."""
    who, code, causes = f"login to Azure as {method}", _AADSTS.search(str(error)), _causes(error)
    for cause in causes:
        match cause:
            case FileNotFoundError() | PermissionError() if cause.filename:
                return LoginRefused.of_store(f"{who}: {cause.filename} can't be read ({cause.strerror})")
    if isinstance(error, ClientAuthenticationError) and not any(isinstance(cause, OSError) for cause in causes):
        told = _in_brackets(code.group() if code else "")
        return LoginRefused.of_store(f"{who} was refused{told}: correct its settings, or let it in")
    return _no_answer(error, f"{who}: its endpoint")


def status_of(error: Exception) -> int | None:
    """The status of the answer, where there was one."""
    return error.status_code if isinstance(error, HttpResponseError) else None


def _code_of(error: Exception) -> str:
    """The innermost code of Key Vault's answer: Forbidden is what all of them say."""
    if not isinstance(error, HttpResponseError) or error.error is None:
        return ""
    codes = [error.error.code, (error.error.innererror or {}).get("code")]
    return next((str(code) for code in reversed(codes) if code and _CODE.fullmatch(str(code))), "")


def _in_brackets(code: str) -> str:
    return f" ({code})" if code else ""


def _wait_of(error: Exception) -> float | None:
    """Seconds that the vault wants to be left alone for. The header's other form, a date, is not used by Azure."""
    response = error.response if isinstance(error, HttpResponseError) else None
    value = response.headers.get("Retry-After", "") if isinstance(response, HttpResponse) else ""
    return min(float(value), LONGEST_WAIT) if value.isascii() and value.isdigit() else None


def _no_answer(error: Exception, address: str) -> Unavailable:
    """Why no answer came, or none that is one."""
    for cause in _causes(error):
        failure = _of_connection(cause, address)
        if failure is not None:
            return failure
    if isinstance(error, ValueError) and "challenge resource" in str(error):
        return Unavailable.of_store(f"{address} {WRONG_RESOURCE}")
    if isinstance(error, AzureError | OSError):
        return Unreachable.of_store(f"{address} can't be reached, or broke off before its answer was whole")
    return Unavailable.of_store(
        f"{address} gave an answer that can't be understood: does azure-kv.url name a Key Vault?"
    )


def _of_connection(cause: BaseException, address: str) -> Unavailable | None:
    """None where the cause says nothing of it."""
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
                f"has a certificate that is not trusted ({flaw}): "
                "name its authority in SSL_CERT_FILE, or check the host name"
            )
        case ssl.SSLError(reason=str(reason)):
            return f"can't be reached by TLS ({reason})"
        case _:
            return "can't be reached by TLS (handshake failed)"


def _causes(error: BaseException) -> list[BaseException]:
    """The innermost first: what wraps an error says less of it."""
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in found:
        found.append(each)
        each = (each.inner_exception if isinstance(each, AzureError) else None) or each.__cause__ or each.__context__
    return found[::-1]
