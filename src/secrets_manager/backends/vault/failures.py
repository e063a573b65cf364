"""What it means for Vault's sources that a request got no response of use. The words are ours."""

from secrets_manager.backends.base import BackendError, SourceTooLarge, TimedOut, TlsFailed, Unreachable
from secrets_manager.backends.vault.address import Address
from secrets_manager.net import errors as net


def failure_of(error: net.HttpError, address: Address, *, max_body: int) -> BackendError:
    """The error for whoever asked. `max_body` is in bytes."""
    vault = f"Vault at {address}"
    match error:
        case net.ResponseTooLarge():
            return SourceTooLarge(
                f"Vault's answer is larger than {max_body // 1024**2} MiB: correct the path, or make the secret smaller"
            )
        case net.TimedOut():
            return TimedOut.of_store(f"{vault} did not answer in time")
        case net.TlsFailed():
            return TlsFailed.of_store(f"{vault} {_tls(error)}")
        case net.ProxyRefused():
            words = f"can't be reached: {error}: check {address.url.scheme.upper()}_PROXY and NO_PROXY"
        case net.ConnectFailed(cause=cause):
            words = f"can't be reached{f' ({cause})' if cause else ''}"
        case _:
            words = "broke off before its answer was whole"
    return Unreachable.of_store(f"{vault} {words}")


def _tls(error: net.TlsFailed) -> str:
    match error:
        case net.CertificateNotTrusted(flaw=flaw):
            return f"has a certificate that is not trusted ({flaw}): check its CA and its host name"
        case net.TlsRefused(flaw=flaw):
            return f"refused the TLS connection ({flaw}): does it want a client certificate?"
        case _:
            return f"can't be reached by TLS ({error.flaw or 'handshake failed'}): is vault.url right to say https?"
