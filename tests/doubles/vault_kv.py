"""The key/value engines of the in-memory Vault."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

from fake_kubernetes.documents import Object

VERSIONED = (
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. "
    "If using the OpenBao CLI, use 'bao kv get' for this operation."
)

FIRST = datetime(2020, 1, 1, tzinfo=UTC)

DELETED = "2020-01-02T00:00:00.123456789Z"
LATER = "2999-01-01T00:00:00.123456789Z"

KEPT = 10
"""Versions of a secret that a listing shows: a real one keeps no more, by default."""

_seconds = count()


def later() -> str:
    """Tell a time that is later than all before, as Vault writes it."""
    return _written(FIRST + timedelta(seconds=next(_seconds)))


def _written(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.123456789Z"


@dataclass(frozen=True)
class Read:
    """A status, and what stands in the reply's envelope."""

    status: int
    data: Object | None = None
    warnings: tuple[str, ...] = ()
    lease_duration: int = 0


MISSING = Read(404)


class Mount(Protocol):
    def write(self, path: str, content: Object | None) -> None: ...

    def read(self, path: str, version: int) -> Read: ...


class Kv1:
    """One content for each path."""

    def __init__(self) -> None:
        self._contents: dict[str, Object] = {}

    def write(self, path: str, content: Object | None) -> None:
        self._contents[path] = content or {}

    def read(self, path: str, version: int) -> Read:
        if path not in self._contents:
            return MISSING
        return Read(200, self._contents[path], lease_duration=2764800)


@dataclass
class Version:
    content: Object | None
    created_time: str
    deletion_time: str = ""
    destroyed: bool = False

    @property
    def gone(self) -> bool:
        return self.destroyed or "" < self.deletion_time <= _written(datetime.now(UTC))


@dataclass
class History:
    versions: list[Version] = field(default_factory=list)
    deletion_time: str = ""
    """Of the versions to come."""


class Kv2:
    """Versions of each path, under data/."""

    def __init__(self) -> None:
        self._histories: dict[str, History] = {}

    def write(self, path: str, content: Object | None) -> None:
        history = self._histories.setdefault(path.removeprefix("data/"), History())
        history.versions.append(Version(content, later(), history.deletion_time))

    def read(self, path: str, version: int) -> Read:
        if not path.startswith("data/"):
            return Read(404, warnings=(VERSIONED,))
        history = self._histories.get(path.removeprefix("data/"))
        if history is None or not history.versions or version > len(history.versions):
            return MISSING
        number = version or len(history.versions)
        found = history.versions[number - 1]
        metadata: Object = {
            "created_time": found.created_time,
            "custom_metadata": None,
            "deletion_time": found.deletion_time,
            "destroyed": found.destroyed,
            "version": number,
        }
        return Read(404 if found.gone else 200, {"data": None if found.gone else found.content, "metadata": metadata})

    def listing(self, path: str, *, after: str, limit: int) -> Read:
        """A page of OpenBao's listing with the versions of each secret."""
        folder = path.removeprefix("detailed-metadata/")
        inside = {
            key.removeprefix(folder): history for key, history in self._histories.items() if key.startswith(folder)
        }
        folders = {f"{name.partition('/')[0]}/" for name in inside if "/" in name}
        names = sorted(folders.union(name for name in inside if "/" not in name))
        keys = [name for name in names if name > after][:limit]
        if not keys or not path.startswith("detailed-metadata/"):
            return MISSING
        return Read(
            200, {"keys": [*keys], "key_info": {key: _described(inside.get(key.removesuffix("/"))) for key in keys}}
        )

    def delete(self, path: str) -> None:
        self._newest(path).deletion_time = DELETED

    def undelete(self, path: str) -> None:
        self._newest(path).deletion_time = ""

    def delete_later(self, path: str) -> None:
        history = self._histories.setdefault(path.removeprefix("data/"), History())
        history.deletion_time = LATER

    def destroy(self, path: str) -> None:
        newest = self._newest(path)
        newest.content, newest.destroyed = None, True

    def forget(self, path: str) -> None:
        del self._histories[path.removeprefix("data/")]

    def _newest(self, path: str) -> Version:
        return self._histories[path.removeprefix("data/")].versions[-1]


def _described(history: History | None) -> Object:
    """What a listing tells of one secret, and of a folder of the same name; nothing of another folder."""
    if history is None:
        return {}
    versions: Object = {
        str(number): {
            "created_time": version.created_time,
            "deletion_time": version.deletion_time,
            "destroyed": version.destroyed,
        }
        for number, version in [*enumerate(history.versions, start=1)][-KEPT:]
    }
    return {"current_version": len(history.versions), "versions": versions}
