"""The constants of reading: how often the secret store is asked, by what bounds, and after which pauses."""

import msgspec

from secrets_manager.backoff import Backoff


class ReadPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """All durations are in seconds."""

    period: float = 5.0
    """Between two polls of a source, where its definitions name none of their own."""
    failing_period: float = 60.0
    """The longest period of a source whose last read failed: what is mended shows within a minute."""
    covered_period: float = 300.0
    """Between two looks at a source that listings cover, where its own period is shorter: listings are what is read."""
    hold: float = 10.0
    """For which the values of one read may serve other definitions; never longer than the period."""
    slots: int = 50
    """Moments of a period at which polls are made: several at once cost far less than as many single ones."""
    concurrency: int = 16
    """Requests under way at a time, at most."""
    concurrency_pause: float = 1.0
    """Between two changes of that bound: failures within it have one cause."""

    list_period: float = 1.0
    """The shortest one between two listings of a folder. 0: no folder is listed."""
    list_share: float = 1 / 20
    """Part of the time that the listings of one folder may take; more only where they would be rarer than the reads."""
    list_credit: float = 5.0
    """Rest that a folder may have saved up, so that one slow listing among quick ones delays no other."""
    list_concurrency: int = 2
    """Listings under way at a time. Each may cost the store as much as many reads."""
    list_waste: int = 20
    """A slow listing is a waste if the folder holds more than so many times the secrets that are used."""
    list_retry: Backoff = Backoff(initial=60.0, maximum=3600.0)
    """After a refused listing: policies change and stores are upgraded, but rarely."""

    suspects: int = 3
    """Distinct sources whose reads fail in a row before the store counts as down; fewer where fewer are in use."""
    probe: Backoff = Backoff(initial=0.5, maximum=15.0)
    """Between two reads that ask whether the store is back."""
