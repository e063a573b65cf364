"""Translate the SDK's errors into BackendError.

The SDK's messages repeat what servers sent, so only codes are taken from them. Key Vault returns 403 for a missing
permission, for a disabled secret and for a network that it is closed to. The inner error code shows which. A 403 or 404
without any code is not its own.
"""

import re
from collections.abc import Mapping

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.rest import HttpResponse

from secrets_manager.backends.base import (
    BackendError,
    LoginRefused,
    NotListable,
    RateLimited,
    Source,
    SourceForbidden,
    SourceNotFound,
    SourceTooLarge,
    TimedOut,
    TlsFailed,
    Unavailable,
    Unreachable,
    quoted,
)
from secrets_manager.net import errors as net
from secrets_manager.net.errors import HttpError

UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
GONE = 410
THROTTLED = 429
INTERNAL_SERVER_ERROR = 500
MAX_RETRY_AFTER = 300.0
"""Seconds. A longer Retry-After is cut."""

CLOSED = frozenset({"ForbiddenByFirewall", "ForbiddenByConnection", "ForbiddenByNsp"})
"""Codes of a 403 that is about the network: the firewall, public access that is off, a network security perimeter."""
MAX_BODY = 1024 * 1024
"""Bytes of a response. A secret has 25 kB, of which JSON escapes make six times as much; a page has 25 names."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{1,100}")
_AADSTS = re.compile(r"AADSTS[0-9]{1,9}")


class EndpointBusy(Exception):
    """An endpoint of the login can't serve now. The SDK passes its status on for some logins alone."""

    def __init__(self, status: int, retry_after: float | None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.retry_after = retry_after


SDK_FAILURES = (
    AzureError,
    HttpError,
    EndpointBusy,
    OSError,
    ArithmeticError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
)
"""What the SDK raises. Those that are Python's own, but OSError, are about a response that is not Azure's."""

MALFORMED = "sent a malformed response: does azure-kv.url name a Key Vault?"
NO_RESPONSE = "can't be reached, or closed the connection before its response was complete"
WRONG_RESOURCE = (
    "requests a token for another domain than its own: correct azure-kv.url, "
    "or set azure-kv.verify-challenge-resource=false if it is an emulator or a private cloud"
)


def read_error(error: Exception, source: Source, address: str) -> BackendError:
    """Return the error for a failed read."""
    path, code = f"path {quoted(source.path)}", _error_code(error)
    match status_code(error):
        case 404 if code and source.version is not None:
            return SourceNotFound(f"{path} has no version {quoted(source.version)}: correct the version")
        case 404 if code:
            return SourceNotFound(f"{path} does not exist or is disabled: write or enable it, or correct the path")
        case 403 if code == "SecretDisabled":
            return SourceNotFound(f"{path} is disabled: enable it, or correct the path")
        case 403 if code and code not in CLOSED:
            return SourceForbidden(
                f"{path} may not be read by this identity ({code}): "
                "give it the role Key Vault Secrets User, or the permission get in the access policy"
            )
        case _ if isinstance(error, net.ResponseTooLarge):
            return SourceTooLarge(
                f"{path}: the response is larger than {MAX_BODY // 1024**2} MiB: correct azure-kv.url"
            )
        case _:
            return unavailable(error, address)


def listing_error(error: Exception, address: str) -> BackendError:
    """Return the error for a failed listing."""
    if isinstance(error, net.ResponseTooLarge):
        return NotListable(f"{address} sent a page that is larger than {MAX_BODY // 1024**2} MiB")
    code = _error_code(error)
    if status_code(error) in {FORBIDDEN, NOT_FOUND} and code and code not in CLOSED:
        return NotListable(f"{address} does not let this identity list secrets ({code})")
    return unavailable(error, address)


def unavailable(error: Exception, address: str) -> Unavailable:
    """Return the error for a failure of the vault as a whole. Its error code is about the failed request."""
    status = status_code(error)
    if status is None:
        return _no_response(error, address)
    code = _error_code(error)
    kind, fault, advice = _diagnosis(status, code)
    return kind(
        f"{address} {fault}{'' if status == THROTTLED else _in_parentheses(code)}: {advice}",
        store=f"{address} {fault}: {advice}",
        retry_after=_retry_after(error),
    )


def _diagnosis(status: int, code: str) -> tuple[type[Unavailable], str, str]:
    match status:
        case 401:
            return LoginRefused, "refuses the token", "is azure-kv.tenant-id the vault's own?"
        case 403 | 404 if not code:
            fault = f"sent a response that is not Key Vault's ({status})"
            return Unavailable, fault, "does azure-kv.url name a Key Vault, with no proxy that answers in its place?"
        case 403:
            advice = "allow its address in the vault's firewall, or reach it by its private endpoint"
            return Unavailable, "is closed to this machine", advice
        case 429:
            return RateLimited, "is throttled", "fewer requests are let through"
        case _:
            return (
                Unavailable,
                f"answered {status}",
                "if that stays, correct azure-kv.url or azure-kv.api-version",
            )


def check_login(status: int, headers: Mapping[str, str]) -> None:
    """Check a response of an endpoint of the login.

    Raises:
        EndpointBusy: it can't serve now.
    """
    if status in {GONE, THROTTLED} or status >= INTERNAL_SERVER_ERROR:
        raise EndpointBusy(status, _seconds(headers.get("Retry-After", "")))


def login_error(error: Exception, method: str) -> Unavailable:
    """Return the error for a failed login. Entra ID's messages have a code that its documentation explains."""
    who, code, causes = f"login to Azure as {method}", _AADSTS.search(str(error)), _causes(error)
    for cause in causes:
        match cause:
            case EndpointBusy(status=status, retry_after=retry_after):
                kind = RateLimited if status == THROTTLED else Unavailable
                return kind.of_store(
                    f"{who}: its endpoint answered {status}: it is tried again", retry_after=retry_after
                )
            case FileNotFoundError(filename=str(file)) | PermissionError(filename=str(file)):
                return LoginRefused.of_store(f"{who}: {file} can't be read ({cause.strerror})")
            case _:
                pass
    no_answer = any(isinstance(cause, OSError | HttpError) for cause in causes)
    if isinstance(error, ClientAuthenticationError) and not no_answer:
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
    match error.error.innererror:  # whatever the response has there
        case {"code": str(code)} if _CODE.fullmatch(code):
            return code
        case _:
            outer = error.error.code
            return outer if isinstance(outer, str) and _CODE.fullmatch(outer) else ""


def _in_parentheses(code: str) -> str:
    return f" ({code})" if code else ""


def _retry_after(error: Exception) -> float | None:
    response = error.response if isinstance(error, HttpResponseError) else None
    return _seconds(response.headers.get("Retry-After", "")) if isinstance(response, HttpResponse) else None


def _seconds(retry_after: str) -> float | None:
    """Parse the header. Azure does not use its other form, a date."""
    return min(float(retry_after), MAX_RETRY_AFTER) if retry_after.isascii() and retry_after.isdigit() else None


def _no_response(error: Exception, address: str) -> Unavailable:
    """Return the error for a missing or malformed response."""
    for cause in _causes(error):
        if isinstance(cause, HttpError):
            return _network_error(cause, address)
    if isinstance(error, ValueError) and "challenge resource" in str(error):
        return Unavailable.of_store(f"{address} {WRONG_RESOURCE}")
    if isinstance(error, AzureError | OSError):
        return Unreachable.of_store(f"{address} {NO_RESPONSE}")
    return Unavailable.of_store(f"{address} {MALFORMED}")


def _network_error(error: HttpError, address: str) -> Unavailable:
    match error:
        case net.TimedOut():
            return TimedOut.of_store(f"{address} did not answer in time")
        case net.CertificateNotTrusted(flaw=flaw):
            return TlsFailed.of_store(
                f"{address} has a certificate that is not trusted ({flaw}): "
                "put its CA into SSL_CERT_FILE, or check the host name"
            )
        case net.TlsFailed(flaw=flaw):
            return TlsFailed.of_store(f"{address} can't be reached by TLS ({flaw or 'handshake failed'})")
        case net.ResponseTooLarge() | net.MalformedResponse():
            return Unavailable.of_store(f"{address} {MALFORMED}")
        case net.ConnectionLost():
            problem = NO_RESPONSE
        case net.ProxyRefused():
            problem = f"can't be reached: {error}: check HTTPS_PROXY and NO_PROXY"
        case net.ConnectFailed(cause=cause) if cause:
            problem = f"can't be reached ({cause})"
        case _:
            problem = f"can't be reached: {error}"
    return Unreachable.of_store(f"{address} {problem}")


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and its causes, the innermost first."""
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in found:
        found.append(each)
        each = (each.inner_exception if isinstance(each, AzureError) else None) or each.__cause__ or each.__context__
    return found[::-1]
