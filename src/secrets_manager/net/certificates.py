"""Certificates in files that are exchanged under a running process.

A check costs a few calls of the file system; only when something has changed are the files read. What can't be used,
half written for instance, leaves all as it was until the next check.
"""

import logging
import ssl
from collections.abc import Callable
from typing import TypeVar

import msgspec
import trio

from secrets_manager.net.file_stamps import CHECK_INTERVAL, FileStamp, read_in_thread, stat_files
from secrets_manager.net.tls import Tls, UnusableFile, client_context, files_of

log = logging.getLogger(__name__)

T = TypeVar("T")


class CertificateFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to trust, and who we are. Empty strings for what is not given: then the machine's authorities count.

    Authorities may be given as a text, which never changes.
    """

    ca_file: str = ""
    ca_pem: str = ""
    ca_folder: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    verify: bool = True


class Certificates:
    """The TLS of one server's connections, from files that may change."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._seen: list[FileStamp] = []
        self._tls: Tls | None = None
        self._limiter = trio.CapacityLimiter(1)

    async def load(self) -> Tls:
        """Read the files for the first time. Raises: UnusableFile."""
        self._seen, context = await self._in_thread(_load)
        self._tls = Tls(context, server_name=self._files.server_name)
        return self._tls

    async def keep_fresh(self) -> None:
        """Check the files from time to time, until cancelled. Return at once where none are used."""
        while self._seen:
            await trio.sleep(CHECK_INTERVAL)
            await self.check()

    async def check(self) -> None:
        """Read the files again if they have changed."""
        try:
            await self._reload()
        except UnusableFile as error:
            log.warning("changed certificates can't be used", extra={"fields": {"error": str(error)}})

    async def _reload(self) -> None:
        seen = await self._in_thread(_stamps_of)
        if self._tls is not None and seen != self._seen:
            self._tls.current = await self._in_thread(_context)
            self._seen = seen
            log.info("changed certificates are used from the next connection on")

    async def _in_thread(self, read: Callable[[CertificateFiles], T]) -> T:
        return await read_in_thread(lambda: read(self._files), self._limiter)


def _load(files: CertificateFiles) -> tuple[list[FileStamp], ssl.SSLContext]:
    return _stamps_of(files), _context(files)


def _context(files: CertificateFiles) -> ssl.SSLContext:
    return client_context(
        ca_file=files.ca_file,
        ca_pem=files.ca_pem,
        ca_folder=files.ca_folder,
        cert_file=files.cert_file,
        key_file=files.key_file,
        verify=files.verify,
    )


def _stamps_of(files: CertificateFiles) -> list[FileStamp]:
    folder = files_of(files.ca_folder) if files.ca_folder else []
    return stat_files([*filter(None, [files.ca_file, files.cert_file, files.key_file]), *folder])
