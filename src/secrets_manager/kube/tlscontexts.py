"""The TLS context for a kubeconfig's cluster, from certificates and keys that are inline or in files.

Files are read at each load, as they are replaced while the process runs. Inline certificates stay in memory.
"""

import base64
import binascii
import logging
import ssl
from pathlib import Path
from typing import NamedTuple

from secrets_manager.kube.errors import CredentialsError
from secrets_manager.net.tls import UnusableFile, client_context

log = logging.getLogger(__name__)


class Pem(NamedTuple):
    """A certificate or key, inline or in a file."""

    what: str
    data: str
    file: str
    folder: Path

    def read(self) -> bytes:
        """Raises: CredentialsError."""
        if self.data:
            return _decode_base64(self.data, what=f"{self.what}-data")
        return read_bytes(self.folder / self.file) if self.file else b""


class Authority(NamedTuple):
    """What a cluster's certificate is verified by."""

    pem: Pem
    verify: bool

    def context(self, authority: bytes, client_pem: bytes) -> ssl.SSLContext:
        """Make a context. Raises: UnusableFile."""
        file = "" if self.pem.data else self.pem.file
        return client_context(
            ca_file=str(self.pem.folder / file) if file else "",
            ca_pem=authority.decode("ascii", "replace") if self.pem.data else "",
            client_pem=client_pem,
            verify=self.verify,
        )


class TlsContexts:
    """Keeps the TLS context until a certificate changes, also while the file of the same authority can't be read."""

    def __init__(self) -> None:
        self._current: ssl.SSLContext | None = None
        self._authority: Authority | None = None
        self._pems = (b"", b"")
        self._expired = True
        self._reported = ""

    def expire(self) -> None:
        """Replace the context at the next load, unless its authority can't be read."""
        self._expired = True

    def current(self, authority: Authority, client_pem: bytes) -> ssl.SSLContext:
        """Raises: CredentialsError or UnusableFile, if there is no earlier context for this authority."""
        try:
            pems = (authority.pem.read() if authority.verify else b"", client_pem)
            if self._current is None or self._expired or (authority, pems) != (self._authority, self._pems):
                self._current = authority.context(*pems)
        except (CredentialsError, UnusableFile) as error:
            if self._current is None or authority != self._authority or client_pem != self._pems[1]:
                raise
            self._report(str(error))
        else:
            self._authority, self._pems, self._expired, self._reported = authority, pems, False, ""
        return self._current

    def _report(self, error: str) -> None:
        """Log an error once."""
        if error != self._reported:
            log.warning("failed to reload certificate authority", extra={"fields": {"error": error}})
        self._reported = error


def read_bytes(file: Path) -> bytes:
    """Return what a file holds. Raises: CredentialsError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{file} can't be read ({error.strerror}): correct its path, or write it") from None
    except ValueError:
        raise CredentialsError(f"{str(file)!r} can't be the path of a file: correct it") from None


def _decode_base64(data: str, *, what: str) -> bytes:
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError):
        raise CredentialsError(f"{what} is not base64: replace it") from None
