"""From the path in a definition to a secret's name in Key Vault, or to the reason why there is no such secret.

Anybody who may write a definition chooses the path, and it becomes a part of a URL. What Key Vault itself allows in
names needs no encoding, so there is nothing that the SDK, a proxy or the vault could read in another way.
"""

import re

from secrets_manager.backends.base import Source, SourceMalformed

SHOWN = 200

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_VERSION = re.compile(r"[0-9a-fA-F]{32}")


def segments(path: str) -> tuple[str, ...]:
    """The path taken apart, which is one name. Raises: SourceMalformed, with the path and what to mend."""
    if not _NAME.fullmatch(path):
        raise SourceMalformed(
            f"path {shown(path)} is no name of a secret in Key Vault: "
            "it has 1 to 127 letters of English, digits and dashes"
        )
    return (path,)


def check(source: Source) -> None:
    """See that there can be such a secret. Raises: SourceMalformed, with the path and what to mend."""
    segments(source.path)
    if source.version is not None and not _VERSION.fullmatch(source.version):
        raise SourceMalformed(
            f"path {shown(source.path)}: there is no version {shown(source.version)}: "
            "in Key Vault they have 32 hexadecimal digits"
        )


def shown(text: str) -> str:
    """A text of the user's for a message: in quotes, bounded, and nothing in it that could break a line of a log."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
