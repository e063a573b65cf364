"""The program may die at any request, or any request may fail: the same state is reached in the end.

Sieve (OSDI '22) and Anvil (OSDI '24) have shown that this is where controllers err. One transport sees all requests
here, and time is virtual, so nothing is left to chance: each scenario is run once to count its requests, and then once
for each of them and for each way in which it may go wrong.
"""

from collections.abc import Callable
from typing import NamedTuple

import httpx
import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import Json, Object, mapping, text
from secrets_manager.config import ControllerConfig
from tests.controller.component import Scene, keys_map, running
from tests.doubles import faults as fault
from tests.doubles.faults import Fault

FINALIZER = "secret.finalizer.secrets-manager.tuenti.io"
RARELY = ControllerConfig(reconcile_period=600)
"""No poll of Vault comes to the rescue."""
QUIET = 20.0
"""Seconds: longer than a client waits for an answer and than any pause after two or three failures."""
CALM = 2.0
"""The same where nothing fails."""

Step = Callable[[Scene], None]
Mode = Callable[[Scene], Fault]


def nothing(scene: Scene) -> None:
    """Begin with an empty cluster."""


def in_sync(scene: Scene) -> None:
    scene.write("app", password="hunter-1", user="user-1")
    scene.define("app", password="app#password", user="app#user")


def create(scene: Scene) -> None:
    scene.write("app", password="hunter-1", user="user-1")
    scene.define("app", password="app#password", user="app#user")


def update(scene: Scene) -> None:
    scene.write("app", password="hunter-2", user="user-2")


def edit(scene: Scene) -> None:
    scene.edit("app", {"metadata": {"labels": None, "ownerReferences": None}, "data": {"password": "ZWRpdGVk"}})


def rename(scene: Scene) -> None:
    scene.change("app", name="renamed")


def retype(scene: Scene) -> None:
    scene.change("app", type="kubernetes.io/basic-auth")


def whole(scene: Scene, **fields: Json) -> None:
    """A definition of a whole document."""
    scene.write("app", password="hunter-1", user="user-1")
    scene.define_as_it_is("app", {"name": "app", "dataFrom": [{"path": "secret/data/app"}], **fields})


def orphan_in_sync(scene: Scene) -> None:
    whole(scene, creationPolicy="Orphan")


def immutable_in_sync(scene: Scene) -> None:
    whole(scene, immutable=True)


def disown(scene: Scene) -> None:
    scene.change("app", creationPolicy="Orphan", metadata={"labels": {"team": "shop"}})


def merging(scene: Scene, name: str = "app") -> None:
    """A Secret of another client, and a definition that merges into it."""
    scene.foreign_secret(name, data={"token": "theirs"}, labels={"theirs": "yes"})
    scene.write("app", password="hunter-1", user="user-1")
    spec: Object = {"name": name, "creationPolicy": "Merge", "dataFrom": [{"path": "secret/data/app"}]}
    scene.define_as_it_is("app", spec)


def merged_in_sync(scene: Scene) -> None:
    merging(scene)


def second(scene: Scene) -> None:
    """Another one, which keeps the metadata watched."""
    merging(scene)
    scene.foreign_secret("second")
    spec: Object = {"name": "second", "creationPolicy": "Merge", "dataFrom": [{"path": "secret/data/app"}]}
    scene.define_as_it_is("second", spec)


def take_back(scene: Scene) -> None:
    scene.edit("app", {"data": {"password": None}})


def move(scene: Scene) -> None:
    scene.foreign_secret("moved")
    scene.change("app", name="moved")


def leave(scene: Scene) -> None:
    scene.delete("app")


def own(scene: Scene) -> None:
    scene.change("app", name="own", creationPolicy="Owner")


def take_over(scene: Scene) -> None:
    scene.foreign_secret("app", data={"password": "theirs"})
    scene.write("app", password="hunter-1", user="user-1")
    spec: Object = {"name": "app", "creationPolicy": "Merge", "dataFrom": [{"path": "secret/data/app"}]}
    scene.define_as_it_is("app", spec, annotations={"secrets-manager.tuenti.io/adopt": "true"})


