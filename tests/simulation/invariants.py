"""Check what must hold at every moment, by what the servers see and by the log: nothing here asks the program."""

import base64
import logging
import re
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar

import msgspec
import trio

from fake_kubernetes.documents import Object, at, items, mapping, text
from fake_kubernetes.storage import Change, Key, Storage
from tests.controller.invariants import robbed, violations
from tests.managed_fields import MERGER, managers
from tests.simulation.merging import adopts, owner
from tests.simulation.pausing import REPLICA
from tests.simulation.properties import Property
from tests.simulation.restarts import Restarts
from tests.simulation.servers import DEFINITIONS, ITSELF, NAMESPACES, USERS, Kubernetes
from tests.simulation.steps import Call, Step

HIDDEN = ("canary-", base64.b64encode(b"canary").decode())
"""The marker in every value, token and credential, plain and in base64."""
OF_ALL = ("backend unavailable", "can't keep the Vault token valid")
"""Parts of log lines about Vault as a whole."""
VALUE = re.compile(r"canary-(\S+?)-(\d+)-k\d")
PINNED = "pinned"
"""A part of the keys that have a fixed version."""
ORPHAN_OF = "secrets-manager.tuenti.io/definition"
"""Annotation on a Secret without an owner: its definition."""
WRITTEN_AS = "secrets-manager.tuenti.io/name"
OWN_CONDITIONS = {"Ready", "Stalled", "Reconciling", "RolloutRestart"}
UNSEEN = 60.0
"""Seconds in which a replica may not have seen that a Secret is no longer given away, is wanted again, or no longer."""
WINDOW = 60.0
AT_MOST: dict[Step, int] = {
    Step.LIST: 150,
    Step.WATCH: 150,
    Step.GET: 500,
    Step.WRITE: 500,
    Step.STATUS: 500,
    Step.EVENT: 360,
    Step.LEASE: 150,
    Step.READ: 600,
    Step.LISTING: 400,
    Step.LOGIN: 60,
    Step.TOKEN: 132,
    Step.HEALTH: 12,
}
"""The largest number of requests of a replica within the window: far beyond what a dozen definitions need.

A token that others revoke costs a login and two lookups, of that token and of the next one; 12 are polls.
"""
AT_MOST_OF_ONE = 40
"""The same for writes of one Secret."""

abandoned_by_sender: ContextVar[bool] = ContextVar("abandoned_by_sender", default=False)
"""Whether the sender of the current request no longer waits for it."""


