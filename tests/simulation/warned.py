"""Remember what Kubernetes warned of at the last write of each Secret, to compare it with what the statuses show."""

from typing import NamedTuple

from fake_kubernetes.storage import Key

WARNS = ", and Kubernetes warns: "
"""Stands before the warning in the message of Ready."""
WITHHELD = "the server's message is withheld: it may quote a value"
"""Is shown in place of a warning that quotes a value."""


class LastWrite(NamedTuple):
    """A write that succeeded. `shown` is what the status may say of its warning; empty without one."""

    who: str
    shown: str
    maybe: frozenset[str]
    """What the status may say if the answer is lost: of this write, of one before, or nothing."""
    answered: bool = False
    """Whether its answer has reached the replica."""


class LastWrites:
    """By Secret, and by the definition that merges keys into it; for a whole Secret that is empty."""

    def __init__(self) -> None:
        self._writes: dict[tuple[Key, str], LastWrite] = {}

    def stored(self, secret: Key, merger: str, who: str, shown: str) -> None:
        """Record a write that Kubernetes has accepted."""
        before = self._writes.get((secret, merger))
        kept = before.maybe if before is not None and not before.answered else {before.shown if before else ""}
        self._writes[secret, merger] = LastWrite(who, shown, frozenset({"", shown, *kept}))

    def answered(self, secret: Key, merger: str, who: str) -> None:
        """Record that the replica has got the answer."""
        if (write := self._writes.get((secret, merger))) is not None and write.who == who:
            self._writes[secret, merger] = write._replace(answered=True)

    def expected(self, secret: Key, merger: str, leader: str) -> frozenset[str]:
        """Return the warnings that a status may show: exactly one where the writer got the answer and still leads."""
        write = self._writes.get((secret, merger))
        if write is None:
            return frozenset({""})
        return frozenset({write.shown}) if write.answered and write.who == leader else write.maybe
