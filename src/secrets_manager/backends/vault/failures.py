"""Why a request to Vault brought no answer, from what the layers below have left of it.

The words are ours: httpx's own may repeat a header that it could not send, and so the token.
"""

import os
import socket
import ssl

import httpx

from secrets_manager.backends.base import BackendError, SourceTooLarge, TimedOut, TlsFailed, Unreachable
from secrets_manager.backends.vault.address import Address
from secrets_manager.net.streams import ReplyTooLarge

TLS_ALERT = "ALERT"
"""OpenSSL's mark of what the other side has complained about."""


def failure_of(error: httpx.HTTPError, address: Address, *, max_body: int) -> BackendError:
    """The error for whoever asked. `max_body` is in bytes."""
    if isinstance(error, ReplyTooLarge):
        return SourceTooLarge(
            f"Vault's answer is larger than {max_body // 1024**2} MiB: correct the path, or make the secret smaller"
        )
    if isinstance(error, httpx.TimeoutException):
        return TimedOut.of_store(f"Vault at {address} did not answer in time")
    if isinstance(error, httpx.ProxyError):
        return Unreachable.of_store(
            f"Vault at {address} {_proxy(error)}: check {address.url.scheme.upper()}_PROXY and NO_PROXY"
        )
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return TlsFailed.of_store(f"Vault at {address} {_tls(cause)}")
    return Unreachable.of_store(f"Vault at {address} {_connection(error, causes)}")


def broke_off(error: httpx.HTTPError) -> bool:
    """Whether a connection that had come about ended early, as an idle one does that a firewall has forgotten."""
    return isinstance(error, httpx.ReadError | httpx.WriteError | httpx.RemoteProtocolError)


def _proxy(error: httpx.ProxyError) -> str:
    status, _, _ = str(error).partition(" ")  # what follows are the proxy's own words
    return f"can't be reached, for a proxy refused{f' ({status})' if status.isdecimal() else ''}"


def _tls(error: ssl.SSLError) -> str:
    match error:
        case ssl.SSLCertVerificationError(verify_message=str(flaw)):
            return f"has a certificate that is not trusted ({flaw}): check its CA and its host name"
        case ssl.SSLError(reason=str(reason)) if TLS_ALERT in reason:
            return f"refused the TLS connection ({reason}): does it want a client certificate?"
        case ssl.SSLError(reason=str(reason)):
            return f"can't be reached by TLS ({reason}): is vault.url right to say https?"
        case _:
            return "can't be reached by TLS (handshake failed): is vault.url right to say https?"


def _connection(error: httpx.HTTPError, causes: list[BaseException]) -> str:
    for cause in causes:
        match cause:
            case OSError(errno=int(number)) if number > 0:
                return f"can't be reached ({os.strerror(number)})"
            case socket.gaierror():
                return "can't be reached (its name is not known)"
    return "can't be reached" if isinstance(error, httpx.ConnectError) else "broke off before its answer was whole"


def _causes(error: BaseException) -> list[BaseException]:
    """The error and all that led to it. An attempt to connect fails with a group, an error for each address."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or any(each is other for other in found):
            continue
        found.append(each)
        waiting += [each.__context__, each.__cause__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
    return found
