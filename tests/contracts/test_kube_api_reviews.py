"""TokenReview and SubjectAccessReview: what a gate in front of an endpoint relies on."""

from typing import NamedTuple

import pytest

from fake_kubernetes.cluster import Cluster
from fake_kubernetes.documents import Json, Object, items
from fake_kubernetes.reviews import ACCESS_REVIEWS, TOKEN_REVIEWS, Identity, Right
from secrets_manager.access.reviews import KubeReviewer, ReviewFailed, User
from secrets_manager.config import KubeConfig
from secrets_manager.kube.client import open_client
from secrets_manager.kube.credentials import find_cluster
from tests.contracts.kube_api import Api
from tests.doubles.kube_transport import DOUBLE, KubeTransport
from tests.real.cluster import ControlPlane

METRICS: list[Json] = [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]


class Scraper(NamedTuple):
    """A ServiceAccount that may get /metrics, and nothing else."""

    token: str
    username: str
    groups: tuple[str, ...]


@pytest.fixture
def scraper(chosen: Cluster | ControlPlane, api: Api) -> Scraper:
    username = f"system:serviceaccount:{api.namespace}:prometheus"
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{api.namespace}", "system:authenticated")
    if isinstance(chosen, Cluster):
        chosen.reviews.identities["good"] = Identity(username, groups, uid="1")
        chosen.reviews.rights.add(Right(username, "get", "/metrics"))
        return Scraper("good", username, groups)
    token = chosen.service_account_token(api.namespace, "prometheus", rules=METRICS, cluster=True)
    return Scraper(token, username, groups)


def token_review(token: str) -> Object:
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}


def access_review(path: str, *, user: str, groups: tuple[str, ...] = (), verb: str = "get") -> Object:
    asked: Object = {"path": path, "verb": verb}
    spec: Object = {"user": user, "groups": [*groups], "nonResourceAttributes": asked}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


async def test_a_valid_token_has_a_user(api: Api, scraper: Scraper) -> None:
    review = await api.post(TOKEN_REVIEWS, token_review(scraper.token))

    assert (review.code, review.at("status", "authenticated")) == (201, True)
    assert review.text("status", "user", "username") == scraper.username
    assert set(items(review.document, "status", "user", "groups")) == set(scraper.groups)


async def test_another_token_has_none(api: Api, scraper: Scraper) -> None:
    review = await api.post(TOKEN_REVIEWS, token_review("bad"))

    assert (review.code, review.at("status", "authenticated")) == (201, None)
    assert review.text("status", "error")


async def test_no_token_is_a_bad_request(api: Api) -> None:
    assert (await api.post(TOKEN_REVIEWS, token_review(""))).outcome == (400, "BadRequest")


async def test_a_user_has_the_rights_that_it_has(api: Api, scraper: Scraper) -> None:
    allowed = await api.post(ACCESS_REVIEWS, access_review("/metrics", user=scraper.username, groups=scraper.groups))
    elsewhere = await api.post(ACCESS_REVIEWS, access_review("/status.json", user=scraper.username))
    otherwise = await api.post(ACCESS_REVIEWS, access_review("/metrics", user=scraper.username, verb="delete"))
    other_user = await api.post(ACCESS_REVIEWS, access_review("/metrics", user="someone"))

    assert (allowed.code, allowed.at("status", "allowed")) == (201, True)
    for denied in (elsewhere, otherwise, other_user):
        assert (denied.code, denied.at("status", "allowed")) == (201, False)


async def test_a_review_names_a_user_and_what_it_is_about(api: Api) -> None:
    no_user = await api.post(ACCESS_REVIEWS, access_review("/metrics", user=""))
    empty: Object = {"spec": {"user": "a"}}
    nothing = await api.post(ACCESS_REVIEWS, access_review("/", user="a") | empty)

    assert (no_user.outcome, nothing.outcome) == ((422, "Invalid"), (422, "Invalid"))


@pytest.mark.parametrize("path", [TOKEN_REVIEWS, ACCESS_REVIEWS])
async def test_reviews_can_only_be_created(api: Api, path: str) -> None:
    assert (await api.get(path)).outcome == (405, "MethodNotAllowed")


async def test_the_reviewer_understands_the_answers(chosen: Cluster | ControlPlane, scraper: Scraper) -> None:
    if isinstance(chosen, Cluster):
        opened = open_client(DOUBLE, transport=KubeTransport(chosen))
    else:
        opened = open_client(await find_cluster(KubeConfig(kubeconfig=str(chosen.kubeconfig))))
    async with opened as client:
        reviewer = KubeReviewer(client)
        user = await reviewer.authenticate(scraper.token)

        assert user is not None
        assert user.username == scraper.username
        assert await reviewer.authorize(user, "/metrics")
        assert not await reviewer.authorize(user, "/")
        assert not await reviewer.authorize(User(username="someone"), "/metrics")
        assert await reviewer.authenticate("bad") is None
        with pytest.raises(ReviewFailed, match="422 Invalid"):
            await reviewer.authorize(User(), "/metrics")
