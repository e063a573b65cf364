"""Write Secrets as decision.py decides: usually one request.

After a conflict the Secret is read and the decision repeated. This also handles a lost response: the read finds the
result. Errors that contain a value in the server's message are redacted.
"""

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import trio

from secrets_manager.controller.competing_manager import MANAGED_SECRETS, ManagedSecret
from secrets_manager.controller.decision import (
    Create,
    Decision,
    Delete,
    Patch,
    decide,
    decide_deletion,
    decide_orphaning,
    new_secret,
    other_secrets,
)
from secrets_manager.controller.definition import SECRET_DEFINITIONS, Reason, SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.merged_secret import MERGED_SECRETS
from secrets_manager.controller.names import is_object_name
from secrets_manager.controller.ownership import (
    BY_DEFINITION,
    BY_UID,
    Claim,
    definition_of,
    holder,
    maker_of,
    not_owned,
    orphan_of,
    owner,
)
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.redaction import WITHHELD, may_contain_value, redact
from secrets_manager.controller.replaced import ReplacedSecrets
from secrets_manager.controller.secret import OWNER, SECRETS, CurrentSecret, Secret
from secrets_manager.kube.client import KubeClient, WarningHandler
from secrets_manager.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, KubeError, NotFound
from secrets_manager.kube.objects import KubeObject, ObjectKey
from secrets_manager.kube.resources import Resource
from secrets_manager.kube.store import Store
from secrets_manager.metrics import ControllerMetrics

log = logging.getLogger(__name__)

T = TypeVar("T", bound=KubeObject)

Write = Create | Patch | Delete