def adopt(scene: Scene) -> None:
    scene.foreign_secret("app", data={"token": "theirs"}, labels={"theirs": "yes"}, annotations={"their/note": "x"})
    scene.write("app", password="hunter-1", user="user-1")
    scene.define("app", annotations={"secrets-manager.tuenti.io/adopt": "true"}, password="app#password")


def orphan_of_another(scene: Scene) -> None:
    scene.write("app", password="hunter-1", user="user-1")
    spec: Object = {"name": "app", "creationPolicy": "Orphan", "keysMap": keys_map(user="app#user")}
    scene.define_as_it_is("other", spec)


def adopt_of_another(scene: Scene) -> None:
    scene.define("app", annotations={"secrets-manager.tuenti.io/adopt": "true"}, password="app#password")


def adopt_what_is_left(scene: Scene) -> None:
    scene.delete("other")
    adopt_of_another(scene)


def inherit(scene: Scene) -> None:
    scene.foreign_secret(
        "app", data={"password": "hunter-0"}, labels={"app.kubernetes.io/managed-by": "secrets-manager"}
    )
    scene.write("app", password="hunter-1")
    scene.define("app", finalizers=(FINALIZER,), password="app#password")


def delete(scene: Scene) -> None:
    scene.foreign_secret(
        "app", data={"password": "hunter-0"}, labels={"app.kubernetes.io/managed-by": "secrets-manager"}
    )
    scene.foreign_secret("theirs")
    scene.define("app", finalizers=(FINALIZER,), password="app#password")
    scene.delete("app")


def refuse(scene: Scene) -> None:
    scene.foreign_secret("app", data={"token": "theirs"})
    scene.write("app", password="hunter-1")
    scene.define("app", password="app#password")


class Scenario(NamedTuple):
    """What the program has brought to rest before, and what happens while it is away."""

    given: Step
    happens: Step


SCENARIOS = {
    "create": Scenario(nothing, create),
    "update": Scenario(in_sync, update),
    "edit": Scenario(in_sync, edit),
    "rename": Scenario(in_sync, rename),
    "retype": Scenario(in_sync, retype),
    "replace": Scenario(immutable_in_sync, update),
    "disown": Scenario(in_sync, disown),
    "rename orphan": Scenario(orphan_in_sync, rename),
    "adopt": Scenario(nothing, adopt),
    "adopt what another one keeps": Scenario(orphan_of_another, adopt_of_another),
    "adopt what another one has left": Scenario(orphan_of_another, adopt_what_is_left),
    "inherit": Scenario(nothing, inherit),
    "delete": Scenario(nothing, delete),
    "refuse": Scenario(nothing, refuse),
    "merge": Scenario(nothing, merging),
    "merge an update": Scenario(merged_in_sync, update),
    "merge again": Scenario(merged_in_sync, take_back),
    "merge into another": Scenario(merged_in_sync, move),
    "merge no more": Scenario(second, leave),
    "own in place of merge": Scenario(second, own),
    "merge and adopt": Scenario(nothing, take_over),
}

DEATHS: dict[str, Mode] = {
    "before the request arrives": lambda scene: fault.kill_before(scene.life),
    "after the request has arrived": lambda scene: fault.kill_after(scene.life),
}
FAILURES: dict[str, Fault] = {
    "the request is lost": fault.lose_request(),
    "the reply is lost": fault.lose_reply(),
    "the reply is late": fault.late(60),
    "the request arrives twice": fault.twice,
    "the reply is rubbish": fault.rubbish(b"<html>"),
    "409": fault.answer(409, reason="Conflict"),
    "429": fault.answer(429, reason="TooManyRequests", headers={"Retry-After": "3"}),
    "500": fault.answer(500, reason="InternalError"),
}


