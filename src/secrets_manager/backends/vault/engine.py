"""Read secrets of Vault's KV secrets engine, versions 1 and 2.

KV version 1 returns the keys in `data`, version 2 in `data.data` beside `data.metadata`. A path of the other version
returns 200, too. So each engine recognizes the other's responses and names the mistake.
"""

import hashlib
import re
import secrets
from typing import Protocol

import msgspec

from secrets_manager.backends.base import Document, Folder, Place, Source, SourceMalformed, quoted, text_of
from secrets_manager.backends.vault.marker import live
from secrets_manager.backends.vault.path import VaultPath, parse_path
from secrets_manager.backends.vault.responses import decode
from secrets_manager.errors import UsageError

Raw = dict[str, msgspec.Raw]

_MARKER_KEY = secrets.token_bytes(32)
"""Random per process: a marker shows whether two contents are equal, and reveals nothing else."""

_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_GO_ESCAPE = re.compile(r"\\(u0026|u003[ce]|u202[89]|.)")
"""An escape in JSON, whole: the second of two backslashes begins none. Go escapes five characters for HTML."""
_RFC_3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")


class Engine(Protocol):
    """A version of the KV secrets engine."""

    def params(self, source: Source) -> dict[str, str]:
        """Return the query parameters of a read.

        Raises:
            SourceMalformed: the version is not valid.
        """
        ...

    def document(self, source: Source, body: bytes) -> Document:
        """Parse the body of a 200.

        Raises:
            SourceMalformed: it is not a secret of this engine.
        """
        ...

    def place(self, path: VaultPath, *, identity: str) -> Place | None:
        """Return where a listing shows the newest version at this path; None if it can't be listed."""
        ...


def create_engine(name: str) -> Engine:
    """Create the engine of this name.

    Raises:
        UsageError: the name is unknown.
    """
    match name:
        case "kv1":
            return KvV1()
        case "kv2":
            return KvV2()
        case _:
            raise UsageError(f"vault.engine {name!r} is unknown: use kv1 or kv2")


class _Secret(msgspec.Struct, frozen=True):
    """The fields of every response to a read. Only dynamic secrets have a lease."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    lease_id: str = ""


class _Metadata(msgspec.Struct, frozen=True):
    created_time: str
    version: int
    destroyed: bool


class _Versioned(msgspec.Struct, frozen=True):
    metadata: _Metadata
    data: Raw | None = None


class KvV1:
    """KV version 1. It has no versions, so the marker is a keyed digest of the content."""

    def params(self, source: Source) -> dict[str, str]:
        if source.version is not None:
            raise SourceMalformed(f"path {quoted(source.path)}: KV version 1 has no versions: leave the version out")
        return {}

    def document(self, source: Source, body: bytes) -> Document:
        data = _data(source, body)
        raw = decode(bytes(data), Raw)
        if raw is None:
            raise SourceMalformed(
                f"path {quoted(source.path)}: Vault's response has no keys: is vault.engine right for it?"
            )
        if raw.keys() == {"data", "metadata"} and decode(bytes(data), _Versioned) is not None:
            raise SourceMalformed(f"path {quoted(source.path)} is of KV version 2: set vault.engine=kv2")
        digest = hashlib.blake2b(bytes(data), key=_MARKER_KEY, digest_size=16)
        return Document(values=_values(source, raw), marker=digest.hexdigest())

    def place(self, path: VaultPath, *, identity: str) -> None:
        """Return None: listings show names only."""


class KvV2:
    """KV version 2."""

    def params(self, source: Source) -> dict[str, str]:
        if source.version is None:
            return {}
        if not _VERSION.fullmatch(source.version):
            raise SourceMalformed(
                f"path {quoted(source.path)}: there is no version {quoted(source.version)}: they are numbers from 1 on"
            )
        return {"version": source.version}

    def document(self, source: Source, body: bytes) -> Document:
        data = bytes(_data(source, body))
        versioned = decode(data, _Versioned)
        if versioned is None and decode(data, _Metadata) is None:
            raise SourceMalformed(
                f"path {quoted(source.path)}: Vault's response is not a secret of KV version 2: "
                "correct the path, or set vault.engine=kv1"
            )
        if versioned is None or versioned.data is None:
            if parse_path(source.path).kv_v2 is None:  # another path of the engine, such as secret/subkeys/app
                raise SourceMalformed(f"path {quoted(source.path)} is not a secret: correct the path")
            raise SourceMalformed(f"path {quoted(source.path)} was written without any keys: write it again")
        metadata = versioned.metadata
        if not is_time(metadata.created_time):
            raise SourceMalformed(f"path {quoted(source.path)}: its created_time in Vault's response is not a time")
        return Document(
            values=_values(source, versioned.data),
            marker=live(metadata.version, metadata.created_time),
            version=metadata.version,
            changed=metadata.created_time,
        )

    def place(self, path: VaultPath, *, identity: str) -> Place | None:
        """Return the folder and the name below it."""
        parts = path.kv_v2
        if parts is None or not parts.below:
            return None
        *folder, name = path.segments
        return Place(Folder("/".join(folder), identity), name)


def is_time(text: str) -> bool:
    """Return whether the text has the format of Vault's timestamps."""
    return _RFC_3339.fullmatch(text) is not None


def _data(source: Source, body: bytes) -> msgspec.Raw:
    secret = decode(body, _Secret)
    if secret is None:
        raise SourceMalformed(f"path {quoted(source.path)}: Vault's response is not JSON: does vault.url name a Vault?")
    if secret.lease_id:
        raise SourceMalformed(
            f"path {quoted(source.path)} is a dynamic secret, new at each read: only KV secrets can be kept in sync"
        )
    return secret.data


def _values(source: Source, raw: Raw) -> dict[str, str | None]:
    values = _texts(raw)
    if values is None:
        raise SourceMalformed(f"path {quoted(source.path)}: a value in Vault's response is not JSON")
    return values


def _texts(raw: Raw) -> dict[str, str | None] | None:
    try:
        return {key: _text(value) for key, value in raw.items()}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _text(value: msgspec.Raw) -> str | None:
    """Return a value as a Document has it, in an object or array without the escapes of Vault's own encoder."""
    text = text_of(value)
    return text if text is None or bytes(value).startswith(b'"') else _GO_ESCAPE.sub(_unescaped, text)


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1][1:], 16)) if len(escape[1]) > 1 else escape[0]
