"""Response wrapping of the in-memory Vault: what is in a wrapping token can be had once."""

from itertools import count
from typing import NamedTuple


class _Content(NamedTuple):
    creation_path: str
    secret_id: str


class Wrappings:
    """All wrapping tokens that were not used yet."""

    def __init__(self) -> None:
        self._unused: dict[str, _Content] = {}
        self._numbers = count(1)

    def wrap(self, secret_id: str, *, creation_path: str) -> str:
        token = f"s.canary-wrapping-{next(self._numbers):04}"
        self._unused[token] = _Content(creation_path, secret_id)
        return token

    def creation_path(self, token: str) -> str | None:
        return content.creation_path if (content := self._unused.get(token)) else None

    def unwrap(self, token: str) -> str | None:
        return content.secret_id if (content := self._unused.pop(token, None)) else None
