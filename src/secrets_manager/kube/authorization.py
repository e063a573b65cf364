"""Ask the API server who this client is, and what it may do: what `kubectl auth whoami` and `auth can-i` ask."""

from typing import NamedTuple

import msgspec

from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.objects import ObjectMeta, Wire
from secrets_manager.kube.resources import Resource


class Right(NamedTuple):
    """A verb on a resource. `resource` may have a subresource after a slash; the core group is the empty string."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


class _Access(Wire, frozen=True):
    allowed: bool = False


class _AccessReview(Wire, frozen=True):
    status: _Access
    metadata: ObjectMeta = ObjectMeta()


class _UserInfo(Wire, frozen=True):
    username: str = ""


class _Subject(Wire, frozen=True):
    user_info: _UserInfo = _UserInfo()


class _SubjectReview(Wire, frozen=True):
    status: _Subject
    metadata: ObjectMeta = ObjectMeta()


ACCESS_REVIEWS = Resource(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    msgspec.json.Decoder(_AccessReview).decode,
)
SUBJECT_REVIEWS = Resource(
    "authentication.k8s.io",
    "v1",
    "selfsubjectreviews",
    "SelfSubjectReview",
    msgspec.json.Decoder(_SubjectReview).decode,
)


async def is_allowed(client: KubeClient, right: Right, *, namespace: str) -> bool:
    """Return whether this client has a right in a namespace; in all of them for an empty one.

    Raises:
        KubeError: The request failed.
    """
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "namespace": namespace,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "verb": right.verb,
    }
    body = {
        "apiVersion": ACCESS_REVIEWS.api_version,
        "kind": ACCESS_REVIEWS.kind,
        "spec": {"resourceAttributes": attributes},
    }
    return (await client.create(ACCESS_REVIEWS, "", body)).status.allowed


async def user_name(client: KubeClient) -> str:
    """Return the name of this client's user.

    Raises:
        KubeError: The request failed. NotFound: the server is older than 1.28.
    """
    body = {"apiVersion": SUBJECT_REVIEWS.api_version, "kind": SUBJECT_REVIEWS.kind}
    return (await client.create(SUBJECT_REVIEWS, "", body)).status.user_info.username
