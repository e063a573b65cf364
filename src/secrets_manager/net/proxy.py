"""Which HTTP proxy leads to a URL, by the environment variables that Go's tools read.

A pod often has `HTTPS_PROXY` for the world outside and `NO_PROXY=10.0.0.0/8,.svc,.cluster.local` for the cluster, so
address ranges must count; Python's own helpers compare names alone.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from secrets_manager.errors import UsageError
from secrets_manager.net.hosts import is_http_url


def proxy_for(url: str, *, environ: Mapping[str, str]) -> str:
    """The proxy's URL, or the empty string for a direct connection.

    As golang.org/x/net/http/httpproxy has it: `HTTPS_PROXY` or `HTTP_PROXY` by the scheme, the upper case name first;
    never for localhost; not for what `NO_PROXY` lists (names with their subdomains, `.subdomains`, addresses, ranges,
    each with or without a port, `*`).
    Raises: UsageError for a proxy that is none, or of another kind; ValueError for a URL that is none.
    """
    target = urlsplit(url)
    proxy = _setting(f"{target.scheme}_proxy", environ)
    host, port = target.hostname or "", target.port or (443 if target.scheme == "https" else 80)
    if not proxy or _is_local(host):
        return ""
    if any(_covers(entry.strip().lower(), host, port) for entry in _setting("no_proxy", environ).split(",")):
        return ""
    return _checked(proxy if "://" in proxy else f"http://{proxy}", f"{target.scheme.upper()}_PROXY")


def _checked(proxy: str, name: str) -> str:
    """Its URL may hold a password, so it is not shown."""
    if not is_http_url(proxy):
        raise UsageError(f"{name} is no address of an HTTP proxy: write it like http://proxy.example.com:3128")
    return proxy


def _setting(name: str, environ: Mapping[str, str]) -> str:
    return environ.get(name.upper()) or environ.get(name, "")


def _is_local(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _covers(entry: str, host: str, port: int) -> bool:
    if entry in {"", "*"}:
        return bool(entry)
    address = _address(host)
    if address is not None and "/" in entry:
        return _in_range(address, entry)
    name, entry_port = _split_port(entry)
    if entry_port not in {"", str(port)}:
        return False
    if address is not None:
        return address == _address(name)
    name = name.removeprefix("*")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, str]:
    if _address(entry) is not None:  # an IPv6 address is full of colons
        return entry, ""
    name, _, port = entry.rpartition(":")
    return (name.strip("[]"), port) if name and port.isdecimal() else (entry.strip("[]"), "")


def _in_range(address: ipaddress.IPv4Address | ipaddress.IPv6Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
