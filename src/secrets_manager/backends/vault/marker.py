"""What tells one state of a secret of KV version 2 from all others, in reads and in listings alike.

A version's content never changes, and one of a secret that was made anew has another time of creation.
"""


def live(version: int, created_time: str) -> str:
    """The newest version can be read."""
    return f"{version}@{created_time}"


def deleted(version: int, created_time: str) -> str:
    """The newest version was deleted, and can be undeleted."""
    return f"{live(version, created_time)} deleted"


def destroyed(version: int, created_time: str) -> str:
    """The newest version is gone for good."""
    return f"{live(version, created_time)} destroyed"
