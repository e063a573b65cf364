"""Warnings of the API server in the response to a write of a Secret are in the condition."""

import pytest
from trio.testing import MockClock

from tests.controller.component import running
from tests.doubles import faults as fault

PEM = "tls: failed to find any PEM data in certificate input"
IN_SYNC = "Secret app is in sync"


async def test_a_warning_is_reported_until_the_next_write_also_by_the_next_process(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.faults.next(fault.warned(PEM, "more"), when=fault.on_path(ends="/secrets"), times=3)
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        warned = f"{IN_SYNC}, and Kubernetes warns: {PEM}; more"
        assert (scene.reason("app"), scene.message("app")) == ("Synced", warned)

        scene.annotate("app", **{"force-sync": "1"})
        await scene.settled()
        assert scene.message("app") == warned

        await scene.stop()
        scene.start()
        await scene.settled()
        assert scene.message("app") == warned

        scene.write("app", password="hunter-2")
        await scene.settled()
        assert scene.message("app") == IN_SYNC

        scene.faults.next(fault.warned(PEM), when=fault.on_path(ends="/secrets/app"))
        scene.write("app", password="hunter-3")
        await scene.settled()
        assert scene.message("app") == f"{IN_SYNC}, and Kubernetes warns: {PEM}"


async def test_a_warning_is_that_of_the_last_write_also_if_that_did_not_end_a_fight(autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()
        scene.faults.next(fault.warned(PEM), when=fault.on_path(ends="/secrets/app"), times=2)
        for _ in range(3):  # the third one makes it a fight
            scene.edit("app", {"data": {"pw": "ZWRpdGVk"}})
            await scene.passed(1)
        assert scene.reason("app") == "SecretContended"

        await scene.passed(150)
        assert (scene.reason("app"), scene.message("app")) == ("Synced", IN_SYNC)


@pytest.mark.parametrize("words", ["hunter-1", "aHVudGVyLTE="], ids=["plain", "base64"])
async def test_a_warning_that_may_quote_a_value_is_withheld(words: str, autojump_clock: MockClock) -> None:
    async with running() as scene:
        scene.faults.next(fault.warned(f"weak password {words}"), when=fault.on_path(ends="/secrets"), times=3)
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        await scene.settled()

        assert scene.message("app") == (
            f"{IN_SYNC}, and Kubernetes warns: the server's message is withheld: it may quote a value"
        )
