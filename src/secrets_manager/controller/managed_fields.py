"""Who changed a field last, as `metadata.managedFields` of an object tells.

Each entry is of one manager, and has a tree of the fields that it set: `{"f:data": {"f:password": {}}}`. Who changes a
field takes it over. A field that was removed is in nobody's tree.
"""

from collections.abc import Iterable

import msgspec

from secrets_manager.kube.objects import Wire

Path = tuple[str, ...]
"""The names on the way to a field; that of a list ends at the list."""

_branches = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ManagedFields(Wire, frozen=True):
    """One entry: what one manager set, and when it last did."""

    manager: str = ""
    time: str = ""
    fields_v1: msgspec.Raw = msgspec.Raw(b"{}")

    def has(self, path: Path) -> bool:
        """Whether the field at the path, or a part of it, is among what the manager set."""
        tree = self.fields_v1
        for name in path:
            try:
                branch = _branches.decode(tree).get(f"f:{name}")
            except msgspec.MsgspecError:
                return False
            if branch is None:
                return False
            tree = branch
        return True


def last_manager(entries: Iterable[ManagedFields], path: Path, *, but: str) -> str:
    """The manager, other than one, that set the field last; empty if nobody did."""
    others = [entry for entry in entries if entry.manager != but and entry.has(path)]
    return max(others, key=lambda entry: entry.time).manager if others else ""
