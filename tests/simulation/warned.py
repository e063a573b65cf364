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
    answered: bool = False
    """Whether its answer has reached the replica."""


class LastWrites:
    """By Secret."""

    def __init__(self) -> None:
        self._writes: dict[Key, LastWrite] = {}

    def stored(self, secret: Key, who: str, shown: str) -> None:
        """Record a write that Kubernetes has accepted."""
        self._writes[secret] = LastWrite(who, shown)

    def answered(self, secret: Key, who: str) -> None:
        """Record that the replica has got the answer."""
        if (write := self._writes.get(secret)) is not None and write.who == who:
            self._writes[secret] = write._replace(answered=True)

    def expected(self, secret: Key, leader: str) -> set[str]:
        """Return the warnings that a status may show: exactly one where the writer got the answer and still leads."""
        write = self._writes.get(secret)
        if write is None:
            return {""}
        return {write.shown} if write.answered and write.who == leader else {"", write.shown}
