"""Decide where a redirected request may go, since it carries a token.

A standby node that can't forward a request redirects it to the active node. Following a redirect gives the token to its
target. So the target must be the active node that the cluster reports, or the server in vault.url. It must use HTTPS if
vault.url does, and the path must be the requested one.
"""

from urllib.parse import unquote

import msgspec

from secrets_manager.backends.vault.address import Address, parse_address
from secrets_manager.backends.vault.node import Request
from secrets_manager.backends.vault.responses import OK, Response, decode
from secrets_manager.errors import UsageError

LEADER_REQUEST = Request("GET", "sys/leader", "leader")
REDIRECTS = frozenset({307, 308})
"""Those that keep method and body."""
NOT_ACTIVE = frozenset({*range(300, 400), 472, 473, 503})
"""Statuses of a node that is no longer active."""


class _Leader(msgspec.Struct, frozen=True):
    leader_address: str = ""


def active_node(response: Response) -> Address | None:
    """Return the active node that the response to LEADER_REQUEST names."""
    leader = decode(response.body, _Leader) if response.status == OK else None
    return _address(leader.leader_address) if leader else None


def redirect_target(
    response: Response, request: Request, *, configured: Address, active: Address | None
) -> Address | None:
    """Return the node that the response redirects to; None if the request must not go there."""
    if response.status not in REDIRECTS or configured.socket:
        return None
    node, _, rest = response.location.partition("/v1/")
    target = _address(node)
    known = {node.origin for node in (configured, active) if node}
    path = rest.partition("?")[0]  # Go leaves characters bare that we encode
    if target is None or unquote(path) != unquote(request.path) or target.origin not in known:
        return None
    return None if (configured.url.scheme, target.url.scheme) == ("https", "http") else target


def _address(url: str) -> Address | None:
    try:
        address = parse_address(url)
    except UsageError:
        return None
    return None if address.socket or address.url.userinfo else address
