"""Where a standby may send a request that carries a token.

A standby that can't forward a request redirects it to the active node. Whoever follows a redirect gives the token to
whom it names, so it must name a node that the cluster announces, or the server that vault.url names; by HTTPS where
vault.url says so; and the very thing that was asked for.
"""

import msgspec

from secrets_manager.backends.vault.address import Address, address_of
from secrets_manager.backends.vault.node import Question
from secrets_manager.backends.vault.replies import OK, Reply, decode
from secrets_manager.errors import UsageError

LEADER = Question("GET", "sys/leader", "leader")
REDIRECTS = frozenset({307, 308})
"""The others would turn what was asked into something else."""
UNSERVED = frozenset({*range(300, 400), 472, 473, 503})
"""What a node answers that is not the active one any more."""


class _Leader(msgspec.Struct, frozen=True):
    leader_address: str = ""


def announced_by(reply: Reply) -> Address | None:
    """The active node, as its cluster tells it."""
    told = decode(reply.body, _Leader) if reply.status == OK else None
    return _address(told.leader_address) if told else None


def may_follow(reply: Reply, question: Question, *, asked: Address, announced: Address | None) -> Address | None:
    """The node to ask in place of the one that gave this reply; None where it must not be asked."""
    if reply.status not in REDIRECTS or asked.socket:
        return None
    node, slash, rest = reply.location.partition(f"/v1/{question.path}")
    target = _address(node)
    known = {asked.origin} | ({announced.origin} if announced else set())
    if target is None or not slash or (rest and not rest.startswith("?")) or target.origin not in known:
        return None
    return None if (asked.url.scheme, target.url.scheme) == ("https", "http") else target


def _address(url: str) -> Address | None:
    try:
        address = address_of(url)
    except UsageError:
        return None
    return None if address.socket or address.url.userinfo else address
