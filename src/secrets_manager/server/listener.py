"""The listening socket. It is bound before anything else starts, so that a port in use is one line of an error."""

import errno
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager

from secrets_manager.errors import StartError

BACKLOG = 100


@contextmanager
def listen(address: str, *, flag: str) -> Generator[socket.socket]:
    """Open a listening socket at `host:port`. An empty host means all addresses, IPv6 and IPv4.

    Raises:
        StartError: the address can't be used. The message names the flag.
    """
    host, _, port = address.rpartition(":")
    try:
        bound = _bind(host.strip("[]"), int(port))
    except OSError as error:
        raise StartError(f"{flag} {address}: {_cause(error)}") from error
    with bound:
        yield bound


def _bind(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _cause(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use: stop the other process, or choose another port"
        case errno.EACCES:
            return "permission denied: ports below 1024 need a privilege, so choose a higher one"
        case int(number) if number > 0:
            return f"can't listen there: {os.strerror(number)}"
        case _:
            return f"can't listen there: {error.strerror or error}"
