"""What a listing shows, and when, decides what is read: the odd and the late among its replies."""

import msgspec
from trio.testing import MockClock

from fake_kubernetes.documents import mapping, parse
from secrets_manager.config import ControllerConfig
from tests.controller.component import Scene, running
from tests.doubles import vault_faults as vault
from tests.doubles.vault import Request, Response, VaultState


def define_folder(scene: Scene, folder: str, count: int) -> None:
    for number in range(count):
        scene.write(f"{folder}/{number}", password="hunter-1")
        scene.define(f"{folder}-{number}", pw=f"{folder}/{number}#password")


async def test_times_without_a_zone_in_a_listing_end_nothing(autojump_clock: MockClock) -> None:
    async with running() as scene:
        define_folder(scene, "shop", 5)
        await scene.settled()
        scene.vault.fault = lambda request: without_zones(scene.vault, request)
        await scene.passed(10)
        scene.write("shop/3", password="hunter-2")
        await scene.passed(10)

        assert scene.values("shop-3") == {"pw": "hunter-2"}
        assert {scene.reason(f"shop-{number}") for number in range(5)} == {"Synced"}
        assert (await scene.answer("/healthz")).status == 200


def without_zones(state: VaultState, request: Request) -> Response | None:
    """The listing as it is, but that all versions are to be deleted one day, which has no zone."""
    if not vault.is_listing(request):
        return None
    reply = state.handle(request)
    document = parse(reply.body)
    for secret in mapping(document, "data", "key_info").values():
        for version in mapping(secret, "versions").values():
            assert isinstance(version, dict)
            version["deletion_time"] = "2999-01-01"
    return reply._replace(body=msgspec.json.encode(document))


async def test_change_that_a_listing_shows_is_read_also_where_a_read_came_between_its_slot_and_its_start(
    autojump_clock: MockClock,
) -> None:
    """Two slow reads are in the way of both, so they start together; the listing arrives later, after the change."""
    async with running(config=ControllerConfig(backend_concurrency=2)) as scene:
        define_folder(scene, "shop", 10)
        define_folder(scene, "slow-x", 1)
        define_folder(scene, "slow-y", 1)
        await scene.settled()
        await scene.passed(0.5)
        scene.vault.delay = lambda request: 3.0 if "/slow-" in request.path else 0.2 if vault.is_listing(request) else 0
        seen = len(listings(scene))
        for name in ("slow-x-0", "slow-y-0"):
            scene.annotate(name, **{"force-sync": "now"})
        await scene.passed(1.5)
        scene.annotate("shop-3", **{"force-sync": "now"})
        await scene.passed(1.6)
        scene.write("shop/3", password="hunter-2")
        await scene.passed(0.3)

        assert listings(scene)[seen:] == ["secret/detailed-metadata/shop/"]
        assert scene.values("shop-3") == {"pw": "hunter-2"}


def listings(scene: Scene) -> list[str]:
    return [request.path for request in scene.vault.requests if vault.is_listing(request)]


async def test_series_of_failed_reads_end_with_the_definitions_of_their_paths(autojump_clock: MockClock) -> None:
    async with running() as scene:
        define_folder(scene, "shop", 3)
        for number in range(30):
            scene.define(f"wrong-{number}", pw=f"shop/missing-{number}#password", both="shop/missing#password")
        scene.vault.delay = lambda request: 0.5 if "/missing" in request.path else 0.0
        await scene.passed(20)
        assert len(failed_paths(scene)) == 31

        for number in range(30):
            scene.delete(f"wrong-{number}")
            await scene.passed(0.3)  # some while a read of theirs is under way
        await scene.passed(20)
        assert failed_paths(scene) == []


def failed_paths(scene: Scene) -> list[str]:
    """Those that have a series in the metrics."""
    families = scene.registry.restricted_registry(["secrets_manager_vault_read_secret_errors_total"]).collect()
    return sorted({sample.labels["path"] for family in families for sample in family.samples})
