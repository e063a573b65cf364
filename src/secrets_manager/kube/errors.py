"""Errors of requests to the Kubernetes API.

KubeError
├── Unreachable          no response in time: a read can be retried; a write may have happened
│   └── WatchTimedOut    a watch received nothing within its read timeout: watch on; list again if that repeats
├── MalformedResponse    a response that does not match the API
│   └── ResponseTooLarge a response longer than the bound: ask for less
├── CredentialsError     no usable kubeconfig, service account or credential plugin
└── ApiError             an error status
    ├── Unauthorized     401  rejected again after a refresh of the credentials
    ├── Forbidden        403  RBAC, quota, an admission webhook, a terminating namespace
    ├── NotFound         404  no such object, namespace or kind
    ├── AlreadyExists    409  create: the name is taken
    ├── Conflict         409  the resourceVersion or uid is not the current one: read again
    │   └── FieldConflict     server-side apply: other managers own fields that it would change
    ├── Expired          410  the resourceVersion or continue token is too old: list again
    ├── Invalid          4xx  the object is rejected (400, 413, 422): a retry can't succeed
    ├── Throttled        429  wait for `retry_after`
    │   └── Overloaded        the server sheds load: every request of this client must wait
    └── ServerError      5xx  a failure of the server
"""

from typing import NamedTuple

from secrets_manager.errors import SecretsManagerError


class KubeError(SecretsManagerError):
    """A request to the Kubernetes API failed."""


class Unreachable(KubeError):
    """No connection, a timeout, or a truncated response. A write may have happened."""


class WatchTimedOut(Unreachable):
    """A watch received nothing within its read timeout. The connection may be dead while the server is up."""


class MalformedResponse(KubeError):
    """The response does not match the API."""


class ResponseTooLarge(MalformedResponse):
    """The response is longer than any object can be. A smaller page may fit."""


class CredentialsError(KubeError):
    """No usable credentials. The message names the file or plugin and the next step."""


class ApiError(KubeError):
    """The server responded with an error status.

    Args:
        message: The whole text.
        code: The HTTP status code.
        reason: The reason of the Status.
        retry_after: Seconds, where the server gave them.
        summary: The message without `server_message`.
        server_message: The text of the server, or of a webhook behind it, unchanged.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int,
        reason: str = "",
        retry_after: float | None = None,
        summary: str = "",
        server_message: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after = retry_after
        self.summary = summary or message
        self.server_message = server_message


def retry_after(error: Exception) -> float:
    """Return the seconds that the server asked to wait; 0 if none."""
    return (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0


class Unauthorized(ApiError):
    pass


class Forbidden(ApiError):
    """`by_authorization`: authorization, such as RBAC, refuses the request; else admission does, of a write.

    `by_full_quota`: a quota does that has no room left, but is not exceeded already.
    """

    by_authorization: bool = False
    by_full_quota: bool = False


class NotFound(ApiError):
    pass


class AlreadyExists(ApiError):
    pass


class Conflict(ApiError):
    pass


class FieldOwner(NamedTuple):
    """A field, such as `.data.password`, and the manager that owns it; empty if the server does not name it."""

    field: str
    manager: str


class FieldConflict(Conflict):
    """`owners` are the fields that others own; each may be there for several managers."""

    owners: tuple[FieldOwner, ...] = ()


class Expired(ApiError):
    pass


class Invalid(ApiError):
    pass


class Throttled(ApiError):
    """One request must wait: its object is busy, or an admission webhook says so."""


class Overloaded(Throttled):
    """The server rejected the request before it looked at it."""


class ServerError(ApiError):
    pass
