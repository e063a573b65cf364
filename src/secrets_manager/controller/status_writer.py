"""Makes the status of a definition say what came of its last reconcile.

Whether a write is pending follows from comparing that result with the definition in the store. So a write that fails,
or whose reply is lost, or that a later one overtakes, is pending again; and so is one that somebody else has undone.
"""

import logging
from collections.abc import Callable
from contextlib import suppress

import msgspec

from secrets_manager.controller.definition import SECRET_DEFINITIONS, SecretDefinition, Status
from secrets_manager.controller.status import Outcome, Result, next_status, result_of
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import NotFound
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.store import Store

log = logging.getLogger(__name__)


class StatusWriter:
    """The only place that writes statuses. `now` gives the time as RFC 3339."""

    def __init__(self, client: KubeClient, definitions: Store[SecretDefinition], *, now: Callable[[], str]) -> None:
        self._client = client
        self._definitions = definitions
        self._now = now
        self._results: dict[ObjectKey, Result] = {}
        self._without_subresource: dict[ObjectKey, Status] = {}
        """What would have been written, where the installed CRD has no status."""
        self._warned_of_old_crd = False

    def record(self, definition: SecretDefinition, outcome: Outcome) -> None:
        """Note the outcome of a reconcile."""
        before = self._results.get(definition.key)
        self._results[definition.key] = result_of(definition, outcome, before=before, now=self._now())

    def is_pending(self, key: ObjectKey) -> bool:
        """Whether the status has to be written."""
        return self._pending(key) is not None

    async def write(self, key: ObjectKey) -> None:
        """Write the status if it differs.

        Raises: KubeError where it could not be written; Conflict among them, where the store is behind.
        """
        pending = self._pending(key)
        if pending is None:
            return
        definition, status = pending
        # Others may write conditions of their own: theirs are kept by writing only over what was read.
        body = {"status": status, "metadata": {"resourceVersion": definition.metadata.resource_version}}
        try:
            written = await self._client.patch(SECRET_DEFINITIONS, key, body, subresource="status")
        except NotFound:
            self._without_subresource[key] = status
            await self._warn_of_old_crd(key)
            return
        if written.spec == definition.spec:  # it is most of a definition, and others hold it too: keep it once
            written = msgspec.structs.replace(written, spec=definition.spec)
        self._definitions.apply(written)

    def forget(self, key: ObjectKey) -> None:
        """The definition is gone."""
        self._results.pop(key, None)
        self._without_subresource.pop(key, None)

    def _pending(self, key: ObjectKey) -> tuple[SecretDefinition, Status] | None:
        definition, result = self._definitions.get(key), self._results.get(key)
        if definition is None or result is None or definition.metadata.uid != result.uid:
            return None
        status = next_status(definition, result)
        if status in (definition.status, self._without_subresource.get(key)):
            return None
        return definition, status

    async def _warn_of_old_crd(self, key: ObjectKey) -> None:
        """The definition has gone, or its CRD is that of the original, which has no status to write."""
        with suppress(NotFound):
            await self._client.get(SECRET_DEFINITIONS, key)
            if not self._warned_of_old_crd:
                self._warned_of_old_crd = True
                log.warning("the installed CRD has no status: apply the output of `secrets-manager crd`")
