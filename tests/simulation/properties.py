"""What must hold at every moment, judged by what the servers see and by what is logged; nothing asks the program."""

import base64
import logging
import re
from collections import defaultdict, deque
from collections.abc import Callable
from contextvars import ContextVar

import msgspec
import trio

from secrets_manager.demo.api.documents import Object, mapping
from secrets_manager.demo.api.storage import Change, Key
from tests.controller.invariants import violations
from tests.simulation.pausing import REPLICA
from tests.simulation.promises import Promise
from tests.simulation.servers import ITSELF, NAMESPACES, PEOPLE, Kubernetes
from tests.simulation.steps import Ask, Step

HIDDEN = ("canary-", base64.b64encode(b"canary").decode())
"""What every value, token and login has in it; and what every value has that is shown in base64."""
OF_ALL = ("the backend is unavailable", "can't keep the Vault token valid")
"""Log lines that speak of Vault as a whole."""
VALUE = re.compile(r"canary-(.+)-(\d+)-k\d")
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
    Step.TOKEN: 90,
    Step.HEALTH: 12,
}
"""Requests of a replica within the window. With a dozen definitions none comes near, unless it goes in a circle."""
AT_MOST_OF_ONE = 40
"""Writes of one Secret within it. People change its values every few seconds, at most."""

given_up: ContextVar[bool] = ContextVar("given_up", default=False)
"""Whether the request that is handled has been given up by its sender meanwhile."""


class Always:
    """Tells `fail` of everything that must not be."""

    def __init__(self, fail: Callable[[Promise, str], None], *, one_leader: bool) -> None:
        self._fail = fail
        self._one_leader = one_leader
        self._newest: dict[tuple[str, str, str], int] = {}
        self._written: defaultdict[Key, deque[float]] = defaultdict(lambda: deque(maxlen=AT_MOST_OF_ONE))
        self._sent: defaultdict[tuple[str, Step], deque[float]] = defaultdict(deque)

    def sent(self, ask: Ask, kubernetes: Kubernetes) -> None:
        """A request leaves a replica."""
        now = trio.current_time()
        sent = self._sent[ask.who, ask.step]
        sent.append(now)
        while sent[0] < now - WINDOW:
            sent.popleft()
        if len(sent) > AT_MOST[ask.step]:
            self._fail(Promise.PACE, f"{len(sent)} times {ask} within {WINDOW:g} s")
        if self._one_leader and ask.writes and ask.step in (Step.WRITE, Step.STATUS, Step.EVENT):
            holder = kubernetes.holder
            if holder != ask.who:
                self._fail(Promise.ONE_WRITER, f"{ask} while {holder or 'no replica'} leads")

    def changed(self, kubernetes: Kubernetes, change: Change, writer: str) -> None:
        """Kubernetes has stored something."""
        if writer in (PEOPLE, ITSELF):
            return
        if change.key.resource != "secrets":
            self._tells(change)
            return
        for violation in violations(kubernetes.cluster.storage, [change]):
            self._fail(Promise.OURS, f"{violation}, by {writer}")
        written = self._written[change.key]
        written.append(trio.current_time())
        if written[0] > trio.current_time() - WINDOW and len(written) == written.maxlen:
            self._fail(Promise.PACE, f"{change.key} is written {len(written)} times within {WINDOW:g} s")
        if change.after is not None:
            self._versions(change.key, change.after)

    def logged(self, line: str) -> None:
        if any(hidden in line for hidden in HIDDEN):
            self._fail(Promise.SECRECY, line)
        named = [namespace for namespace in NAMESPACES if namespace in line]
        if len(named) > 1 or (named and any(words in line for words in OF_ALL)):
            self._fail(Promise.SEPARATION, line)

    def exposed(self, metrics: str) -> None:
        """A scrape."""
        for line in metrics.splitlines():
            if any(hidden in line for hidden in HIDDEN):
                self._fail(Promise.SECRECY, line)

    def _tells(self, change: Change) -> None:
        content = msgspec.json.encode(change.after).decode()
        if any(hidden in content for hidden in HIDDEN):
            self._fail(Promise.SECRECY, f"{change.key}: {content}")
        others = [each for each in NAMESPACES if each != change.key.namespace and each in content]
        if others and change.key.namespace in NAMESPACES:
            self._fail(Promise.SEPARATION, f"{change.key} names {others}: {content}")

    def _versions(self, key: Key, secret: Object) -> None:
        found: defaultdict[str, set[int]] = defaultdict(set)
        for value in mapping(secret, "data").values():
            if match := VALUE.fullmatch(base64.b64decode(str(value)).decode(errors="replace")):
                found[match[1]].add(int(match[2]))
        for path, numbers in sorted(found.items()):
            place = (key.namespace, key.name, path)
            if len(numbers) > 1:
                self._fail(Promise.VERSIONS, f"{key.namespace}/{key.name} holds a mixture of {path}: {sorted(numbers)}")
            if max(numbers) < self._newest.get(place, 0) and not given_up.get():
                self._fail(
                    Promise.VERSIONS,
                    f"{key.namespace}/{key.name} holds {path} of {max(numbers)} after {self._newest[place]}",
                )
            self._newest[place] = max(self._newest.get(place, 0), *numbers)


class LogLines(logging.Handler):
    """Every line that the program logs, from DEBUG on, with all that is attached to it."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__(logging.DEBUG)
        self.lines: deque[str] = deque(maxlen=200)
        self._hear = hear
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname} {self._formatter.format(record)} {getattr(record, 'fields', {})}"
        self.lines.append(f"{trio.current_time():12.6f} {REPLICA.get()} {line}")
        self._hear(line)
