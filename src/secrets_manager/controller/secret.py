"""The Secret: as it is written, and as much as is kept in memory of one that was read.

The store keeps a keyed digest in place of the data. The key is drawn once a process and leaves it nowhere,
so a digest tells whether two Secrets are equal, and nothing else.
"""

import hashlib
import secrets
from collections.abc import Mapping

import msgspec

from secrets_manager.controller.definition import GROUP, without_last_applied
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, OwnerReference, Wire
from secrets_manager.kube.resources import Resource

OWNER = f"{GROUP}/owner"
"""Label on the Secret: the definition's uid. The watch selects by it, since users may set any public label."""

_DIGEST_KEY = secrets.token_bytes(32)


class Secret(Wire, frozen=True, tag_field="kind", tag="Secret"):
    """The whole Secret, in the form that the API takes. Its repr tells no value."""

    api_version: str
    metadata: ObjectMeta
    type: str
    data: dict[str, bytes]

    def __repr__(self) -> str:
        return f"Secret({self.metadata.key}, type={self.type!r}, keys={sorted(self.data)})"


class CurrentSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A Secret in the cluster, without its values."""

    metadata: ObjectMeta
    type: str
    immutable: bool
    keys: tuple[str, ...]
    digest: bytes

    @property
    def key(self) -> ObjectKey:
        return self.metadata.key

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that manages it; Kubernetes allows one at most."""
        return next((owner for owner in self.metadata.owner_references if owner.controller), None)


class _Wired(Wire, frozen=True):
    metadata: ObjectMeta
    type: str = "Opaque"
    data: dict[str, bytes] | None = None
    immutable: bool = False


_decoder = msgspec.json.Decoder(_Wired)


def digest(data: Mapping[str, bytes]) -> bytes:
    """16 bytes that are equal for equal data within this process."""
    state = hashlib.blake2b(key=_DIGEST_KEY, digest_size=16)
    for name in sorted(data):
        for part in (name.encode(), data[name]):
            state.update(len(part).to_bytes(8))
            state.update(part)
    return state.digest()


def decode(raw: bytes | msgspec.Raw) -> CurrentSecret:
    """Read a Secret as the API serves it; its values are gone when this returns.

    Raises: msgspec.MsgspecError for anything else.
    """
    wired = _decoder.decode(raw)
    data = wired.data or {}
    return CurrentSecret(
        metadata=without_last_applied(wired.metadata),
        type=wired.type,
        immutable=wired.immutable,
        keys=tuple(data),
        digest=digest(data),
    )


SECRETS = Resource("", "v1", "secrets", "Secret", decode)
