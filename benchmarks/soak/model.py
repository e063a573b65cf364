"""What users have asked for, and what must have come of it once all is at rest. Pure: no server is asked.

The store has a pool of paths in a few folders; a definition takes its keys from some of them. A few definitions can't
be satisfied: their path was never written, or lacks the field.

No path is forbidden: such a one is read again and again, and each of its answers would tell the program that a store
is back which was away. Without it, only the program's own care finds that out at rest.
"""

import random
from enum import Enum, auto
from typing import NamedTuple

import msgspec

from fake_kubernetes.documents import Object
from secrets_manager.controller.definition import Reason

FOLDERS, PATHS, FIELDS = 2, 200, 4
NAMESPACES = tuple(f"soak-{number}" for number in range(4))
READABLE = "secret/data/soak"
GRANTED = (f"{READABLE}/*", "secret/detailed-metadata/soak/*")
"""What the program's policy lets it read and list."""


class Kind(Enum):
    """Whether a definition can be satisfied, and if not, why."""

    USUAL = auto()
    NEVER_WRITTEN = auto()
    NO_SUCH_FIELD = auto()


KINDS = {Kind.USUAL: 92, Kind.NEVER_WRITTEN: 5, Kind.NO_SUCH_FIELD: 3}
"""Each with its share, in percent."""


class Content(msgspec.Struct):
    """What stands at a path."""

    serial: int = 0
    """Number of the write that made the newest version: it is in all values, so no two writes are alike."""
    version: int = 0
    """As the store counts them; 0 where nothing was written, or all was forgotten."""
    deleted: bool = False

    @property
    def readable(self) -> bool:
        return self.version > 0 and not self.deleted


class Place(NamedTuple):
    """Where a key of a Secret comes from."""

    path: str
    field: str


class Definition(msgspec.Struct):
    """One that is live."""

    namespace: str
    name: str
    kind: Kind
    secret: str
    keys: dict[str, Place]
    has_secret: bool = False
    """It was in sync at the last rest, and its Secret was not deleted since."""

    @property
    def spec(self) -> Object:
        keys_map: Object = {key: {"path": place.path, "key": place.field} for key, place in self.keys.items()}
        return {"name": self.secret, "keysMap": keys_map}


class Expected(NamedTuple):
    """What must have come of a definition at rest."""

    reason: Reason
    values: dict[str, str] | None
    """The Secret's; None where it stays as it is."""


class Model:
    """Grows by what users do: see users.py."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._serial = 0
        self._named = 0
        self.contents = {f"{READABLE}/folder-{number % FOLDERS}/app-{number}": Content() for number in range(PATHS)}
        self.definitions: dict[tuple[str, str], Definition] = {}

    def write(self, path: str) -> dict[str, str]:
        """The values of a new version."""
        self._serial += 1
        content = self.contents[path]
        content.serial, content.version, content.deleted = self._serial, content.version + 1, False
        return self._values(path)

    def define(self, kind: Kind, namespace: str = "", name: str = "") -> Definition:
        """A new definition: of a name not used before, unless one is given."""
        namespace = namespace or self._chance.choice(NAMESPACES)
        name = name or f"app-{self._next_name()}"
        made = Definition(namespace, name, kind, secret=name, keys=self._keys(kind))
        self.definitions[namespace, name] = made
        return made

    def change(self, definition: Definition) -> None:
        """It takes other keys from other places."""
        definition.keys = self._keys(definition.kind)

    def rename(self, definition: Definition) -> None:
        """Its Secret gets a name not used before."""
        definition.secret = f"{definition.name}-{self._next_name()}"

    def expected(self, definition: Definition) -> Expected:
        values: dict[str, str] = {}
        for key, (path, field) in definition.keys.items():
            content = self.contents.get(path, Content())
            if not content.readable or field not in self._values(path):
                return Expected(Reason.SOURCE_NOT_FOUND, None)
            values[key] = self._values(path)[field]
        return Expected(Reason.SYNCED, values)

    def paths_in_use(self) -> set[str]:
        return {place.path for each in self.definitions.values() for place in each.keys.values()}

    def in_sync(self) -> None:
        """All is at rest, and as it must be."""
        for definition in self.definitions.values():
            definition.has_secret |= self.expected(definition).reason is Reason.SYNCED

    def _values(self, path: str) -> dict[str, str]:
        serial = self.contents[path].serial
        return {f"field-{number}": f"field {number} of write {serial} of {path}" for number in range(FIELDS)}

    def _keys(self, kind: Kind) -> dict[str, Place]:
        keys = {}
        for number in range(self._chance.randint(1, 4)):
            path = self._chance.choice(list(self.contents))
            keys[f"key-{number}"] = Place(path, f"field-{self._chance.randrange(FIELDS)}")
        match kind:
            case Kind.NEVER_WRITTEN:
                keys["key-0"] = Place(f"{READABLE}/folder-{self._next_name() % FOLDERS}/never-{self._named}", "field-0")
            case Kind.NO_SUCH_FIELD:
                keys["key-0"] = keys["key-0"]._replace(field="no-such-field")
            case _:
                pass
        return keys

    def _next_name(self) -> int:
        self._named += 1
        return self._named
