"""Validate paths and versions of secrets in Key Vault.

Authors of definitions choose the path, and it becomes a part of a URL. Names that Key Vault allows need no encoding, so
the SDK, proxies and the vault read them in one way.
"""

import re

from secrets_manager.backends.base import Source, SourceMalformed, quoted

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_VERSION = re.compile(r"[0-9a-fA-F]{32}")


def segments(path: str) -> tuple[str, ...]:
    """Return the path, which is one name.

    Raises:
        SourceMalformed: it is not valid.
    """
    if not _NAME.fullmatch(path):
        raise SourceMalformed(
            f"path {quoted(path)} is not the name of a secret in Key Vault: "
            "it has 1 to 127 ASCII letters, digits and dashes"
        )
    return (path,)


def check(source: Source) -> None:
    """Validate path and version.

    Raises:
        SourceMalformed: one of them is not valid.
    """
    segments(source.path)
    if source.version is not None and not _VERSION.fullmatch(source.version):
        raise SourceMalformed(
            f"path {quoted(source.path)}: there is no version {quoted(source.version)}: "
            "in Key Vault they have 32 hexadecimal digits"
        )
