"""A Secret in the cluster, with what may be shown of its values: their lengths.

A digest of each value shows which keys would change. The values are not kept.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from secrets_manager.controller import secret
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.managed_fields import ManagedFields
from secrets_manager.controller.secret import CurrentSecret, digest
from secrets_manager.kube.errors import KubeError
from secrets_manager.kube.objects import ObjectMeta, Wire
from secrets_manager.kube.resources import Resource


class ObservedValue(NamedTuple):
    """The length of a value in bytes, and its digest."""

    length: int
    digest: bytes


class ObservedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A Secret, as the controller caches it, each of its values, and who manages which fields."""

    current: CurrentSecret
    values: dict[str, ObservedValue]
    managed_fields: tuple[ManagedFields, ...] = ()

    @property
    def metadata(self) -> ObjectMeta:
        return self.current.metadata


class Secrets(NamedTuple):
    """The Secrets that concern a definition, by name. `errors` has those that can't be read.

    `unlisted` is why those that it had under other names can't be found, if they can't. `holder` is the definition that
    has the Secret which it wants, `owner` the one that controls it.
    """

    found: Mapping[str, ObservedSecret]
    errors: Mapping[str, KubeError]
    unlisted: KubeError | None = None
    holder: SecretDefinition | None = None
    owner: SecretDefinition | None = None


class _Metadata(Wire, frozen=True):
    managed_fields: tuple[ManagedFields, ...] = ()


class _Object(Wire, frozen=True):
    metadata: _Metadata = _Metadata()
    data: dict[str, bytes] | None = None


_decoder = msgspec.json.Decoder(_Object)


def observed_value(key: str, value: bytes) -> ObservedValue:
    """Return what is kept of a value."""
    return ObservedValue(len(value), digest({key: value}))


def decode(raw: bytes | msgspec.Raw) -> ObservedSecret:
    """Decode a Secret, without keeping its values.

    Raises:
        msgspec.MsgspecError: It is not a Secret.
    """
    decoded = _decoder.decode(raw)
    return ObservedSecret(
        current=secret.decode(raw),
        values={key: observed_value(key, value) for key, value in (decoded.data or {}).items()},
        managed_fields=decoded.metadata.managed_fields,
    )


OBSERVED_SECRETS = Resource("", "v1", "secrets", "Secret", decode)
