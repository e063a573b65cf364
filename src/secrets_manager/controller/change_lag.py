"""How long a change in the store took to reach the Secret. Pure."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from secrets_manager.backends import Document, Source
from secrets_manager.controller.documents import Documents


def change_lag(before: Mapping[Source, int | str | None], documents: Documents, *, now: datetime) -> float | None:
    """Return the seconds from the oldest of the changes that a write brought to the Secret; None if it brought none.

    A change is a version other than the one that this process synced before. What has no version, or is synced for the
    first time, is none. A store whose clock is ahead may have made it in the future: that is 0.

    Args:
        before: The version of each source that was synced before.
        documents: What the Secret was made from.
        now: The time of the write.
    """
    changes = [
        document.changed
        for source, document in documents.items()
        if isinstance(document, Document) and before.get(source, document.version) != document.version
    ]
    lags = [(now - time).total_seconds() for time in map(_parsed, changes) if time is not None]
    return max(0.0, *lags) if lags else None


def _parsed(text: str) -> datetime | None:
    """Parse RFC 3339; None if it is something else, or has no time zone."""
    with suppress(ValueError):
        time = datetime.fromisoformat(text)
        return time if time.tzinfo is not None else None
    return None
