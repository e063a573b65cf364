"""The Secret: as it is written, and as it is cached.

The cache keeps a keyed digest in place of the data. The key is random for each process, so a digest shows whether two
Secrets are equal, and nothing else.
"""

import hashlib
import secrets
from collections.abc import Mapping

import msgspec

from secrets_manager.controller.definition import without_last_applied
from secrets_manager.controller.rules import GROUP
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, OwnerReference, Wire
from secrets_manager.kube.resources import Resource

OWNER = f"{GROUP}/owner"
"""Label on the Secret: the definition's uid. The watch selects by it, since users may set other labels."""

_DIGEST_KEY = secrets.token_bytes(32)


class Secret(Wire, frozen=True, tag_field="kind", tag="Secret"):
    """A Secret as the API takes it. Its repr shows no value."""

    api_version: str
    metadata: ObjectMeta
    type: str
    data: dict[str, bytes]
    immutable: bool = False

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
        """The controlling owner; Kubernetes allows one at most."""
        return next((owner for owner in self.metadata.owner_references if owner.controller), None)


class _Wired(Wire, frozen=True):
    metadata: ObjectMeta
    type: str = "Opaque"
    data: dict[str, bytes] | None = None
    immutable: bool = False


_decoder = msgspec.json.Decoder(_Wired)


def digest(data: Mapping[str, bytes]) -> bytes:
    """Return 16 bytes that are equal for equal data within this process."""
    state = hashlib.blake2b(key=_DIGEST_KEY, digest_size=16)
    for name in sorted(data):
        for part in (name.encode(), data[name]):
            state.update(len(part).to_bytes(8))
            state.update(part)
    return state.digest()


def decode(raw: bytes | msgspec.Raw) -> CurrentSecret:
    """Decode a Secret, without keeping its values.

    Raises:
        msgspec.MsgspecError: It is not a Secret.
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
