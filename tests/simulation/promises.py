"""What is promised, by name: a run fails by one of these."""

from enum import StrEnum


class Promise(StrEnum):
    """Each is judged at every moment, but for the last three, which hold once the faults have ended."""

    OURS = "no Secret is lost, overwritten or deleted that is not ours to"
    VERSIONS = "no Secret holds a mixture of versions, or an older version after a newer one"
    ONE_WRITER = "only the holder of the lease writes"
    SECRECY = "no value or token shows"
    SEPARATION = "no namespace sees another"
    LIFE = "the process does not end by itself"
    HEALTH = "no health check fails"
    PACE = "requests stay within their bounds"
    END = "the run ends"
    TRUTH = "in the end all is right"
    MEMORY = "in the end memory holds what the objects need"
    REST = "at rest Kubernetes is asked for nothing"
