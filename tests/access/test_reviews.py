"""What goes wrong with a review, and how it is reported. What goes well is in the contract tests."""

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from fake_kubernetes.cluster import Cluster
from secrets_manager.access.reviews import KubeReviewer, ReviewFailed, User
from secrets_manager.kube.client import open_client
from tests.doubles import faults as fault
from tests.doubles.faults import Fault, Faults
from tests.doubles.kube_transport import DOUBLE, KubeTransport

TIMEOUT = 5.0

TOKEN = "canary-token"
POST = "POST /apis/authentication.k8s.io/v1/tokenreviews"


@pytest.fixture
def faults() -> Faults:
    return Faults(KubeTransport(Cluster()))


@pytest.fixture
async def reviewer(faults: Faults) -> AsyncIterator[KubeReviewer]:
    async with open_client(DOUBLE, transport=faults) as client:
        yield KubeReviewer(client)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (fault.answer(500, message=f"about {TOKEN}"), f"{POST}: 500"),
        (fault.answer(400, reason="BadRequest", message=f"about {TOKEN}"), f"{POST}: 400 BadRequest"),
        (
            fault.answer(403, reason="Forbidden", message=f"about {TOKEN}"),
            f"{POST}: 403 Forbidden: see whether the component deploy/secured-metrics is applied",
        ),
        (fault.lose_request(), f"{POST} at http://kube: "),
    ],
    ids=["500", "400", "403", "no connection"],
)
async def test_a_failure_is_reported_without_the_servers_words(
    faults: Faults, reviewer: KubeReviewer, spoil: Fault, message: str
) -> None:
    faults.next(spoil)

    with pytest.raises(ReviewFailed) as raised:
        await reviewer.authenticate(TOKEN)

    assert str(raised.value).startswith(message)
    assert TOKEN not in str(raised.value)
    assert raised.value.__cause__ is None


async def test_the_time_to_wait_is_passed_on(faults: Faults, reviewer: KubeReviewer) -> None:
    faults.next(fault.answer(429, reason="TooManyRequests", headers={"Retry-After": "7"}))

    with pytest.raises(ReviewFailed) as raised:
        await reviewer.authorize(User(username="a"), "/metrics")

    assert raised.value.retry_after == 7


async def test_a_review_that_hangs_is_given_up(
    faults: Faults, reviewer: KubeReviewer, autojump_clock: MockClock
) -> None:
    faults.next(fault.late(3600))
    began = trio.current_time()

    with pytest.raises(ReviewFailed, match="no response within 5 s"):
        await reviewer.authenticate(TOKEN)

    assert trio.current_time() - began == TIMEOUT
