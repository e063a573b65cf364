"""Translate the errors of the HTTP client into BackendError."""

from secrets_manager.backends.base import BackendError, SourceTooLarge, TimedOut, TlsFailed, Unavailable, Unreachable
from secrets_manager.backends.vault.address import Address
from secrets_manager.net import errors as net


def backend_error(error: net.HttpError, address: Address, *, max_body: int) -> BackendError:
    """Return the BackendError for a failed request. `max_body` is in bytes."""
    vault = f"Vault at {address}"
    match error:
        case net.ResponseTooLarge():
            return SourceTooLarge(
                f"Vault's response is larger than {max_body // 1024**2} MiB: "
                "correct the path, or make the secret smaller"
            )
        case net.TimedOut():
            return TimedOut.of_store(f"{vault} did not answer in time")
        case net.TlsFailed():
            return TlsFailed.of_store(f"{vault} {_tls(error)}")
        case net.ProxyRefused():
            problem = f"can't be reached: {error}: check {address.url.scheme.upper()}_PROXY and NO_PROXY"
        case net.ConnectFailed(cause=cause):
            problem = f"can't be reached{f' ({cause})' if cause else ''}"
        case net.ConnectionLost():
            problem = "closed the connection before its response was complete"
        case _:
            return Unavailable.of_store(f"{vault} can't be asked: {error}")
    return Unreachable.of_store(f"{vault} {problem}")


def _tls(error: net.TlsFailed) -> str:
    match error:
        case net.CertificateNotTrusted(flaw=flaw):
            return f"has a certificate that is not trusted ({flaw}): check its CA and its host name"
        case net.TlsRefused(flaw=flaw):
            return f"refused the TLS connection ({flaw}): does it require a client certificate?"
        case _:
            return f"can't be reached by TLS ({error.flaw or 'handshake failed'}): is vault.url right to say https?"
