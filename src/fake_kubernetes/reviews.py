"""TokenReview and SubjectAccessReview: requests that are answered and not stored.

Nothing else is authenticated or authorized here: `identities` and `rights` are what a test says that they are.
"""

from collections.abc import Iterable
from typing import NamedTuple

from fake_kubernetes.documents import Json, Object, at, items, mapping, text
from fake_kubernetes.refusals import Refusal, bad_request, not_allowed
from fake_kubernetes.requests import Reply, Request, reply

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path, no password
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class Identity(NamedTuple):
    """Whom a token belongs to."""

    username: str
    groups: tuple[str, ...] = ()
    uid: str = ""


class Right(NamedTuple):
    """What a user, or a group, may do with a path that is no resource."""

    subject: str
    verb: str
    path: str


class Reviews:
    """The tokens and the rights that there are."""

    def __init__(self) -> None:
        self.identities: dict[str, Identity] = {}
        self.rights: set[Right] = set()

    def serves(self, path: str) -> bool:
        """Whether this is the path of a review."""
        return path in (TOKEN_REVIEWS, ACCESS_REVIEWS)

    def answer(self, request: Request, document: Object) -> Reply:
        """Answer a review. Raises: Refusal (405, 400, 422)."""
        if request.method != "POST":
            raise not_allowed()
        status = self._token(document) if request.path == TOKEN_REVIEWS else self._access(document)
        return reply({**document, "status": status}, status=201)

    def _token(self, document: Object) -> Object:
        token = text(document, "spec", "token")
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        identity = self.identities.get(token)
        if identity is None:
            return {"user": {}, "error": "invalid bearer token"}
        groups: list[Json] = [*identity.groups]
        return {"authenticated": True, "user": {"username": identity.username, "uid": identity.uid, "groups": groups}}

    def _access(self, document: Object) -> Object:
        spec, asked = mapping(document, "spec"), mapping(document, "spec", "nonResourceAttributes")
        if not asked and not at(spec, "resourceAttributes"):
            raise _invalid("exactly one of nonResourceAttributes or resourceAttributes must be specified")
        subjects = [name for name in (spec.get("user"), *items(spec, "groups")) if isinstance(name, str) and name]
        if not subjects:
            raise _invalid("at least one of user or group must be specified")
        return {"allowed": self._allows(subjects, text(asked, "verb"), text(asked, "path"))}

    def _allows(self, subjects: Iterable[str], verb: str, path: str) -> bool:
        return any(Right(subject, verb, path) in self.rights for subject in subjects)


def _invalid(why: str) -> Refusal:
    return Refusal(422, "Invalid", f"SubjectAccessReview.authorization.k8s.io is invalid: spec: {why}")
