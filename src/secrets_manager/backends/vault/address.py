"""Where Vault is: a host by HTTP or HTTPS, perhaps with a path below it, or a socket of this machine."""

from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from secrets_manager.errors import UsageError

NO_ADDRESS = "vault.url is no address of Vault: write it like https://vault.example.com:8200, or unix:///run/vault.sock"
SOCKET = "unix://"


class Address(NamedTuple):
    """What requests are sent to. `socket` is the file of a Unix socket, empty for a host of the network."""

    url: httpx.URL
    socket: str = ""

    def __str__(self) -> str:
        """For messages, so without a user and password that may stand in the URL."""
        if self.socket:
            return f"{SOCKET}{self.socket}"
        return str(self.url.copy_with(username=None, password=None)).rstrip("/")

    @property
    def origin(self) -> tuple[str, str, int | None]:
        """Two URLs of one origin lead to the same server."""
        port = self.url.port or {"http": 80, "https": 443}.get(self.url.scheme)
        return self.url.scheme, self.url.host, port


def address_of(url: str) -> Address:
    """Raises: UsageError for a vault.url that is none."""
    if url.startswith(SOCKET):
        return _socket(url.removeprefix(SOCKET))
    try:
        parsed, _ = httpx.URL(url), urlsplit(url).port  # either takes what the other refuses
    except (httpx.InvalidURL, ValueError):
        raise UsageError(NO_ADDRESS) from None
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query or parsed.fragment:
        raise UsageError(NO_ADDRESS)
    return Address(parsed)


def _socket(file: str) -> Address:
    if not file.startswith("/") or file.endswith("/"):
        raise UsageError(NO_ADDRESS)
    return Address(httpx.URL("http://localhost"), socket=file)
