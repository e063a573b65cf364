"""The properties that are checked. A run fails by the first that does not hold."""

from enum import StrEnum


class Property(StrEnum):
    """All are invariants but for the last four, which must hold eventually, once the faults have ended."""

    OWNERSHIP = "no Secret is lost, overwritten or deleted that belongs to others"
    VERSION_ORDER = "no Secret holds a mixture of versions, or an older version after a newer one"
    RESTARTS = "a workload is restarted once for each change of a Secret, and for nothing else"
    SINGLE_WRITER = "only the holder of the lease writes"
    SECRECY = "no value or token is shown"
    ISOLATION = "no namespace learns about another"
    TRANSITIONS = "a condition says since when it is so"
    NO_EXIT = "the process does not end by itself"
    HEALTH = "no health check fails"
    RATE = "requests stay within their bounds"
    LIVE_TOKEN = "nothing is read with an expired token"
    TERMINATION = "the run ends"
    CONVERGENCE = "in the end every Secret, status and metric is right"
    NO_LEAK = "in the end memory and metrics hold what the objects need, and no more"
    RESPONSE = "at rest a change takes effect in time"
    QUIESCENCE = "at rest nothing is sent to Kubernetes"
