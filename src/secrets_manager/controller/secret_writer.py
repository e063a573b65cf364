"""Does what decision.py says, until there is nothing left to do: one write in the ordinary case.

A write that fails since somebody else was faster is no failure: the Secret is read again and the decision made anew.
So is a write whose reply was lost: the next look finds its result.
"""

import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple

from secrets_manager.controller.decision import Create, Delete, Patch, decide, leftovers
from secrets_manager.controller.definition import SECRET_DEFINITIONS, Reason, SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.ownership import Claim, claim
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret import OWNER, SECRETS, CurrentSecret
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, Invalid, KubeError, NotFound
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.store import Store
from secrets_manager.metrics import ControllerMetrics

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""Decisions in one reconcile; a Secret that others change faster than this is left to the next one."""


class Written(NamedTuple):
    """The Secret is as it should be: by how many writes, and by what right the last one was made."""

    writes: int
    claim: Claim


class SecretWriter:
    """The only place that writes Secrets. `now` gives the time as RFC 3339."""

    def __init__(
        self, client: KubeClient, secrets: Store[CurrentSecret], metrics: ControllerMetrics, now: Callable[[], str]
    ) -> None:
        self._client = client
        self._secrets = secrets
        self._metrics = metrics
        self._now = now

    async def write(self, definition: SecretDefinition, desired: Desired, *, again: bool = False) -> Written | Problem:
        """Bring about what is desired, then remove what this definition once had under another name.

        `again`: this process has seen the Secret of this definition before. If it is gone, so may be the definition:
        to make it anew while the watch is behind would go on in a circle with the garbage collector.
        Raises: KubeError where a retry can help.
        """
        key = ObjectKey(definition.metadata.namespace, desired.name)
        current = self._secrets.get(key)
        right, writes, before = Claim.OWNED, 0, None
        for _ in range(ATTEMPTS):
            decision = decide(definition, desired, current, now=self._now(), before=before)
            if decision is None:
                await self._remove_leftovers(definition, desired)
                return Written(writes, right)
            if isinstance(decision, Problem):
                return decision
            if isinstance(decision, Patch | Delete):
                right = decision.claim
            if isinstance(decision, Delete) or (isinstance(decision, Create) and again and before is None):
                await self._confirm(definition)
            if isinstance(decision, Delete):
                before = decision.current
            try:
                current = await self._perform(decision)
                writes += 1
            except (AlreadyExists, Conflict):
                current = await self._look(definition, key)
            except (Invalid, Forbidden, NotFound) as error:
                if isinstance(error, NotFound) and not isinstance(decision, Create):
                    current = None  # it went before our write came
                    continue
                return rejected(key, error, desired.data.values())
        raise Contended(f"Secret {key}: others change it faster than it can be written")

    async def delete_last(self, definition: SecretDefinition, key: ObjectKey) -> None:
        """Delete the Secret of a definition that goes, if it is ours to delete.

        Raises: KubeError where a retry can help.
        """
        current = await self._look(definition, key)
        if current is not None and claim(definition, current) in (Claim.OWNED, Claim.INHERITED):
            await self._confirm(definition)
            await self._perform(Delete(current))

    async def _perform(self, decision: Create | Patch | Delete) -> CurrentSecret | None:
        """One write; what stands there after it."""
        match decision:
            case Create(secret):
                return self._made(await self._client.create(SECRETS, secret.metadata.namespace, secret))
            case Patch(current, body):
                return self._made(await self._client.patch(SECRETS, current.key, body))
            case Delete(current):
                meta = current.metadata
                await self._client.delete(SECRETS, current.key, uid=meta.uid, resource_version=meta.resource_version)
                _log("Secret deleted", current.key)
                return None

    def _made(self, secret: CurrentSecret) -> CurrentSecret:
        self._secrets.apply(secret)
        _log("Secret written", secret.key)
        return secret

    async def _confirm(self, definition: SecretDefinition) -> None:
        """Look once more at the definition before a Secret goes or returns in its name: the watch may be behind.

        Raises: Conflict if it is not as it was seen; the next reconcile may know better.
        """
        with suppress(NotFound):
            present = await self._client.get(SECRET_DEFINITIONS, definition.key)
            if present.wants_the_same_as(definition):
                return
        raise Conflict(f"SecretDefinition {definition.key} has changed meanwhile", code=HTTPStatus.CONFLICT)

    async def _look(self, definition: SecretDefinition, key: ObjectKey) -> CurrentSecret | None:
        try:
            return await self._client.get(SECRETS, key)
        except NotFound:
            return None
        except KubeError:
            self._metrics.secret_read_error(definition.key)
            raise

    async def _remove_leftovers(self, definition: SecretDefinition, desired: Desired) -> None:
        owned = self._secrets.by(OWNER, definition.metadata.uid)
        deletions = leftovers(definition, desired, owned)
        if deletions:
            await self._confirm(definition)
        for deletion in deletions:
            with suppress(NotFound):
                await self._perform(deletion)


class Contended(KubeError):
    """Another writer does not leave the Secret alone; a retry can help."""


def rejected(key: ObjectKey, error: ApiError, values: Collection[bytes]) -> Problem:
    """The API server's refusal, in its own words, less any value that a webhook may have put among them."""
    text = str(error)
    for value in values:
        shown = value.decode(errors="replace")
        if shown and shown in text:
            text = text.replace(shown, "<redacted>")
    return Problem(Reason.SECRET_REJECTED, f"Kubernetes refuses Secret {key.name}: {text}")


def _log(message: str, key: ObjectKey) -> None:
    log.info(message, extra={"fields": {"namespace": key.namespace, "secret": key.name}})
