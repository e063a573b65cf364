"""Markers of the state of a secret in KV version 2, the same in reads and in listings.

A version's content never changes. A version of a secret that was deleted and created again has another creation time.
"""


def live(version: int, created_time: str) -> str:
    """The newest version can be read."""
    return f"{version}@{created_time}"


def deleted(version: int, created_time: str) -> str:
    """The newest version was deleted, and can be undeleted."""
    return f"{live(version, created_time)} deleted"


def destroyed(version: int, created_time: str) -> str:
    """The newest version was destroyed."""
    return f"{live(version, created_time)} destroyed"