class InvariantChecker:
    """Calls `fail` with each violation."""

    def __init__(self, fail: Callable[[Property, str], None], *, one_leader: bool) -> None:
        self._fail = fail
        self._one_leader = one_leader
        self.restarts = Restarts()
        self._newest: dict[tuple[str, str, str, str], int] = {}
        self._given_away: dict[tuple[str, str], float] = {}
        """When a definition changed that could adopt a Secret."""
        self._wanted: dict[tuple[str, str], float] = {}
        """When the definition of this name came to want its Secret."""
        self._unwanted: dict[tuple[str, str], float] = {}
        """When a definition ceased to want a Secret of this name."""
        self._in_another_form: dict[tuple[str, str], float] = {}
        """When a definition ceased to want a Secret of this name, which had to be deleted first to be of its type."""
        self._definition_read: dict[tuple[str, Key], int] = {}
        """The revision at which a replica has read a definition last."""
        self._written: defaultdict[Key, deque[float]] = defaultdict(lambda: deque(maxlen=AT_MOST_OF_ONE))
        self._sent: defaultdict[tuple[str, Step], deque[float]] = defaultdict(deque)

    def sent(self, call: Call, kubernetes: Kubernetes) -> None:
        """Check a request that a replica sends."""
        now = trio.current_time()
        sent = self._sent[call.who, call.step]
        sent.append(now)
        while sent[0] < now - WINDOW:
            sent.popleft()
        if len(sent) > AT_MOST[call.step]:
            self._fail(Property.RATE, f"{len(sent)} times {call} within {WINDOW:g} s")
        if self._one_leader and call.writes and call.step in (Step.WRITE, Step.STATUS, Step.EVENT):
            holder = kubernetes.holder
            if holder != call.who:
                self._fail(Property.SINGLE_WRITER, f"{call} while {holder or 'no replica'} leads")

    def definition_read(self, who: str, key: Key, revision: int) -> None:
        """Note that a replica reads a definition."""
        self._definition_read[who, key] = revision

    def changed(self, kubernetes: Kubernetes, change: Change, writer: str) -> None:
        """Check a change in the storage of Kubernetes."""
        for problem in self.restarts.changed(change, by_program=writer not in (USERS, ITSELF)):
            self._fail(Property.RESTARTS, f"{problem}, by {writer}")
        if writer != USERS and change.key.resource == "secrets" and change.after is None:
            self._check_orphan(kubernetes, change, writer)
        if change.key.resource == DEFINITIONS:
            self._note_definition(kubernetes, change)
        if writer in (USERS, ITSELF):
            return
        if change.key.resource != "secrets":
            self._check_text(change)
            self._check_conditions(change)
            return
        self._check_ownership(kubernetes, change, writer)
        self._check_copy(kubernetes, change)
        written = self._written[change.key]
        written.append(trio.current_time())
        if written[0] > trio.current_time() - WINDOW and len(written) == written.maxlen:
            self._fail(Property.RATE, f"{change.key} is written {len(written)} times within {WINDOW:g} s")
        if change.after is not None:
            self._check_versions(change.key, change.after, may_be_late=change.before is None)

    def logged(self, line: str) -> None:
        if any(hidden in line for hidden in HIDDEN):
            self._fail(Property.SECRECY, line)
        named = [namespace for namespace in NAMESPACES if namespace in line]
        if len(named) > 1 or (named and any(words in line for words in OF_ALL)):
            self._fail(Property.ISOLATION, line)

    def exposed(self, metrics: str) -> None:
        """Check the metrics."""
        for line in metrics.splitlines():
            if any(hidden in line for hidden in HIDDEN):
                self._fail(Property.SECRECY, line)

    def _check_text(self, change: Change) -> None:
        content = msgspec.json.encode(change.after).decode()
        if any(hidden in content for hidden in HIDDEN):
            self._fail(Property.SECRECY, f"{change.key}: {content}")
        others = [each for each in NAMESPACES if each != change.key.namespace and each in content]
        if others and change.key.namespace in NAMESPACES:
            self._fail(Property.ISOLATION, f"{change.key} names {others}: {content}")

    def _note_definition(self, kubernetes: Kubernetes, change: Change) -> None:
        namespace, now = change.key.namespace, trio.current_time()
        old = (namespace, text(change.before, "spec", "name"))
        if adopts(change.before):
            self._given_away[old] = now
        if mapping(change.before, "spec") != mapping(change.after, "spec"):
            self._wanted[namespace, change.key.name] = now
            self._unwanted[old] = now
            secret = kubernetes.objects("secrets").get(Key("secrets", *old))
            if secret is not None and owner(secret) and _is_of_another_form(change.before, secret):
                self._in_another_form[old] = now

    def _check_ownership(self, kubernetes: Kubernetes, change: Change, writer: str) -> None:
        allowed_until = self._in_another_form if change.after is None else self._given_away
        storage = kubernetes.cluster.storage
        for violation in violations(storage, [change]):
            if not _is_seen(allowed_until, change.key):
                continue
            read_at = self._read_before(change, writer, storage)
            if read_at < storage.compacted or violations(storage, [change], read_at=read_at):
                self._fail(Property.OWNERSHIP, f"{violation}, by {writer}")
        for name in robbed(kubernetes.cluster.storage, change):
            if _is_seen(self._wanted, change.key._replace(name=name)):
                self._fail(Property.OWNERSHIP, f"{change.key} is taken from {name}, by {writer}")

    def _read_before(self, change: Change, writer: str, storage: Storage) -> int:
        """Return the revision at which a replica read the definitions of a Secret that it changes; 0 if it did not.

        What they want from then until the request arrives, it can't know.
        """
        if change.before is None:
            return 0
        owners = [text(each, "name") for each in items(change.before, "metadata", "ownerReferences")]
        mergers = [each.removeprefix(MERGER) for each in managers(change.before)]
        names = {*owners, *mergers, text(change.before, "metadata", "annotations", ORPHAN_OF)}
        return max(
            (
                revision
                for (who, key), revision in self._definition_read.items()
                if who == writer and key.namespace == change.key.namespace
                if key.name in names or _named(storage, key, revision) == change.key.name
            ),
            default=0,
        )

    def _check_copy(self, kubernetes: Kubernetes, change: Change) -> None:
        """Expect that a copy of a Secret under a name that no definition has is never changed."""
        key, before = change.key, change.before
        written_as = text(before, "metadata", "annotations", WRITTEN_AS)
        wanted = (
            text(each, "spec", "name")
            for place, each in kubernetes.objects(DEFINITIONS).items()
            if place.namespace == key.namespace
        )
        if written_as not in ("", key.name) and key.name not in wanted and _is_seen(self._unwanted, key):
            self._fail(Property.OWNERSHIP, f"{key} is changed, a copy of {written_as}")

    def _check_orphan(self, kubernetes: Kubernetes, change: Change, writer: str) -> None:
        """Expect that a Secret without an owner stays when its definition goes, unless another one adopts it."""
        key, name = change.key, text(change.before, "metadata", "annotations", ORPHAN_OF)
        if not name or items(change.before, "metadata", "ownerReferences") or kubernetes.is_going(key.namespace):
            return

        def is_gone(definitions: Mapping[Key, Object]) -> bool:
            definition = definitions.get(Key(DEFINITIONS, key.namespace, name))
            replaced = writer != ITSELF and any(
                place.namespace == key.namespace and _replaces(each, key.name, change.before)
                for place, each in definitions.items()
            )
            return not replaced and (definition is None or bool(text(definition, "metadata", "deletionTimestamp")))

        storage = kubernetes.cluster.storage
        if not is_gone(storage.objects(DEFINITIONS)):
            return
        read_at = self._read_before(change, writer, storage)
        if read_at < storage.compacted or is_gone(storage.objects(DEFINITIONS, revision=read_at)):
            self._fail(Property.OWNERSHIP, f"{key} is deleted by {writer}, an orphan of {name}, which has gone")

    def _check_conditions(self, change: Change) -> None:
        """Expect that the conditions of other programs stay, and that ours say since when they are so."""
        if change.after is None:
            return
        before, after = (
            {text(each, "type"): each for each in items(document, "status", "conditions")}
            for document in (change.before, change.after)
        )
        if lost := before.keys() - after.keys() - OWN_CONDITIONS:
            self._fail(Property.OWNERSHIP, f"{change.key} has lost the conditions {lost}")
        for kind in before.keys() & after.keys():
            was, is_ = (
                (text(each, "status"), text(each, "lastTransitionTime")) for each in (before[kind], after[kind])
            )
            if was[0] == is_[0] and was[1] != is_[1]:
                self._fail(Property.TRANSITIONS, f"{kind} of {change.key} is {was[0]} since {was[1]}, not {is_[1]}")

    def _check_versions(self, key: Key, secret: Object, *, may_be_late: bool) -> None:
        """`may_be_late`: a creation that its sender has given up may arrive after a newer Secret has been deleted."""
        found: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        merger = {name: each for each, names in managers(secret).items() if each.startswith(MERGER) for name in names}
        is_ours = bool(owner(secret))
        for name, value in mapping(secret, "data").items():
            if PINNED in name or not (is_ours or name in merger):
                continue
            for match in VALUE.finditer(base64.b64decode(str(value)).decode(errors="replace")):
                found[match[1], merger.get(name, "")].add(int(match[2]))
        for (path, by), numbers in sorted(found.items()):
            place = (key.namespace, key.name, path, by)
            if len(numbers) > 1:
                self._fail(
                    Property.VERSION_ORDER, f"{key.namespace}/{key.name} holds a mixture of {path}: {sorted(numbers)}"
                )
            if max(numbers) < self._newest.get(place, 0) and not (may_be_late and abandoned_by_sender.get()):
                self._fail(
                    Property.VERSION_ORDER,
                    f"{key.namespace}/{key.name} holds {path} of {max(numbers)} after {self._newest[place]}",
                )
            self._newest[place] = max(self._newest.get(place, 0), *numbers)


