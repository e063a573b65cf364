"""Write the status of definitions.

A write is pending if the derived status differs from that in the store. So a write that fails, loses its response or is
reverted by others is pending again.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from secrets_manager.backends import Source
from secrets_manager.controller.definition import SECRET_DEFINITIONS, SecretDefinition, Status
from secrets_manager.controller.rollout_restart import Restarts
from secrets_manager.controller.status import Outcome, SyncState, next_state, next_status
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import NotFound
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.store import Store

log = logging.getLogger(__name__)


class StatusWriter:
    """The only writer of statuses. `now` returns the time as RFC 3339."""

    def __init__(self, client: KubeClient, definitions: Store[SecretDefinition], *, now: Callable[[], str]) -> None:
        self._client = client
        self._definitions = definitions
        self._now = now
        self._states: dict[ObjectKey, SyncState] = {}
        self._warned_of_old_crd = False

    def record(self, definition: SecretDefinition, outcome: Outcome, restarts: Restarts | None = None) -> None:
        """Record the outcome of a reconcile, and the restarts of the definition's targets."""
        before = self._states.get(definition.key)
        self._states[definition.key] = next_state(definition, outcome, restarts, before=before, now=self._now())

    def synced_versions(self, key: ObjectKey) -> Mapping[Source, int | str | None]:
        """Return the version of each source that this process has synced last."""
        state = self._states.get(key)
        return {} if state is None or state.synced is None else state.synced.versions

    def record_restarts(self, key: ObjectKey, restarts: Restarts) -> None:
        """Record the restarts of a definition's targets after an attempt."""
        state = self._states.get(key)
        if state is not None:
            self._states[key] = msgspec.structs.replace(state, restarts=restarts, at=self._now())

    def state(self, definition: SecretDefinition) -> SyncState | None:
        """Return the last outcomes of this definition; None if there are none of this process."""
        state = self._states.get(definition.key)
        return state if state is not None and state.uid == definition.metadata.uid else None

    def is_pending(self, key: ObjectKey) -> bool:
        """Whether the status must be written."""
        return self._pending(key) is not None

    async def write(self, key: ObjectKey) -> None:
        """Write the status if it is pending.

        Raises:
            KubeError: The write failed; Conflict if the store is behind.
        """
        pending = self._pending(key)
        if pending is None:
            return
        definition, status = pending
        # The resourceVersion keeps conditions of others that the store does not have yet.
        body = {"status": _whole(status), "metadata": {"resourceVersion": definition.metadata.resource_version}}
        try:
            written = await self._client.patch(SECRET_DEFINITIONS, key, body, subresource="status")
        except NotFound:
            await self._warn_of_old_crd(key)
            return
        if written.spec == definition.spec:  # it takes most of the memory: share it
            written = msgspec.structs.replace(written, spec=definition.spec)
        self._definitions.advance(definition, written)

    def forget(self, key: ObjectKey) -> None:
        """Forget a deleted definition."""
        self._states.pop(key, None)

    def _pending(self, key: ObjectKey) -> tuple[SecretDefinition, Status] | None:
        definition = self._definitions.get(key)
        state = None if definition is None else self.state(definition)
        if definition is None or state is None:
            return None
        status = next_status(definition, state)
        return None if status == definition.status else (definition, status)

    async def _warn_of_old_crd(self, key: ObjectKey) -> None:
        """Warn if the definition exists: then its CRD is that of the Go original, without a status subresource."""
        with suppress(NotFound):
            await self._client.get(SECRET_DEFINITIONS, key)
            if not self._warned_of_old_crd:
                self._warned_of_old_crd = True
                log.warning("the installed CRD has no status subresource: apply the output of `secrets-manager crd`")


def _whole(status: Status) -> dict[str, object]:
    """Return all fields for a merge patch: those at their defaults are null, which removes them."""
    whole: dict[str, object] = {field.encode_name: None for field in msgspec.structs.fields(status)}
    whole.update(msgspec.to_builtins(status))
    return whole
