"""Why a request got no response of use: one tree of errors, made of what a transport of httpx raises.

The texts are ours or the operating system's. httpx's own may repeat a header that could not be sent, and so a token.
"""

import os
import socket
import ssl
from collections.abc import Iterator

import httpx


class HttpError(Exception):
    """No response of use. The text says why, and quotes nothing of the request or the response."""


class TimedOut(HttpError):
    """No whole response in time, or no data for too long."""


class ConnectFailed(HttpError):
    """No connection came about: no such name, no server, no route. `cause` has the system's words, if there are any."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"no connection{f' ({cause})' if cause else ''}")
        self.cause = cause


class NameNotKnown(ConnectFailed):
    """DNS has no address of the host."""

    def __init__(self) -> None:
        super().__init__("its name is not known")


class ProxyRefused(HttpError):
    """An HTTP proxy did not connect us. `status` is empty where it did not answer by one."""

    def __init__(self, status: str) -> None:
        super().__init__(f"a proxy refused{f' ({status})' if status else ''}")
        self.status = status


class TlsFailed(HttpError):
    """The TLS handshake failed. `flaw` is OpenSSL's word for why, empty where it has none."""

    def __init__(self, text: str, flaw: str = "") -> None:
        super().__init__(f"{text} ({flaw})" if flaw else text)
        self.flaw = flaw


class CertificateNotTrusted(TlsFailed):
    """We refused the server's certificate."""


class TlsRefused(TlsFailed):
    """The server refused us."""


class ConnectionLost(HttpError):
    """An open connection ended before the response was whole, as an idle one does that a firewall has forgotten.

    Also what is no HTTP/1.1: the connection can't be used then.
    """

    def __init__(self, cause: str = "") -> None:
        super().__init__(f"the connection broke off{f' ({cause})' if cause else ''}")


class ResponseTooLarge(HttpError):
    """The body is longer than its reader allows; its connection was closed."""


class MalformedResponse(HttpError):
    """The response is not what was asked for."""


class Translated:
    """A block that raises an HttpError in place of what a transport raises, or httpx for a URL that can't be.

    A class, since it stands around every chunk: a generator of contextlib costs five times as much.
    """

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.HTTPError | httpx.InvalidURL):
            raise _translate(error) from None


def _translate(error: Exception) -> HttpError:
    causes = list(_causes(error))
    tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    match error:
        case httpx.TimeoutException():
            return TimedOut(str(error) or "no response in time")
        case httpx.ProxyError():
            status = str(error).partition(" ")[0]  # what follows are the proxy's own words
            return ProxyRefused(status if status.isdecimal() else "")
        case _ if tls is not None:
            return _tls_failed(tls)
        case httpx.ConnectError():
            return _connect_failed(causes)
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            return ConnectionLost(_words_of_the_system(causes))
        case _:
            return HttpError(f"the request can't be sent ({type(error).__name__})")


def _connect_failed(causes: list[BaseException]) -> ConnectFailed:
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return NameNotKnown()
    return ConnectFailed(_words_of_the_system(causes))


def _tls_failed(error: ssl.SSLError) -> TlsFailed:
    reason: str = getattr(error, "reason", None) or ""  # missing where the error is not OpenSSL's
    match error:
        case ssl.SSLCertVerificationError(verify_message=str(flaw)):
            return CertificateNotTrusted("the server's certificate is not trusted", flaw)
        case _ if "ALERT" in reason:  # OpenSSL's word for what the other side says
            return TlsRefused("the server refused the TLS connection", reason)
        case _:
            return TlsFailed("the TLS handshake failed", reason)


def _words_of_the_system(causes: list[BaseException]) -> str:
    for cause in causes:
        match cause:
            case socket.gaierror():
                return "its name is not known"
            case OSError(errno=int(number)) if number > 0:
                return os.strerror(number)
            case _:
                continue
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all that led to it. An attempt to connect fails with a group: an error for each address."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__context__, each.__cause__]
        match each:
            case BaseExceptionGroup(exceptions=parts):
                waiting += parts
            case _:
                continue
