"""Does what decision.py says, until it has come about: one write in the ordinary case.

A write that fails since somebody else was faster is no failure:
the Secret is read again and the decision made anew. So is a write whose reply was lost: the next look finds its result.

No error that leaves here quotes a value in the server's words.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import NamedTuple, TypeVar

from secrets_manager.controller.contender import CONTESTED, Contested
from secrets_manager.controller.decision import Create, Decision, Delete, Patch, decide, others
from secrets_manager.controller.definition import SECRET_DEFINITIONS, Reason, SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.ownership import OF_DEFINITION, Claim, claim, definition_of
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.redaction import WITHHELD, may_quote, redacted
from secrets_manager.controller.secret import SECRETS, CurrentSecret
from secrets_manager.kube.client import KubeClient, WarningHandler
from secrets_manager.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, KubeError, NotFound
from secrets_manager.kube.objects import KubeObject, ObjectKey
from secrets_manager.kube.resources import Resource
from secrets_manager.kube.store import Store
from secrets_manager.metrics import ControllerMetrics

log = logging.getLogger(__name__)

T = TypeVar("T", bound=KubeObject)

Write = Create | Patch | Delete

ATTEMPTS = 5
"""Decisions for one write; a Secret that others change faster than this is left to the next reconcile."""


class Overtaken(KubeError):
    """Others change the Secret faster than it can be written; a retry can help."""


class Reply(NamedTuple):
    """What stands there after a write, by what right it was made, whether one was needed, and of what it warns."""

    secret: CurrentSecret | None
    claim: Claim
    wrote: bool
    warning: str = ""


class SecretWriter:
    """The only place that writes Secrets. `now` gives the time as RFC 3339."""

    def __init__(
        self, client: KubeClient, secrets: Store[CurrentSecret], metrics: ControllerMetrics, now: Callable[[], str]
    ) -> None:
        self._client = client
        self._secrets = secrets
        self._metrics = metrics
        self._now = now

    def decide(
        self,
        definition: SecretDefinition,
        desired: Desired,
        current: CurrentSecret | None,
        before: CurrentSecret | None = None,
    ) -> Decision:
        """What is to be written at this time."""
        return decide(definition, desired, current, now=self._now(), before=before)

    async def write(
        self, definition: SecretDefinition, desired: Desired, decision: Write, *, seen_before: bool
    ) -> Reply | Problem:
        """Write once. Where the Secret has to be made anew, that is a deletion and a creation.

        `seen_before`: this process has seen the Secret of this definition. If it is gone, so may be the definition:
        to make it anew while the watch is behind would go on in a circle with the garbage collector.
        Raises: KubeError where a retry can help.
        """
        with _redacting(desired.data.values()):
            return await self._write(definition, desired, decision, seen_before=seen_before)

    async def delete_last(self, definition: SecretDefinition, key: ObjectKey) -> None:
        """Delete the Secret of a definition that goes, if it is ours to delete.

        Raises: KubeError where a retry can help.
        """
        with _redacting(()):
            current = await self._look(definition, key)
            if current is not None and claim(definition, current) in (Claim.OWNED, Claim.INHERITED):
                await self._confirm(definition)
                await self._perform(Delete(current))

    async def remove_leftovers(self, definition: SecretDefinition, desired: Desired) -> list[CurrentSecret]:
        """Delete what the definition had under names that it no longer wants. Returns the copies that others made.

        The one that it had last is read where the store lacks it: others may have taken its label away.
        Raises: KubeError where a retry can help.
        """
        owned = self._secrets.by_index(OF_DEFINITION, str(definition.key))
        former = ObjectKey(definition.metadata.namespace, definition.status.secret_name)
        if former.name not in ("", desired.name) and all(secret.key != former for secret in owned):
            found = await self._look(definition, former)
            owned += [] if found is None or str(definition.key) not in definition_of(found) else [found]
        leftovers, copies = others(definition, desired, owned)
        with _redacting(desired.data.values()):
            if leftovers:
                await self._confirm(definition)
            for deletion in leftovers:
                with suppress(NotFound):
                    await self._perform(deletion)
        return copies

    async def look_closely(self, definition: SecretDefinition, key: ObjectKey) -> Contested | None:
        """Read a Secret with what tells who changes it.

        Raises: KubeError where a retry can help.
        """
        return await self._read(CONTESTED, definition, key)

    async def _write(
        self, definition: SecretDefinition, desired: Desired, decision: Write, *, seen_before: bool
    ) -> Reply | Problem:
        key = ObjectKey(definition.metadata.namespace, desired.name)
        right, wrote, before = Claim.OWNED, False, None
        for _ in range(ATTEMPTS):
            if isinstance(decision, Patch | Delete):
                right = decision.claim
            if isinstance(decision, Delete) or (isinstance(decision, Create) and seen_before and before is None):
                await self._confirm(definition)
            if isinstance(decision, Delete):
                before = decision.current
            warnings: list[str] = []
            try:
                current, wrote = await self._perform(decision, on_warning=warnings.append), True
                if current is not None:
                    return Reply(current, right, wrote, _told(warnings, desired))
            except (AlreadyExists, Conflict):
                current = await self._look(definition, key)
            except (Invalid, Forbidden, NotFound) as error:
                if not isinstance(error, NotFound) or isinstance(decision, Create):
                    return _refusal(error, desired)
                current = None  # it went before our write came
            following = self.decide(definition, desired, current, before)
            if following is None or isinstance(following, Problem):
                return following or Reply(current, right, wrote)
            decision = following
        raise Overtaken(f"Secret {key.name}: others change it faster than it can be written")

    async def _perform(
        self, decision: Create | Patch | Delete, *, on_warning: WarningHandler | None = None
    ) -> CurrentSecret | None:
        """One write; what stands there after it."""
        match decision:
            case Create(secret):
                return self._made(
                    await self._client.create(SECRETS, secret.metadata.namespace, secret, on_warning=on_warning)
                )
            case Patch(current, body):
                return self._made(await self._client.patch(SECRETS, current.key, body, on_warning=on_warning))
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
        return await self._read(SECRETS, definition, key)

    async def _read(self, resource: Resource[T], definition: SecretDefinition, key: ObjectKey) -> T | None:
        try:
            return await self._client.get(resource, key)
        except NotFound:
            return None
        except KubeError:
            self._metrics.secrets.read_error(definition.key)
            raise


@contextmanager
def _redacting(values: Iterable[bytes]) -> Iterator[None]:
    """Let no error pass that may quote one of the values."""
    try:
        yield
    except KubeError as error:
        raise redacted(error, values) from None


def _refusal(error: KubeError, desired: Desired) -> Problem:
    text = redacted(error, desired.data.values())
    return Problem(Reason.SECRET_REJECTED, f"Kubernetes refuses Secret {desired.name}: {text}")


def _told(warnings: list[str], desired: Desired) -> str:
    """Warnings in one text."""
    text = "; ".join(warnings)
    return WITHHELD if text and may_quote(text, desired.data.values()) else text


def _log(message: str, key: ObjectKey) -> None:
    log.info(message, extra={"fields": {"namespace": key.namespace, "secret": key.name}})
