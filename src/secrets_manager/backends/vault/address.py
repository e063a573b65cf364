"""Vault's address: an HTTP or HTTPS URL, or a Unix socket."""

from typing import NamedTuple

import httpx

from secrets_manager.errors import UsageError
from secrets_manager.net.hosts import is_http_url

INVALID_ADDRESS = (
    "vault.url is not an address of Vault: write it like https://vault.example.com:8200, or unix:///run/vault.sock"
)
UNIX_SCHEME = "unix://"


class Address(NamedTuple):
    """Where requests go. `socket` is the path of a Unix socket; empty for TCP."""

    url: httpx.URL
    socket: str = ""

    def __str__(self) -> str:
        """Return the address for messages, without a user and password."""
        if self.socket:
            return f"{UNIX_SCHEME}{self.socket}"
        return str(self.url.copy_with(username=None, password=None)).rstrip("/")

    @property
    def origin(self) -> tuple[str, str, int | None]:
        """The URL's origin. URLs with the same origin lead to the same server."""
        port = self.url.port or {"http": 80, "https": 443}.get(self.url.scheme)
        return self.url.scheme, self.url.host, port


def parse_address(url: str) -> Address:
    """Parse vault.url.

    Raises:
        UsageError: it is not an address of Vault.
    """
    if url.startswith(UNIX_SCHEME):
        return _unix_address(url.removeprefix(UNIX_SCHEME))
    if not is_http_url(url):
        raise UsageError(INVALID_ADDRESS)
    parsed = httpx.URL(url)
    if parsed.query or parsed.fragment:
        raise UsageError(INVALID_ADDRESS)
    return Address(parsed)


def _unix_address(path: str) -> Address:
    if not path.startswith("/") or path.endswith("/"):
        raise UsageError(INVALID_ADDRESS)
    return Address(httpx.URL("http://localhost"), socket=path)
