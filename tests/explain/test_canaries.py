"""No value is in what `explain` and `plan` print, fail with or log, in whatever encoding."""

import base64
import logging
from urllib.parse import quote

import msgspec
import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import Object
from secrets_manager.explain.json import encoded
from secrets_manager.explain.text import explained, planned
from tests.canaries import encodings
from tests.controller.component import Scene, running
from tests.controller.test_crashes import CALM
from tests.doubles import faults as fault
from tests.explain.running import ExplainRunner, manifest_of

OLD, NEW, FOREIGN, DOCUMENT = (
    "canary-old-7d1f!",
    "canary-new-é\n91c2",
    "canary-theirs-55aa",
    '{"canary-json": "x/y+z=="}',
)
NUMBER = 4815162342
BASE64_VALUE = base64.b64encode(b"canary-decoded\x00\xff").decode()


CANARIES = {
    text for canary in (OLD, NEW, FOREIGN, DOCUMENT, str(NUMBER), BASE64_VALUE, "canary-") for text in encodings(canary)
}


def leaks(text: str) -> set[str]:
    return {canary for canary in CANARIES if canary in text}


def plant(scene: Scene) -> None:
    values: Object = {"one": OLD, "number": NUMBER, "json": DOCUMENT, "bytes": BASE64_VALUE, "null": None}
    scene.vault.write_kv("secret/data/app", values)
    key: Object = {"path": "secret/data/app"}
    keys: Object = {
        "one": {**key, "key": "one"},
        "number": {**key, "key": "number"},
        "bytes": {**key, "key": "bytes", "encoding": "base64"},
        "url": {"template": "x{{ app.one }}y"},
    }
    scene.define_as_it_is("app", {"name": "app", "keysMap": keys, "sources": {"app": key}})


def spoil(scene: Scene) -> None:
    """Change all values, and break a key for each reason that a value can have."""
    scene.vault.write_kv("secret/data/app", {"one": NEW, "json": DOCUMENT, "bytes": NEW, "null": None})
    key: Object = {"path": "secret/data/app"}
    broken: dict[str, Object] = {
        "bytes": {**key, "key": "bytes", "encoding": "base64"},
        "null": {**key, "key": "null"},
        "missing": {**key, "key": "missing"},
        "property": {**key, "key": "one", "property": "x"},
        "template": {"template": "{{ app.one | base64_decode }}"},
    }
    for name, entry in broken.items():
        keys: Object = {"good": {**key, "key": "one"}, "broken": entry}
        scene.define_as_it_is(name, {"name": name, "keysMap": keys, "sources": {"app": key}})
    scene.define_as_it_is("whole", {"name": "whole", "dataFrom": [{**key, "exclude": ["null"]}]})
    scene.define_as_it_is("foreign", {"name": "foreign", "keysMap": {"one": {**key, "key": "one"}}})
    applied: Object = {"data": {"token": base64.b64encode(FOREIGN.encode()).decode()}}
    annotation = {"kubectl.kubernetes.io/last-applied-configuration": msgspec.json.encode(applied).decode()}
    scene.foreign_secret("foreign", data={"token": FOREIGN}, annotations={**annotation})


async def test_no_value_is_shown(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running() as scene:
        plant(scene)
        await scene.settled(CALM)
        await scene.stop()
        spoil(scene)
        runner = ExplainRunner(scene)

        explanations = await runner.explain()
        plans = await runner.plan(*(manifest_of(scene.definition(each.name)) for each in explanations))

    assert sorted({each.problem.reason for each in explanations if each.problem}) == [
        "SecretNotOwned",
        "SourceInvalid",
        "SourceNotFound",
    ]
    assert any(each.changes for each in explanations)
    for each in (explanations, plans):
        assert leaks(explained(each) + planned(each) + encoded(each) + repr(each)) == set()
    assert leaks(caplog.text) == set()


@pytest.mark.parametrize("canary", [OLD, base64.b64encode(OLD.encode()).decode(), quote(OLD), f"data: {OLD!r}"])
async def test_a_message_of_the_server_with_a_value_is_withheld(canary: str, autojump_clock: MockClock) -> None:
    async with running(alive=False) as scene:
        plant(scene)
        runner = ExplainRunner(scene)
        runner.transport.always(
            fault.answer(403, reason="Forbidden", message=f"a webhook says {canary}"),
            when=lambda request: request.url.path.startswith("/api/v1/namespaces/shop/secrets"),
        )
        explanations = await runner.explain("app")

    shown = explained(explanations) + encoded(explanations)
    assert "SecretUnreadable" in shown
    assert leaks(shown) == set()
