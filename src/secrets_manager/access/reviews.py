"""TokenReview and SubjectAccessReview, each one request to the API server."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Self

import msgspec
import trio

from secrets_manager.errors import SecretsManagerError
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import ApiError, Forbidden, KubeError, retry_after
from secrets_manager.kube.objects import ObjectMeta, Wire
from secrets_manager.kube.resources import Resource

TIMEOUT = 5.0
"""Seconds for one review."""


class ReviewFailed(SecretsManagerError):
    """The API server gave no answer. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def copy(self) -> Self:
        """Return a copy, to raise it for another request."""
        return type(self)(str(self), retry_after=self.retry_after)


class User(Wire, frozen=True):
    """The user of a token."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class _TokenReviewStatus(Wire, frozen=True):
    authenticated: bool = False
    user: User = User()


class _TokenReview(Wire, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    status: _TokenReviewStatus = _TokenReviewStatus()


class _AccessReviewStatus(Wire, frozen=True):
    allowed: bool = False


class _AccessReview(Wire, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    status: _AccessReviewStatus = _AccessReviewStatus()


TOKEN_REVIEWS = Resource(
    "authentication.k8s.io", "v1", "tokenreviews", "TokenReview", msgspec.json.Decoder(_TokenReview).decode
)
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io",
    "v1",
    "subjectaccessreviews",
    "SubjectAccessReview",
    msgspec.json.Decoder(_AccessReview).decode,
)


class KubeReviewer:
    """Reviews by the API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def authenticate(self, token: str) -> User | None:
        """Return the user of the token; None if it is not valid.

        Raises:
            ReviewFailed: The API server gave no answer.
        """
        body = {"apiVersion": TOKEN_REVIEWS.api_version, "kind": TOKEN_REVIEWS.kind, "spec": {"token": token}}
        with _translating("tokenreviews"):
            review = await self._client.create(TOKEN_REVIEWS, "", body)
        return review.status.user if review.status.authenticated else None

    async def authorize(self, user: User, path: str) -> bool:
        """Whether the user may `get` this non-resource URL.

        Raises:
            ReviewFailed: The API server gave no answer.
        """
        spec = {
            "user": user.username,
            "uid": user.uid,
            "groups": user.groups,
            "extra": user.extra,
            "nonResourceAttributes": {"path": path, "verb": "get"},
        }
        body = {"apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.kind, "spec": spec}
        with _translating("subjectaccessreviews"):
            review = await self._client.create(ACCESS_REVIEWS, "", body)
        return review.status.allowed


@contextmanager
def _translating(kind: str) -> Generator[None]:
    """Bound the time, and translate errors without the server's own words, which may quote the token."""
    try:
        with trio.move_on_after(TIMEOUT) as scope:
            yield
    except Forbidden as error:
        raise ReviewFailed(f"{error.summary}: see whether the component deploy/secured-metrics is applied") from None
    except KubeError as error:
        message = error.summary if isinstance(error, ApiError) else str(error)
        raise ReviewFailed(message, retry_after=retry_after(error)) from None
    if scope.cancelled_caught:
        raise ReviewFailed(f"POST {kind}: no response within {TIMEOUT:g} s")
