"""The status page on the whole controller, between an in-memory Kubernetes and an in-memory Vault."""

from datetime import datetime

import msgspec
import trio
from trio.testing import MockClock

from secrets_manager.config import ControllerConfig
from secrets_manager.controller.standing import State
from secrets_manager.server.message import Request
from secrets_manager.statuspage.collect import MAX_SOURCES, PIECE, Collector
from secrets_manager.statuspage.query import Query
from secrets_manager.statuspage.report import Report, SourceShown
from secrets_manager.statuspage.routes import JSON_PATH, PATH, status_page
from tests.controller.component import READ_ONLY, RECOMMENDED, keys_map, running
from tests.documents import blocks
from tests.doubles import faults as fault
from tests.doubles.kube_transport import virtual_time
from tests.statuspage import reports


def seconds_since(time: str | None) -> float:
    assert time is not None
    return (virtual_time() - datetime.fromisoformat(time)).total_seconds()


async def test_a_definition_in_sync(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        row = await scene.row("app")

        assert (row.state, row.reason, row.message) == (State.IN_SYNC, "Synced", "Secret app is in sync")
        assert (row.namespace, row.secret_name) == ("shop", "app")
        assert row.sources == (SourceShown(path="secret/data/app", version=1),)
        assert row.since == row.last_sync_time


async def test_what_is_read_and_found_as_it_was_is_in_sync_again(autojump_clock: MockClock) -> None:
    """With nothing written: at rest the status in Kubernetes stays as it is."""
    for readable in (READ_ONLY, RECOMMENDED):
        async with running(readable=readable) as scene:
            for name in ("app", "web"):
                scene.write(name, password=f"hunter-{name}")
                scene.define(name, pw=f"{name}#password")
            await scene.settled()
            writes = len(scene.door.writes)
            await scene.passed(3600)
            row = await scene.row("app")

            assert seconds_since(row.last_in_sync) <= 2 * ControllerConfig().reconcile_period
            assert seconds_since(row.last_sync_time) >= 3600
            assert len(scene.door.writes) == writes


async def test_a_failing_definition_was_last_in_sync_before_it_failed(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        await scene.passed(1000)
        broken = virtual_time()
        scene.write("app", other="hunter-2")
        await scene.settled()
        await scene.passed(1000)
        row = await scene.row("app")

        assert (row.state, row.reason) == (State.FAILING, "SourceNotFound")
        assert row.message == scene.message("app")
        before = (broken - datetime.fromisoformat(row.last_in_sync or "")).total_seconds()
        assert 0 <= before <= 2 * ControllerConfig().reconcile_period
        assert row.sources == (SourceShown(path="secret/data/app", version=1),), "what the Secret was made from"


async def test_an_outage_ends_what_was_in_sync_and_shows_at_the_top(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        up = (await scene.report()).backend
        with scene.vault.sealed():
            await scene.passed(600)
            report = await scene.report()
            (row,) = report.definitions

            assert (up.up, up.message) == (True, "")
            assert report.backend.up is False
            assert 500 <= seconds_since(report.backend.since) <= 600
            assert "sealed" in report.backend.message
            assert (row.state, row.reason) == (State.FAILING, "BackendUnavailable")
            assert seconds_since(row.last_in_sync) >= 590

        await scene.settled()
        assert (await scene.report()).backend.up is True
        assert seconds_since((await scene.row("app")).last_in_sync) <= 10


async def test_only_the_expiry_of_the_token_is_shown(autojump_clock: MockClock) -> None:
    async with running() as scene:
        await scene.passed(10)
        token = (await scene.report()).backend.token

        assert token is not None
        assert token.valid
        assert token.expires_at is not None
        assert seconds_since(token.expires_at) < 0


async def test_what_the_api_server_does_not_have_yet_is_shown(autojump_clock: MockClock) -> None:
    """The page shows what is known, the status what could be written."""
    async with running() as scene:
        scene.faults.always(fault.answer(500), when=lambda request: request.url.path.endswith("/status"))
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.passed(5)
        row = await scene.row("app")

        assert scene.reason("app") == ""
        assert (row.state, row.reason) == (State.IN_SYNC, "Synced")


async def test_failing_definitions_come_first_and_the_page_shows_them(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        for name in ("a", "b"):
            scene.define(name, pw="app#password")
        scene.define("z", pw="nowhere#password")
        await scene.settled()
        report = await scene.report()
        html = (await scene.answer("/")).body.decode()

        assert [row.name for row in report.definitions] == ["z", "a", "b"]
        assert (report.counts.failing, report.counts.in_sync) == (1, 2)
        assert html.index(">z<") < html.index(">a<") < html.index(">b<")
        assert "SourceNotFound" in html


async def test_filters(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("a", pw="app#password")
        scene.define("b", namespace="other", pw="app#password")
        scene.define("c", pw="nowhere#password")
        await scene.settled()

        async def found(query: str) -> list[str]:
            return [row.name for row in (await scene.report(query)).definitions]

        assert await found("namespace=other") == ["b"]
        assert await found("text=data%2FAPP") == ["b", "a"]
        assert await found("text=sourcenotfound") == ["c"]
        assert await found("state=insync&namespace=shop") == ["a"]
        assert await found("text=hunter") == []


async def test_excluded_namespaces_are_not_shown(autojump_clock: MockClock) -> None:
    async with running(config=ControllerConfig(exclude_namespaces=frozenset({"other"}))) as scene:
        scene.define("a", pw="app#password")
        scene.define("b", namespace="other", pw="app#password")
        await scene.settled()

        assert [row.name for row in (await scene.report()).definitions] == ["a"]


async def test_a_deleted_definition_is_gone_and_one_of_its_name_is_new(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        scene.delete("app")
        await scene.settled()
        assert (await scene.report()).definitions == ()

        scene.define("app", pw="nowhere#password")
        await scene.settled()
        row = await scene.row("app")
        assert (row.state, row.last_in_sync, row.last_sync_time) == (State.FAILING, None, None)


async def test_an_edited_definition_is_pending_until_it_was_reconciled(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        await scene.stop()
        scene.change("app", keysMap={"other": {"path": "secret/data/app", "key": "password"}})
        scene.leads = False
        scene.start()
        await scene.passed(5)

        assert (await scene.row("app")).state is State.PENDING


async def test_a_standby_shows_what_it_can(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.define("broken", pw="nowhere#password")
        await scene.settled()
        await scene.stop()
        scene.leads = False
        scene.start()
        await scene.passed(60)
        report = await scene.report()
        html = (await scene.answer("/")).body.decode()

        assert report.replica.role == "standby"
        assert (report.backend.up, report.backend.since) == (None, None)
        assert [(row.name, row.reason) for row in report.definitions] == [
            ("broken", "SourceNotFound"),
            ("app", "Synced"),
        ]
        assert all(row.last_in_sync is None for row in report.definitions)
        assert "This replica is a standby" in html


async def test_a_spec_that_can_not_be_read_is_shown(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.define("app", pw="app#password", secret="Not_A_Name")
        await scene.settled()
        row = await scene.row("app")

        assert (row.state, row.reason) == (State.FAILING, "DefinitionInvalid")
        assert "✕ Failing" in (await scene.answer("/")).body.decode()


async def test_a_warning_of_the_api_server_is_shown_beside_a_state_that_is_well(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.faults.always(fault.warned("the type is strange"), when=fault.on_path(ends="/secrets"))
        scene.define("app", pw="app#password")
        await scene.settled()
        row = await scene.row("app")

        assert (row.state, row.warning) == (State.IN_SYNC, "the type is strange")
        assert "the type is strange" in (await scene.answer("/")).body.decode()


async def test_many_definitions_come_in_pages_and_hold_nothing_up(autojump_clock: MockClock) -> None:
    """Between two pieces others run."""
    async with running(alive=False) as scene:
        many = 3 * PIECE
        for number in range(many):
            scene.define(f"d{number:04}", pw="app#password")
        scene.leads = False
        scene.start()
        await scene.passed(30)
        checkpoints = 0

        async def count_checkpoints() -> None:
            nonlocal checkpoints
            while True:
                await trio.lowlevel.checkpoint()
                checkpoints += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_checkpoints)
            report = await scene.report("page=2")
            nursery.cancel_scope.cancel()

        assert (report.paging.matching, report.paging.pages, len(report.definitions)) == (many, 6, 100)
        assert report.definitions[0].name == "d0100"
        assert checkpoints >= many / PIECE + 100 - 1


async def test_large_definitions_make_a_page_of_bounded_size_in_pieces(autojump_clock: MockClock) -> None:
    """Anyone who may create definitions chooses how many paths they have, and how long ones."""
    keys = 200
    wanted = keys_map(**{f"k{key}": f"{'long/' * 95}{key:04}#password" for key in range(keys)})
    async with running(alive=False) as scene:
        for number in range(20):
            scene.define_as_it_is(f"d{number:04}", {"name": f"d{number:04}", "keysMap": wanted})
        scene.leads = False
        scene.start()
        await scene.passed(30)
        row = (await scene.report()).definitions[0]
        html, json = (await scene.answer("/")).body, (await scene.answer("/status.json")).body

        assert (len(row.sources), row.more_sources) == (MAX_SOURCES, keys - MAX_SOURCES)
        assert f"and {keys - MAX_SOURCES} more" in html.decode()
        assert len(html) < 20 * 6_000
        assert len(json) < 20 * 4_000


async def test_one_page_is_made_at_a_time() -> None:
    """Each takes memory until it is made: a crowd of clients gets them one after another."""
    order: list[str] = []

    class Scripted(Collector):
        def __init__(self) -> None: ...

        async def collect(self, query: Query) -> Report:
            order.append("begun")
            return reports.report(*[reports.row()] * 100)

    routes = status_page(Scripted())

    async def ask(path: str) -> None:
        await routes[path].handle(Request(path))
        order.append("made")

    async with trio.open_nursery() as nursery:
        for path in (PATH, JSON_PATH, PATH):
            nursery.start_soon(ask, path)

    assert order == ["begun", "made"] * 3


def test_the_example_in_the_documents_has_every_field() -> None:
    (example,) = blocks("docs/operations.md#status-page", "json")
    decoded = msgspec.json.decode(example, type=dict[str, object])

    assert msgspec.json.decode(msgspec.json.encode(msgspec.json.decode(example, type=Report))) == decoded


async def test_the_json_has_the_documented_shape(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        response = await scene.answer("/status.json")

        assert response.content_type == "application/json"
        decoded = msgspec.json.decode(response.body, type=dict[str, object])
        assert list(decoded) == ["generatedAt", "replica", "backend", "queue", "counts", "paging", "definitions"]
        assert msgspec.json.encode(msgspec.convert(decoded, Report)) + b"\n" == response.body
