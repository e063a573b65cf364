"""A Secret that definitions merge keys into: as it is watched, by its metadata alone.

Each definition applies its keys with a field manager of its own, so `metadata.managedFields` shows which keys it has in
the Secret, whether the definition still exists or not. A change of a value takes the key from its manager, so a foreign
change shows without any value.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from secrets_manager.controller.managed_fields import ManagedFields
from secrets_manager.controller.secret import OWNER
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, Wire
from secrets_manager.kube.resources import Resource

MANAGER_PREFIX = "secrets-manager-merge/"
MAX_MANAGER = 128
"""Characters of a field manager, by Kubernetes."""
SHORTENED = "~"
"""Between the beginning of a long name and its hash; it is in no name of an object."""
BY_MERGER = "merger"
"""Index of Secrets by the mergers that have keys in them."""

_HASH_CHARS = 16
_MAX_MERGER = MAX_MANAGER - len(MANAGER_PREFIX)
_NO_KEYS: Mapping[str, frozenset[str]] = {}


class MergedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A Secret, without its values. `keys` are those in it, by merger."""

    metadata: ObjectMeta
    owner: str
    """The uid of the definition that manages the whole Secret, if there was one."""
    keys: Mapping[str, frozenset[str]]

    @property
    def key(self) -> ObjectKey:
        return self.metadata.key


def merger_of(name: str) -> str:
    """Return the name of a definition as its field manager has it, which is shortened if it is too long."""
    if len(name) <= _MAX_MERGER:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_CHARS]
    return f"{name[: _MAX_MERGER - len(SHORTENED) - len(digest)]}{SHORTENED}{digest}"


def merger_key(key: ObjectKey) -> ObjectKey:
    """Return the key of a definition with the name that its field manager has. It is mostly the same."""
    return key._replace(name=merger_of(key.name))


def field_manager(merger: str) -> str:
    return f"{MANAGER_PREFIX}{merger}"


def mergers(secret: MergedSecret) -> Iterable[str]:
    """Return the keys of all definitions that have keys in the Secret, with the names of their field managers."""
    return [str(secret.key._replace(name=merger)) for merger in secret.keys]


class _Metadata(ObjectMeta, frozen=True):
    managed_fields: tuple[ManagedFields, ...] = ()


class _Object(Wire, frozen=True):
    metadata: _Metadata


_decoder = msgspec.json.Decoder(_Object)


def decode(raw: bytes | msgspec.Raw) -> MergedSecret:
    """Decode the metadata of a Secret.

    Raises:
        msgspec.MsgspecError: It is not an object.
    """
    metadata = _decoder.decode(raw).metadata
    return merged_secret(metadata, metadata.managed_fields)


def merged_secret(metadata: ObjectMeta, entries: Iterable[ManagedFields]) -> MergedSecret:
    """Return what is kept of a Secret: most have no keys of ours, so that is little."""
    return MergedSecret(
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            resource_version=metadata.resource_version,
            deletion_timestamp=metadata.deletion_timestamp,
        ),
        owner=metadata.labels.get(OWNER, ""),
        keys=_keys(entries) or _NO_KEYS,
    )


def _keys(entries: Iterable[ManagedFields]) -> Mapping[str, frozenset[str]]:
    return {
        entry.manager.removeprefix(MANAGER_PREFIX): entry.below(("data",))
        for entry in entries
        if entry.operation == "Apply" and entry.manager.startswith(MANAGER_PREFIX)
    }


MERGED_SECRETS = Resource("", "v1", "secrets", "Secret", decode, metadata_only=True)