def old_list(revision: int) -> Fault:
    """Answer lists from an earlier state. A get without a resourceVersion is never behind: etcd itself is asked."""

    async def answer(request: httpx.Request, send: fault.Send) -> httpx.Response:
        is_list = request.url.path.endswith(("/secrets", "/secretdefinitions")) and request.method == "GET"
        return await (fault.as_of(revision)(request, send) if is_list else send(request))

    return answer


async def course(scenario: Scenario, *, at: int = 0, mode: Mode | None = None) -> tuple[Object, int]:
    """Let the scenario happen, with one request gone wrong. Returns the state in the end, and how many there were."""
    async with running(alive=False, config=RARELY) as scene:
        scenario.given(scene)
        if scenario.given is not nothing:
            scene.start()
            await scene.settled(CALM)
            await scene.stop()
        scenario.happens(scene)
        before = len(scene.faults.calls)
        scene.start()
        if mode is not None:
            scene.faults.at(before + at, mode(scene))
        await scene.settled(QUIET if mode else CALM)
        requests = len(scene.faults.calls) - before
        if scene.life.cancel_called:
            await scene.over()
            scene.start()
            await scene.settled(CALM)
        return scene.picture(), requests


UNSPOILT: dict[Scenario, tuple[Object, int]] = {}
"""What comes of a scenario in which nothing goes wrong, once it has been seen: it is the same each time."""


async def courses(scenario: Scenario, mode: Mode) -> tuple[dict[int, Object], dict[int, Object]]:
    """What comes of it for each request that goes wrong; and what should."""
    if scenario not in UNSPOILT:
        UNSPOILT[scenario] = await course(scenario)
    expected, requests = UNSPOILT[scenario]
    reached = {at: (await course(scenario, at=at, mode=mode))[0] for at in range(1, requests + 1)}
    return reached, dict.fromkeys(reached, expected)


@pytest.mark.parametrize("mode", DEATHS.values(), ids=DEATHS)
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
async def test_the_program_may_die_at_any_request(scenario: Scenario, mode: Mode, autojump_clock: MockClock) -> None:
    reached, expected = await courses(scenario, mode)
    assert reached == expected


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
async def test_any_request_may_fail(scenario: Scenario, failure: Fault, autojump_clock: MockClock) -> None:
    reached, expected = await courses(scenario, lambda _: failure)
    assert reached == expected


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
async def test_any_list_may_show_an_earlier_state(scenario: Scenario, autojump_clock: MockClock) -> None:
    """As an API server does that is behind its peers."""
    reached, expected = await courses(scenario, lambda scene: old_list(scene.cluster.storage.revision - 2))
    assert reached == expected


@pytest.mark.parametrize(("again", "name"), [(rename, "renamed"), (retype, "app")])
async def test_a_new_leader_that_sees_an_old_definition_deletes_nothing_of_what_the_one_before_it_made(
    again: Step, name: str, autojump_clock: MockClock
) -> None:
    """Its watch may lead to an API server that is behind the one of the other leader."""
    async with running(config=RARELY) as scene:
        in_sync(scene)
        await scene.settled(CALM)
        before = scene.cluster.storage.revision
        again(scene)
        await scene.settled(CALM)
        expected, uid = scene.picture(), text(scene.secret(name), "metadata", "uid")
        await scene.stop()

        of_definitions = fault.on_path(ends="/secretdefinitions")
        scene.faults.always(fault.late(5), when=lambda request: of_definitions(request) and fault.is_watch(request))
        scene.faults.always(old_list(before), when=of_definitions)
        scene.start()
        await scene.settled(QUIET)

        assert scene.picture() == expected
        assert text(scene.secret(name), "metadata", "uid") == uid


BOTH: Object = {"password": "hunter-1", "user": "user-1"}
ONE: Object = {"password": "hunter-1"}
OWNER = "secrets-manager.tuenti.io/owner"
OURS: Object = {"app.kubernetes.io/managed-by": "secrets-manager", OWNER: "app"}


