"""Find the last manager of a field in `metadata.managedFields`.

Each entry has a manager and a tree of the fields that it owns: `{"f:data": {"f:password": {}}}`. A change takes over
the field. A removed field is in no tree.
"""

from collections.abc import Iterable

import msgspec

from secrets_manager.kube.objects import Wire

FieldPath = tuple[str, ...]
"""The path of a field, without items of lists."""

_branches = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ManagedFields(Wire, frozen=True):
    """An entry: what a manager owns, and when it last changed it."""

    manager: str = ""
    operation: str = ""
    time: str = ""
    fields_v1: msgspec.Raw = msgspec.Raw(b"{}")

    def owns(self, path: FieldPath) -> bool:
        """Whether the manager owns the field at the path, or a part of it."""
        return self._tree(path) is not None

    def below(self, path: FieldPath) -> frozenset[str]:
        """Return the names of the fields right below the path of which the manager owns any part."""
        tree = self._tree(path)
        try:
            names = _branches.decode(tree) if tree is not None else {}
        except msgspec.MsgspecError:
            return frozenset()
        return frozenset(name.removeprefix("f:") for name in names if name.startswith("f:"))

    def _tree(self, path: FieldPath) -> msgspec.Raw | None:
        tree = self.fields_v1
        for name in path:
            try:
                branch = _branches.decode(tree).get(f"f:{name}")
            except msgspec.MsgspecError:
                return None
            if branch is None:
                return None
            tree = branch
        return tree


def last_manager(entries: Iterable[ManagedFields], path: FieldPath, *, exclude: str) -> str:
    """Return the last manager of the field other than `exclude`; empty if there is none."""
    others = [entry for entry in entries if entry.manager != exclude and entry.owns(path)]
    return max(others, key=lambda entry: entry.time).manager if others else ""
