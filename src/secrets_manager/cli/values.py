"""The values that this program's flags take beside Go's own: addresses, namespaces, levels of the log."""

import ipaddress
import logging
import re
from urllib.parse import urlsplit

from secrets_manager.cli.gosyntax import Kind, at_least, integer, text
from secrets_manager.durations import duration
from secrets_manager.errors import Unfit

MAX_PORT = 65535
_HOST = re.compile(r"[A-Za-z0-9_.-]*")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SEGMENT = r"(?:\+|(?:\{namespace\}|[^/+*{}])+)"
_PATTERN = re.compile(rf"/?{_SEGMENT}(?:/{_SEGMENT})*(?:/?\*)?|\*")
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "panic": logging.CRITICAL,
}


def url(given: str) -> str:
    """An address of HTTP, or a socket of this machine. Raises: Unfit."""
    address = text(given)
    if re.fullmatch(r"unix:///.*[^/]", address):
        return address
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "?" in address or "#" in address or " " in address:
        raise Unfit("is no address of a server: write it like https://vault.example.com:8200")
    return address


def listen_address(given: str) -> str:
    """Host and port to listen on; no host means all addresses, port 0 any free one. Raises: Unfit."""
    host, colon, port = given.strip().rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > MAX_PORT or not _is_host(host):
        raise Unfit("is no address to listen on: write it like :8080, 127.0.0.1:8080 or [::1]:8080")
    return given.strip()


def namespace(given: str) -> str:
    """One name, or none. Raises: Unfit."""
    name = text(given)
    if name and not _NAMESPACE.fullmatch(name):
        raise Unfit("is no name of a namespace: write it like shop-test")
    return name


def namespaces(given: str) -> tuple[str, ...]:
    """Names between commas, each once; spaces and quotes around them don't count. Raises: Unfit."""
    names = [name.strip(" \t\"'") for name in given.strip(" \t\"'").split(",")]
    if len(names) > 1 and not any(names):
        raise Unfit("names no namespace")  # taken for none given, it would mean all of them
    for name in names:
        if name and not _NAMESPACE.fullmatch(name):
            raise Unfit("is no list of namespaces: write their names with commas between, like shop,shop-test")
    return tuple(dict.fromkeys(filter(None, names)))


def path_patterns(given: str) -> tuple[str, ...]:
    """Patterns of paths between commas, as controller/path_policy.py reads them. Raises: Unfit."""
    patterns = [pattern.strip() for pattern in text(given).split(",")]
    if patterns == [""]:
        return ()
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise Unfit(
                "is no list of paths: write them like secret/data/{namespace}/*,secret/data/+/shared, "
                "with * at the end alone and + as a whole segment"
            )
    return tuple(patterns)


def log_level(given: str) -> int:
    """As a level of `logging`; any positive number is one of zap's levels below debug. Raises: Unfit."""
    level = given.lower()
    if level in _LEVELS:
        return _LEVELS[level]
    try:
        at_least("1", INTEGER).read(level)
    except Unfit:
        raise Unfit("is no level: it is debug, info, warn, error, panic, or a number above 0 for debug") from None
    return logging.DEBUG


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return _HOST.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return host.endswith("]")


DURATION = Kind("DURATION", duration)
INTEGER = Kind("NUMBER", integer)
URL = Kind("URL", url)
PATH = Kind("PATH", text)
NAME = Kind("NAME", text)
ADDRESS = Kind("HOST:PORT", listen_address)
NAMESPACE = Kind("NAME", namespace)
NAMESPACES = Kind("NAMES", namespaces)
PATTERNS = Kind("PATTERNS", path_patterns)
PEM = Kind("PEM", str)
LEVEL = Kind("LEVEL", log_level)
INTERVAL = at_least("100ms", DURATION)
"""Shorter than this, something would be asked all the time."""
