"""Which host names and URLs can lead to a server. For others DNS, TLS and httpx raise errors of many types."""

import re
from urllib.parse import urlsplit

import httpx

_LOGIN = re.compile(r"(?<=://)[^/?#]*@")


def is_host(name: str) -> bool:
    """Whether a name can be that of a host: an address, or labels of DNS, unlike `vault..svc`."""
    try:
        return bool(name.encode("idna")) and name.isprintable()
    except UnicodeError:
        return False


def is_http_url(url: str) -> bool:
    """Whether a URL begins with https:// or http:// and names a host, and a port if any."""
    try:
        parsed, port = httpx.URL(url), urlsplit(url).port  # each accepts some URLs that the other refuses
    except (httpx.InvalidURL, ValueError):
        return False
    return parsed.scheme in {"http", "https"} and is_host(parsed.raw_host.decode("ascii")) and port != 0


def without_login(url: str) -> str:
    """Return a URL without user and password, else as it is."""
    return _LOGIN.sub("", url, count=1)


def for_messages(url: str) -> str:
    """Return a URL without user, password and query. Empty for an empty one."""
    parts = urlsplit(without_login(url))
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/") if url else ""
