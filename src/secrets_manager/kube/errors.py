"""What a request to the Kubernetes API can end with.

KubeError
├── Unreachable       no answer in time: a read can be repeated; a write may have happened or not
│   └── Silent          a watch brought no byte for too long: watch on from the last version
├── MalformedReply    an answer that is not what the API promises
│   └── TooLarge        an answer of more bytes than are read: ask for less
├── CredentialsError  no usable kubeconfig, service account or login plugin
└── ApiError          the server said no, with a Status
    ├── Unauthorized    401  the credentials were renewed once already and are refused still
    ├── Forbidden       403  RBAC, quota, an admission webhook, a namespace that terminates
    ├── NotFound        404  no such object, namespace or kind
    ├── AlreadyExists   409  create: an object of this name is there
    ├── Conflict        409  the resourceVersion or uid is not the current one: read again
    ├── Expired         410  the resourceVersion or continue token is too old: list again
    ├── Invalid         4xx  the object itself is refused (400, 413, 422): the same write won't pass
    ├── Throttled       429  wait for `retry_after`
    └── ServerFailed    5xx  the server's own trouble
"""

from secrets_manager.errors import SecretsManagerError


class KubeError(SecretsManagerError):
    """A request to the Kubernetes API did not bring what was asked for."""


class Unreachable(KubeError):
    """No answer: no connection, a timeout, a cut reply. A write may have happened all the same."""


class Silent(Unreachable):
    """A watch brought nothing for too long. Its connection may be dead, and the server well."""


class MalformedReply(KubeError):
    """The server's answer can't be read as what the API promises."""


class TooLarge(MalformedReply):
    """The answer is longer than any object can be. Half a page may be short enough."""


class CredentialsError(KubeError):
    """There is no way to log in; the message names the file or plugin and the next step."""


class ApiError(KubeError):
    """The server answered with a Status that is not a success.

    `retry_after` is in seconds, where the server gave one. `words` is what the server, or a webhook behind it, put in
    words of its own, as it came; `summary` is the message without them.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int,
        reason: str = "",
        retry_after: float | None = None,
        summary: str = "",
        words: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after = retry_after
        self.summary = summary or message
        self.words = words


class Unauthorized(ApiError):
    pass


class Forbidden(ApiError):
    pass


class NotFound(ApiError):
    pass


class AlreadyExists(ApiError):
    pass


class Conflict(ApiError):
    pass


class Expired(ApiError):
    pass


class Invalid(ApiError):
    pass


class Throttled(ApiError):
    pass


class ServerFailed(ApiError):
    pass
