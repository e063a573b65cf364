"""The parameters of reading: intervals, limits and delays."""

import msgspec

from secrets_manager.backoff import Backoff


class ReadPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """All durations are in seconds."""

    period: float = 5.0
    """Between two polls of a source, unless a definition sets another interval."""
    max_failing_period: float = 60.0
    """The longest period of a failing source, so that a repair shows within a minute."""
    min_covered_period: float = 300.0
    """The shortest period of a source that listings cover."""
    cache_ttl: float = 10.0
    """For which the result of a read serves other definitions; never longer than the period."""
    slots: int = 50
    """Slots of a period at which polls start: batched polls cost far less than single ones."""
    concurrency: int = 16
    """The limit of concurrent requests."""
    concurrency_interval: float = 1.0
    """Between two changes of that limit: failures within it have one cause."""

    list_period: float = 1.0
    """The shortest interval of listings of a folder. 0 disables listings."""
    list_batch: int = 15
    """Listings within it, of all folders together, unless one would be listed later than its sources are polled."""
    list_share: float = 1 / 15
    """The share of time for listings of a folder, unless they would be rarer than its reads."""
    list_burst: float = 5.0
    """Rest that a folder may save up, so that one slow listing among fast ones has no effect."""
    list_concurrency: int = 2
    """Concurrent listings. Each may cost the store as much as many reads."""
    max_list_waste: int = 20
    """A slow listing does not pay if the folder holds more than this many secrets per used one."""
    list_retry: Backoff = Backoff(initial=60.0, maximum=3600.0)
    """After a refused listing: policies and stores change rarely."""

    failure_threshold: int = 3
    """Distinct sources that fail in a row before the store counts as down; fewer if fewer are in use."""
    probe: Backoff = Backoff(initial=0.5, maximum=15.0)
    """Between two probes of a store that is down."""
