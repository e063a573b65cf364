"""The certificate of our own server, from files that are exchanged under a running process.

What can't be used, a new certificate with the old key for instance, leaves all as it was until the next check.
"""

import logging
import ssl

import trio

from secrets_manager.net.file_stamps import CHECK_INTERVAL, FileStamp, read_in_thread, stat_files
from secrets_manager.net.tls import UnusableFile, server_context

log = logging.getLogger(__name__)


class ServingCertificate:
    """A certificate and its key."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self._seen: list[FileStamp] = []
        self._context: ssl.SSLContext | None = None
        self._limiter = trio.CapacityLimiter(1)

    async def load(self) -> None:
        """Read the files for the first time. Raises: UnusableFile."""
        await self._load()

    def context(self) -> ssl.SSLContext:
        """Return the context for the next connection."""
        assert self._context is not None, "load first"
        return self._context

    async def keep_fresh(self) -> None:
        """Check the files from time to time, until cancelled."""
        while True:
            await trio.sleep(CHECK_INTERVAL)
            try:
                changed = await self._load()
            except UnusableFile as error:
                log.warning("changed certificate can't be used", extra={"fields": {"error": str(error)}})
                continue
            if changed:
                log.info("changed certificate is used from the next connection on")

    async def _load(self) -> bool:
        """Load the files if they have changed. Return whether they have. Raises: UnusableFile."""
        return await read_in_thread(self._load_changed, self._limiter)

    def _load_changed(self) -> bool:
        seen = stat_files([self._cert_file, self._key_file])
        if seen == self._seen:
            return False
        self._context = server_context(self._cert_file, self._key_file)
        self._seen = seen
        return True