def picture(
    name: str,
    values: Object,
    *,
    version: int = 1,
    type_: str = "Opaque",
    labels: Object = OURS,
    owners: tuple[str, ...] = ("app",),
) -> Object:
    """One definition that is in sync, and its Secret."""
    sources: Json = [{"path": "secret/data/app", "version": version}]
    return {
        "secrets": {name: {"type": type_, "values": values, "labels": labels, "owners": [*owners]}},
        "definitions": {"app": {"reason": "Synced", "secretName": name, "sources": sources, "finalizers": []}},
    }


REFUSED: Object = {"reason": "SecretNotOwned", "secretName": "", "sources": None, "finalizers": []}
THEIRS: Object = {"type": "Opaque", "values": {}, "labels": {}, "owners": []}
ENDS: dict[str, Object] = {
    "create": picture("app", BOTH),
    "update": picture("app", {"password": "hunter-2", "user": "user-2"}, version=2),
    "edit": picture("app", BOTH),
    "rename": picture("renamed", BOTH),
    "retype": picture("app", BOTH, type_="kubernetes.io/basic-auth"),
    "replace": picture("app", {"password": "hunter-2", "user": "user-2"}, version=2),
    "disown": picture("app", BOTH, labels={"team": "shop", **OURS}, owners=()),
    "rename orphan": picture("renamed", BOTH, owners=()),
    "adopt": picture("app", ONE, labels={"theirs": "yes", **OURS}),
    "adopt what another one keeps": {
        "secrets": {"app": {**THEIRS, "values": {"user": "user-1"}, "labels": OURS | {OWNER: "other"}}},
        "definitions": {
            "app": REFUSED,
            "other": mapping(picture("app", {}), "definitions")["app"],
        },
    },
    "adopt what another one has left": picture("app", ONE),
    "inherit": picture("app", ONE),
    "delete": {"secrets": {"theirs": THEIRS}, "definitions": {}},
    "refuse": {
        "secrets": {"app": {**THEIRS, "values": {"token": "theirs"}}},
        "definitions": {"app": REFUSED},
    },
}


def merged(values: Object, *, into: str = "app", version: int = 1, name: str = "app", theirs: bool = False) -> Object:
    """A definition that is in sync, and the Secret of others that it merges into."""
    secret: Object = {"type": "Opaque", "values": values, "labels": LABELLED if theirs else {}, "owners": []}
    sources: Json = [{"path": "secret/data/app", "version": version}]
    return {
        "secrets": {into: secret},
        "definitions": {name: {"reason": "Synced", "secretName": into, "sources": sources, "finalizers": []}},
    }


def both(one: Object, other: Object) -> Object:
    return {name: {**mapping(one, name), **mapping(other, name)} for name in ("secrets", "definitions")}


LABELLED: Object = {"theirs": "yes"}
TOKEN: Object = {"token": "theirs"}
UNMERGED: Object = {
    "secrets": {"app": {**THEIRS, "values": TOKEN, "labels": LABELLED}},
    "definitions": {},
}
SECOND = merged(BOTH, into="second", name="second")
ENDS_OF_MERGES: dict[str, Object] = {
    "merge": merged(TOKEN | BOTH, theirs=True),
    "merge an update": merged(TOKEN | {"password": "hunter-2", "user": "user-2"}, version=2, theirs=True),
    "merge again": merged(TOKEN | BOTH, theirs=True),
    "merge into another": both(UNMERGED, merged(BOTH, into="moved")),
    "merge no more": both(UNMERGED, SECOND),
    "own in place of merge": both(both(UNMERGED, picture("own", BOTH)), SECOND),
    "merge and adopt": merged(BOTH),
}


async def test_where_the_scenarios_lead(autojump_clock: MockClock) -> None:
    """So that equal states are not equally wrong."""
    assert {name: (await course(scenario))[0] for name, scenario in SCENARIOS.items()} == ENDS | ENDS_OF_MERGES
