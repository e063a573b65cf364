"""Vault's address: an HTTP or HTTPS URL, or a Unix socket."""

from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from secrets_manager.errors import UsageError

INVALID_ADDRESS = (
    "vault.url is not an address of Vault: write it like https://vault.example.com:8200, or unix:///run/vault.sock"
)
UNIX_SCHEME = "unix://"
MAX_LABEL = 63
"""Characters of a part of a host name, by DNS."""


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
    try:
        parsed, _ = httpx.URL(url), urlsplit(url).port  # each accepts some URLs that the other refuses
    except (httpx.InvalidURL, ValueError):
        raise UsageError(INVALID_ADDRESS) from None
    if parsed.scheme not in {"http", "https"} or not is_host(parsed.raw_host.decode()):
        raise UsageError(INVALID_ADDRESS)
    if parsed.query or parsed.fragment:
        raise UsageError(INVALID_ADDRESS)
    return Address(parsed)


def is_host(name: str) -> bool:
    """Return whether a name can be that of a host: DNS and TLS raise errors for others, as for `vault..svc`."""
    return all(0 < len(label) <= MAX_LABEL for label in name.removesuffix(".").split("."))


def _unix_address(path: str) -> Address:
    if not path.startswith("/") or path.endswith("/"):
        raise UsageError(INVALID_ADDRESS)
    return Address(httpx.URL("http://localhost"), socket=path)
