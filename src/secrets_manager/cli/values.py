"""Types of flag values beside Go's: addresses, namespaces, log levels."""

import ipaddress
import logging
import re
from urllib.parse import urlsplit

from secrets_manager.cli.gosyntax import ValueType, at_least, integer, text
from secrets_manager.durations import duration
from secrets_manager.errors import InvalidValue

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


def url(raw: str) -> str:
    """Parse an HTTP URL or the address of a Unix socket.

    Raises:
        InvalidValue: it is not valid.
    """
    address = text(raw)
    if re.fullmatch(r"unix:///.*[^/]", address):
        return address
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "?" in address or "#" in address or " " in address:
        raise InvalidValue("is not the URL of a server: write it like https://vault.example.com:8200")
    return address


def listen_address(raw: str) -> str:
    """Parse host and port to listen on. No host means all addresses, port 0 any free port.

    Raises:
        InvalidValue: it is not valid.
    """
    host, colon, port = raw.strip().rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > MAX_PORT or not _is_host(host):
        raise InvalidValue("is not an address to listen on: write it like :8080, 127.0.0.1:8080 or [::1]:8080")
    return raw.strip()


def optional_listen_address(raw: str) -> str:
    """Parse host and port to listen on, or nothing.

    Raises:
        InvalidValue: it is not valid.
    """
    return listen_address(raw) if raw.strip() else ""


def metrics_address(raw: str) -> str:
    """Parse host and port to listen on; 0, which turns the metrics off in controller-runtime, means none.

    Raises:
        InvalidValue: it is not valid.
    """
    return "" if raw.strip() == "0" else listen_address(raw)


def namespace(raw: str) -> str:
    """Parse the name of a namespace, or none.

    Raises:
        InvalidValue: it is not valid.
    """
    name = text(raw)
    if name and not _NAMESPACE.fullmatch(name):
        raise InvalidValue("is not the name of a namespace: write it like shop-test")
    return name


def namespaces(raw: str) -> tuple[str, ...]:
    """Parse comma-separated names of namespaces. Spaces and quotes around them are ignored.

    Raises:
        InvalidValue: it is not valid.
    """
    names = [name.strip(" \t\"'") for name in raw.strip(" \t\"'").split(",")]
    if len(names) > 1 and not any(names):
        raise InvalidValue("names no namespace")  # an empty list would mean all of them
    for name in names:
        if name and not _NAMESPACE.fullmatch(name):
            raise InvalidValue(
                "is not a list of namespaces: write names in lower case with commas between them, like shop,shop-test"
            )
    return tuple(dict.fromkeys(filter(None, names)))


def path_patterns(raw: str) -> tuple[str, ...]:
    """Parse comma-separated patterns of paths, as controller/path_policy.py reads them.

    Raises:
        InvalidValue: it is not valid.
    """
    patterns = [pattern.strip() for pattern in text(raw).split(",")]
    if patterns == [""]:
        return ()
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise InvalidValue(
                "is not a list of paths: write them like secret/data/{namespace}/*,secret/data/+/shared, "
                "with * only at the end and + only as a whole segment"
            )
    return tuple(patterns)


def log_level(raw: str) -> int:
    """Parse a level of zap; its numbers above 0 are debug levels. Return that of `logging`.

    Raises:
        InvalidValue: it is not valid.
    """
    level = raw.lower()
    if level in _LEVELS:
        return _LEVELS[level]
    try:
        at_least("1", INTEGER).read(level)
    except InvalidValue:
        raise InvalidValue(
            "is not a log level: use debug, info, warn, error, panic, or a number above 0 for debug"
        ) from None
    return logging.DEBUG


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return _HOST.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return host.endswith("]")


DURATION = ValueType("DURATION", duration)
INTEGER = ValueType("NUMBER", integer)
URL = ValueType("URL", url)
PATH = ValueType("PATH", text)
NAME = ValueType("NAME", text)
METRICS_ADDRESS = ValueType("HOST:PORT", metrics_address)
OPTIONAL_ADDRESS = ValueType("HOST:PORT", optional_listen_address)
NAMESPACE = ValueType("NAME", namespace)
NAMESPACES = ValueType("NAMES", namespaces)
PATTERNS = ValueType("PATTERNS", path_patterns)
PEM = ValueType("PEM", str)
LEVEL = ValueType("LEVEL", log_level)
INTERVAL = at_least("100ms", DURATION)
"""The lower bound of intervals keeps requests from following each other without a pause."""