def _is_seen(since: Mapping[tuple[str, str], float], key: Key) -> bool:
    """Whether each replica has seen the last of these changes that concerns a Secret."""
    return trio.current_time() >= since.get((key.namespace, key.name), -UNSEEN) + UNSEEN


def _named(storage: Storage, definition: Key, revision: int) -> str:
    """Return the name of the Secret that a definition wanted at a revision; empty where that is forgotten."""
    return text(storage.get(definition, revision=revision), "spec", "name") if revision >= storage.compacted else ""


def _replaces(definition: Object, name: str, secret: Object | None) -> bool:
    """Whether a definition adopts a Secret that can't be changed into its own."""
    return adopts(definition) and text(definition, "spec", "name") == name and _is_of_another_form(definition, secret)


def _is_of_another_form(definition: Object | None, secret: Object | None) -> bool:
    """Whether a Secret has to be deleted to become what a definition wants."""
    return bool(at(secret, "immutable")) or text(secret, "type") != (text(definition, "spec", "type") or "Opaque")


class LogLines(logging.Handler):
    """Passes on every line of the log, from DEBUG on, with its fields."""

    def __init__(self, listen: Callable[[str], None]) -> None:
        super().__init__(logging.DEBUG)
        self.lines: deque[str] = deque(maxlen=200)
        self._listen = listen
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname} {self._formatter.format(record)} {getattr(record, 'fields', {})}"
        self.lines.append(f"{trio.current_time():12.6f} {REPLICA.get()} {line}")
        self._listen(line)
