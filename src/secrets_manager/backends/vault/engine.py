"""The two versions of Vault's key/value engine: what one asks, and how one reads the answer.

They differ in where the keys stand: KV version 1 has them in `data`, version 2 in `data.data` beside `data.metadata`.
A path of the other version answers 200 just the same, so each knows what the other's answers look like and says so.
"""

import hashlib
import re
import secrets
from typing import Protocol

import msgspec

from secrets_manager.backends.base import Document, Folder, Place, Source, SourceMalformed, text_of
from secrets_manager.backends.vault.marker import live
from secrets_manager.backends.vault.path import VaultPath, shown
from secrets_manager.backends.vault.replies import decode
from secrets_manager.errors import UsageError

Raw = dict[str, msgspec.Raw]

_MARKER_KEY = secrets.token_bytes(32)
"""Drawn once a process: a marker tells whether two contents are equal, and nothing to whoever comes by one."""

_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_RFC_3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")


class Engine(Protocol):
    """One way to keep keys and values."""

    def params(self, source: Source) -> dict[str, str]:
        """The query of a read. Raises: SourceMalformed for a version that can't be."""
        ...

    def document(self, source: Source, body: bytes) -> Document:
        """What a 200 holds. Raises: SourceMalformed for what is not a secret of this engine."""
        ...

    def place(self, path: VaultPath, *, identity: str) -> Place | None:
        """Where a listing would show the newest version at this path; None where there are no listings."""
        ...


def engine_of(name: str) -> Engine:
    """Raises: UsageError."""
    match name:
        case "kv1":
            return KeyValue1()
        case "kv2":
            return KeyValue2()
        case _:
            raise UsageError(f"vault.engine {name!r} is unknown: it is kv1 or kv2")


class _Secret(msgspec.Struct, frozen=True):
    """What all replies to reads have. Only secrets that Vault made for this very request come with a lease."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    lease_id: str = ""


class _Metadata(msgspec.Struct, frozen=True):
    created_time: str
    version: int
    destroyed: bool


class _Versioned(msgspec.Struct, frozen=True):
    metadata: _Metadata
    data: Raw | None = None


class KeyValue1:
    """KV version 1: one content, which the next write replaces. Without versions its marker is a keyed digest."""

    def params(self, source: Source) -> dict[str, str]:
        if source.version is not None:
            raise SourceMalformed(f"path {shown(source.path)}: KV version 1 keeps no versions: leave the version out")
        return {}

    def document(self, source: Source, body: bytes) -> Document:
        data = _data(source, body)
        raw = decode(bytes(data), Raw)
        if raw is None:
            raise SourceMalformed(
                f"path {shown(source.path)}: Vault's answer holds no keys: is vault.engine right for it?"
            )
        if raw.keys() == {"data", "metadata"} and decode(bytes(data), _Versioned) is not None:
            raise SourceMalformed(f"path {shown(source.path)} is of KV version 2: set vault.engine=kv2")
        digest = hashlib.blake2b(bytes(data), key=_MARKER_KEY, digest_size=16)
        return Document(values=_values(source, raw), marker=digest.hexdigest())

    def place(self, path: VaultPath, *, identity: str) -> None:
        """Its listings tell names alone."""


class KeyValue2:
    """KV version 2: a version's content never changes, and one that was made anew has another time of creation."""

    def params(self, source: Source) -> dict[str, str]:
        if source.version is None:
            return {}
        if not _VERSION.fullmatch(source.version):
            raise SourceMalformed(
                f"path {shown(source.path)}: there is no version {shown(source.version)}: they are numbers from 1 on"
            )
        return {"version": source.version}

    def document(self, source: Source, body: bytes) -> Document:
        data = bytes(_data(source, body))
        versioned = decode(data, _Versioned)
        if versioned is None and decode(data, _Metadata) is None:
            raise SourceMalformed(
                f"path {shown(source.path)}: Vault's answer is no secret of KV version 2: "
                "correct the path, or set vault.engine=kv1"
            )
        if versioned is None or versioned.data is None:
            raise SourceMalformed(f"path {shown(source.path)} was written without any keys: write it anew")
        metadata = versioned.metadata
        if not is_time(metadata.created_time):
            raise SourceMalformed(f"path {shown(source.path)}: its created_time in Vault's answer is no time")
        return Document(
            values=_values(source, versioned.data),
            marker=live(metadata.version, metadata.created_time),
            version=metadata.version,
        )

    def place(self, path: VaultPath, *, identity: str) -> Place | None:
        """The newest version is in the listing of its folder."""
        parts = path.versioned
        if parts is None or not parts.below:
            return None
        *folder, name = path.segments
        return Place(Folder("/".join(folder), identity), name)


def is_time(text: str) -> bool:
    """Whether it has the form in which Vault tells a moment."""
    return _RFC_3339.fullmatch(text) is not None


def _data(source: Source, body: bytes) -> msgspec.Raw:
    secret = decode(body, _Secret)
    if secret is None:
        raise SourceMalformed(f"path {shown(source.path)}: Vault's answer is not JSON: does vault.url name a Vault?")
    if secret.lease_id:
        raise SourceMalformed(
            f"path {shown(source.path)} makes a new secret at each read: only key/value engines can be kept in sync"
        )
    return secret.data


def _values(source: Source, raw: Raw) -> dict[str, str | None]:
    values = _texts(raw)
    if values is None:
        raise SourceMalformed(f"path {shown(source.path)}: a value in Vault's answer is not JSON")
    return values


def _texts(raw: Raw) -> dict[str, str | None] | None:
    try:
        return {key: text_of(value) for key, value in raw.items()}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
