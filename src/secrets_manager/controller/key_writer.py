"""Write the keys of a definition into a Secret of others by server-side apply, and take them out again.

Every write has the uid and the resourceVersion of the Secret as preconditions: none is created, and no late request
replaces a newer value, which managedFields would not show. The API server decides who owns a key, so there is no race
with other managers. Errors that contain a value in the server's message are redacted.
"""

import logging
from collections.abc import Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import NamedTuple

from secrets_manager.controller.competing_manager import MANAGED_SECRETS, ManagedSecret
from secrets_manager.controller.definition import ADOPT, SECRET_DEFINITIONS, SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.merge_decision import keys_not_owned
from secrets_manager.controller.merged_secret import (
    MERGED_SECRETS,
    SHORTENED,
    MergedSecret,
    field_manager,
    merged_secret,
    merger_key,
    merger_of,
)
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret_writer import join_warnings, redact_errors, rejected
from secrets_manager.kube.client import KubeClient, WarningHandler
from secrets_manager.kube.errors import (
    ApiError,
    Conflict,
    FieldConflict,
    FieldOwner,
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
)
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.pager import Pager
from secrets_manager.metrics import ControllerMetrics

log = logging.getLogger(__name__)


class Applied(NamedTuple):
    """The Secret after an apply.

    `changed` are our keys whose values are others in the response. `taken` are the keys that others owned. `warning` is
    from Kubernetes. `written_at` is when our keys were last changed, as RFC 3339.
    """

    secret: MergedSecret
    changed: frozenset[str]
    taken: tuple[FieldOwner, ...]
    warning: str
    written_at: str


class KeyWriter:
    """The only writer of keys in Secrets of others."""

    def __init__(self, client: KubeClient, metrics: ControllerMetrics) -> None:
        self._client = client
        self._metrics = metrics

    async def find(self, definition: SecretDefinition, key: ObjectKey) -> MergedSecret | None:
        """Get the metadata of a Secret.

        Raises:
            KubeError: A retry may help.
        """
        try:
            return await self._client.get(MERGED_SECRETS, key)
        except NotFound:
            return None
        except KubeError:
            self._metrics.secrets.read_error(definition.key)
            raise

    async def apply(
        self, definition: SecretDefinition, desired: Desired, current: MergedSecret
    ) -> Applied | Problem | None:
        """Apply the keys, and remove those that the definition had before. None: the Secret has changed by now.

        Keys of others are taken over only if the definition has the annotation `adopt`.

        Raises:
            KubeError: A retry may help.
        """
        taken: tuple[FieldOwner, ...] = ()
        warnings: list[str] = []
        with redact_errors(desired.values):
            found = await self._try_apply(definition, current, desired, warnings.append)
            if isinstance(found, FieldConflict):
                taken = found.owners
                if definition.metadata.annotations.get(ADOPT) != "true":
                    return keys_not_owned(desired, taken)
                found = await self._try_apply(definition, current, desired, warnings.append, force=True)
            if isinstance(found, KubeError):
                present = await self.find(definition, current.key)
                if present is None or present.metadata.resource_version != current.metadata.resource_version:
                    return None
                return rejected(found, desired)  # whatever its code, which a webhook chooses
        if found.metadata.resource_version != current.metadata.resource_version:
            _log("keys written", current.key)
        manager = field_manager(merger_of(definition.metadata.name))
        ours = (entry for entry in found.managed_fields if entry.manager == manager)
        return Applied(
            merged_secret(found.metadata, found.managed_fields),
            found.differing(desired.data),
            taken,
            join_warnings(warnings, desired),
            max((entry.time for entry in ours), default=""),
        )

    async def release(self, merger: str, current: MergedSecret) -> None:
        """Remove the keys of a merger; those that others own too stay, and all if Kubernetes refuses their removal.

        Raises:
            KubeError: A retry may help.
        """
        with redact_errors(()):
            try:
                await self._client.apply(
                    MERGED_SECRETS, current.key, _body(current, {}), field_manager=field_manager(merger)
                )
            except NotFound:
                return
            except (Conflict, Invalid) as error:
                refusal = error
            else:
                _log("keys removed", current.key)
                return
            if await self._is_another(current):
                return
            if isinstance(refusal, Conflict):
                raise refusal
            _log_kept(refusal, current.key, merger)

    async def check_gone(self, key: ObjectKey) -> None:
        """Look for the definition before its keys are removed: the watch may be behind. `key` is that of the merger.

        Raises:
            Conflict: It exists.
        """
        if SHORTENED not in key.name:
            try:
                await self._client.get(SECRET_DEFINITIONS, key)
            except NotFound:
                return
        elif not await self._is_shortened(key):
            return
        raise Conflict(f"SecretDefinition {key} exists", code=HTTPStatus.CONFLICT)

    async def _try_apply(
        self,
        definition: SecretDefinition,
        current: MergedSecret,
        desired: Desired,
        on_warning: WarningHandler,
        *,
        force: bool = False,
    ) -> ManagedSecret | ApiError:
        """Apply the keys. Returns the Secret, or why it is refused."""
        try:
            return await self._client.apply(
                MANAGED_SECRETS,
                current.key,
                _body(current, desired.data),
                field_manager=field_manager(merger_of(definition.metadata.name)),
                force=force,
                on_warning=on_warning,
            )
        except (Conflict, NotFound, Invalid, Forbidden) as refusal:
            return refusal

    async def _is_another(self, current: MergedSecret) -> bool:
        """Whether the Secret was deleted meanwhile, and maybe made again: then its uid is refused as invalid."""
        try:
            found = await self._client.get(MERGED_SECRETS, current.key)
        except NotFound:
            return True
        return found.metadata.uid != current.metadata.uid

    async def _is_shortened(self, key: ObjectKey) -> bool:
        """Whether there is a definition whose name is shortened to this one."""
        async with aclosing(Pager(self._client, SECRET_DEFINITIONS, namespace=key.namespace).pages()) as pages:
            async for page in pages:
                names = [definition.key for definition in page.items] + page.undecodable
                if key in map(merger_key, names):
                    return True
        return False


def _body(current: MergedSecret, data: Mapping[str, bytes]) -> dict[str, object]:
    meta = current.metadata
    metadata = {"name": meta.name, "uid": meta.uid, "resourceVersion": meta.resource_version}
    body: dict[str, object] = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    return body | {"data": data} if data else body


def _log(message: str, key: ObjectKey) -> None:
    log.info(message, extra={"fields": {"namespace": key.namespace, "secret": key.name}})


def _log_kept(error: KubeError, key: ObjectKey, merger: str) -> None:
    fields = {"namespace": key.namespace, "secret": key.name, "definition": merger, "error": str(error)}
    log.warning("keys of a definition stay in a Secret: Kubernetes refuses to remove them", extra={"fields": fields})