NO_DRY_RUN = "does not support dry run"
"""What the API server says of a webhook with side effects."""
ATTEMPTS = 5
"""Decisions for a write; then the next reconcile retries."""
QUOTA_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between attempts to create a Secret in place of a deleted one, which a full quota counts for a moment yet."""


class TooManyConflicts(KubeError):
    """Others change the Secret faster than it can be written. A retry may help."""


class WriteResult(NamedTuple):
    """The Secret after a write, the claim to it, whether a request was needed, and its warning."""

    secret: CurrentSecret | None
    claim: Claim
    wrote: bool
    warning: str = ""


class SecretWriter:
    """The only writer of whole Secrets. `now` returns the time as RFC 3339."""

    def __init__(
        self,
        client: KubeClient,
        *,
        secrets: Store[CurrentSecret],
        definitions: Store[SecretDefinition],
        metrics: ControllerMetrics,
        now: Callable[[], str],
    ) -> None:
        self._client = client
        self._secrets = secrets
        self._definitions = definitions
        self._metrics = metrics
        self._now = now
        self._replaced = ReplacedSecrets()

    def decide(
        self, definition: SecretDefinition, desired: Desired, current: CurrentSecret | None, *, restarts: str
    ) -> Decision:
        """Return the next write. A Secret that replaces one gets its foreign metadata."""
        makers = [] if current is None else self._makers(current)
        return decide(
            definition,
            desired,
            current,
            now=self._now(),
            holder=None if current is None else holder(current, makers),
            owner=None if current is None else owner(current, makers),
            before=self._replaced.find(definition, desired.name, current),
            restarts=restarts,
        )

    def forget(self, key: ObjectKey) -> None:
        """Forget a deleted definition."""
        self._replaced.forget(key)

    async def write(
        self, definition: SecretDefinition, desired: Desired, decision: Write, *, seen_before: bool, restarts: str
    ) -> WriteResult | Problem:
        """Write the Secret once; a replacement is a deletion and a creation.

        `seen_before`: this process has synced this Secret before. If it is gone now, the definition may be deleted too:
        creating the Secret while the watch is behind would fight the garbage collector.

        Raises:
            KubeError: A retry may help.
        """
        with redact_errors(desired.values):
            return await self._write(definition, desired, decision, seen_before=seen_before, restarts=restarts)

    async def orphan(self, definition: SecretDefinition, current: CurrentSecret) -> bool:
        """Take our ownerReference from a Secret whose desired values are not known, if it must go. Returns whether.

        Raises:
            KubeError: A retry may help.
        """
        patch = decide_orphaning(definition, current, now=self._now())
        if patch is None:
            return False
        with redact_errors(()):
            await self._execute(patch)
        return True

    async def delete_owned(self, definition: SecretDefinition, key: ObjectKey) -> None:
        """Delete the Secret of a deleted definition, if it is ours.

        Raises:
            KubeError: A retry may help.
        """
        with redact_errors(()):
            current = await self._get(definition, key)
            deletion = (
                None
                if current is None
                else decide_deletion(definition, current, holder(current, self._makers(current)))
            )
            if deletion is not None:
                await self.check_unchanged(definition)
                await self._execute(deletion)

    async def delete_stale(self, definition: SecretDefinition, desired: Desired) -> list[CurrentSecret]:
        """Delete the Secrets that the definition had under other names. Returns the copies that others made.

        The last one is read if the store lacks it: others may have removed its label.

        Raises:
            KubeError: A retry may help.
        """
        owned = self._secrets.by_index(BY_DEFINITION, str(definition.key))
        former = ObjectKey(definition.metadata.namespace, definition.status.secret_name)
        if former.name not in ("", desired.name) and all(secret.key != former for secret in owned):
            found = await self._get(definition, former)
            owned += [] if found is None or str(definition.key) not in definition_of(found) else [found]
        stale, copies = other_secrets(definition, desired, owned)
        with redact_errors(desired.values):
            if stale:
                await self.check_replaced(definition, by=desired.name)
            for deletion in stale:
                with suppress(NotFound):
                    await self._execute(deletion)
        return copies

    async def get_with_managers(self, definition: SecretDefinition, key: ObjectKey) -> ManagedSecret | None:
        """Get a Secret with its managed fields.

        Raises:
            KubeError: A retry may help.
        """
        return await self._read(MANAGED_SECRETS, definition, key)

    async def _write(
        self, definition: SecretDefinition, desired: Desired, decision: Write, *, seen_before: bool, restarts: str
    ) -> WriteResult | Problem:
        key = ObjectKey(definition.metadata.namespace, desired.name)
        claimed, wrote, replaces, based_on = Claim.OWNED, False, False, None
        for _ in range(ATTEMPTS):
            if not isinstance(decision, Create):
                claimed, based_on = decision.claim, version_of(decision.current)
            obstacle = await self._find_obstacle(
                definition, desired, decision, seen_before=seen_before and not replaces, restarts=restarts
            )
            if obstacle is not None:
                return obstacle
            if isinstance(decision, Delete):
                replaces = True
                self._replaced.note(definition, decision.current)
            try:
                current, warnings = await self._send(decision, replaces=replaces)
                wrote = True
                if current is not None:
                    return WriteResult(current, claimed, wrote, join_warnings(warnings, desired))
            except (Invalid, Forbidden) as error:
                return rejected(error, desired)
            except (AlreadyExists, Conflict, NotFound) as error:
                current = await self._get(definition, key)
                if version_of(current) == based_on:
                    return rejected(error, desired)  # nothing has changed: a webhook chooses the code of its denial
                based_on = version_of(current)
            following = self.decide(definition, desired, current, restarts=restarts)
            if following is None or isinstance(following, Problem):
                return following or WriteResult(current, claimed, wrote)
            decision = following
        raise TooManyConflicts(f"Secret {key.name}: others change it faster than it can be written")

    async def _find_obstacle(
        self, definition: SecretDefinition, desired: Desired, decision: Write, *, seen_before: bool, restarts: str
    ) -> Problem | None:
        """Look at what takes its place, and at definitions, before a write takes something away.

        Raises:
            Conflict: The definition has changed: the watch is behind.
            KubeError: A retry may help.
        """
        if isinstance(decision, Delete):
            after = new_secret(definition, desired, now=self._now(), before=decision.current, restarts=restarts)
            if (refusal := await self._find_refusal(after)) is not None:
                return rejected(refusal, desired)
        if isinstance(decision, Delete) or (isinstance(decision, Create) and seen_before):
            await self.check_unchanged(definition)
        if isinstance(decision, Create) or decision.claim is not Claim.ADOPTED:
            return None
        present = await self._find_holder(decision.current)
        return None if present is None else not_owned(decision.current, present)

    async def _find_refusal(self, secret: Secret) -> KubeError | None:
        """Have Kubernetes check a Secret that replaces one of the same name, which still counts in a quota.

        A full quota has room for it then; one that is exceeded already, since it was lowered, does not.

        Raises:
            KubeError: A retry may help.
        """
        meta = secret.metadata
        try:
            await self._client.create(SECRETS, meta.namespace, secret, dry_run=True)
        except (AlreadyExists, Conflict, NotFound, Invalid, Forbidden) as refusal:
            if isinstance(refusal, Forbidden) and refusal.by_full_quota:
                return None
            accepted = (f'secrets "{meta.name}" already exists', NO_DRY_RUN)
            return None if any(words in refusal.server_message for words in accepted) else refusal
        return None

    async def _send(self, decision: Write, *, replaces: bool) -> tuple[CurrentSecret | None, list[str]]:
        """Send a write: again and again for a moment, where a full quota still counts the Secret that it replaces.

        Returns the Secret after it, and the warnings.
        """
        warnings: list[str] = []
        for pause in QUOTA_PAUSES if replaces and isinstance(decision, Create) else ():
            try:
                return await self._execute(decision, on_warning=warnings.append), warnings
            except Forbidden as refusal:
                if not refusal.by_full_quota:
                    raise
            await trio.sleep(pause)
            warnings.clear()
        return await self._execute(decision, on_warning=warnings.append), warnings

    async def _execute(
        self, decision: Create | Patch | Delete, *, on_warning: WarningHandler | None = None
    ) -> CurrentSecret | None:
        """Send a write. Returns the Secret after it."""
        match decision:
            case Create(secret):
                return self._apply(
                    await self._client.create(SECRETS, secret.metadata.namespace, secret, on_warning=on_warning)
                )
            case Patch(current, body):
                return self._apply(await self._client.patch(SECRETS, current.key, body, on_warning=on_warning))
            case Delete(current):
                meta = current.metadata
                await self._client.delete(SECRETS, current.key, uid=meta.uid, resource_version=meta.resource_version)
                self._secrets.remove(current.key, meta.resource_version)
                _log("Secret deleted", current.key)
                return None

    def _apply(self, secret: CurrentSecret) -> CurrentSecret:
        self._secrets.apply(secret)
        _log("Secret written", secret.key)
        return secret

    def _makers(self, secret: CurrentSecret) -> list[SecretDefinition]:
        """Return the definitions that the marks of the Secret name."""
        labelled = self._definitions.by_index(BY_UID, secret.metadata.labels.get(OWNER, ""))
        named = self._definitions.get(secret.key._replace(name=maker_of(secret)))
        return labelled if named is None else [*labelled, named]

    async def _find_holder(self, secret: CurrentSecret) -> SecretDefinition | None:
        """The same for a Secret that is to be taken over, by asking for the definition that its annotation names."""
        name = orphan_of(secret)
        if not is_object_name(name):
            return None
        try:
            found = await self._client.get(SECRET_DEFINITIONS, secret.key._replace(name=name))
        except NotFound:
            return None
        return holder(secret, [found])

    async def check_unchanged(self, definition: SecretDefinition) -> None:
        """Get the definition before what is in the cluster for it is removed or made again: the watch may be behind.

        Raises:
            Conflict: It has changed.
        """
        with suppress(NotFound):
            present = await self._client.get(SECRET_DEFINITIONS, definition.key)
            if present.is_equivalent_to(definition):
                return
        raise Conflict(f"SecretDefinition {definition.key} has changed meanwhile", code=HTTPStatus.CONFLICT)

    async def check_replaced(self, definition: SecretDefinition, *, by: str) -> None:
        """Look for its Secret, and get the definition, before what that replaces is removed: the watches may be behind.

        Raises:
            Conflict: The definition has changed, or the Secret is gone.
        """
        key = definition.key._replace(name=by)
        if await self._read(MERGED_SECRETS, definition, key) is None:
            raise Conflict(f"Secret {key} has been deleted meanwhile", code=HTTPStatus.CONFLICT)
        await self.check_unchanged(definition)  # the last: an orphan stays where its definition goes

    async def _get(self, definition: SecretDefinition, key: ObjectKey) -> CurrentSecret | None:
        return await self._read(SECRETS, definition, key)

    async def _read(self, resource: Resource[T], definition: SecretDefinition, key: ObjectKey) -> T | None:
        try:
            return await self._client.get(resource, key)
        except NotFound:
            return None
        except KubeError:
            self._metrics.secrets.read_error(definition.key)
            raise


def version_of(secret: KubeObject | None) -> str:
    """Return the resourceVersion; empty for no Secret."""
    return "" if secret is None else secret.metadata.resource_version


@contextmanager
def redact_errors(values: Iterable[bytes] | None) -> Generator[None]:
    """Redact errors that may contain one of the values."""
    try:
        yield
    except KubeError as error:
        raise redact(error, values) from None


def rejected(error: KubeError, desired: Desired) -> Problem:
    """Return the problem of a write that Kubernetes refuses."""
    text = redact(error, desired.values)
    return Problem(Reason.SECRET_REJECTED, f"Kubernetes refuses Secret {desired.name}: {text}")


def join_warnings(warnings: list[str], desired: Desired) -> str:
    """Return the warnings as one text, which is withheld if it may contain a value."""
    text = "; ".join(warnings)
    return WITHHELD if text and may_contain_value(text, desired.values) else text


def _log(message: str, key: ObjectKey) -> None:
    log.info(message, extra={"fields": {"namespace": key.namespace, "secret": key.name}})
