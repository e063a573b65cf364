"""Lists of more bytes than are read at once: their pages shrink until they fit."""

from trio.testing import MockClock

from tests.controller.component import running
from tests.doubles.faults import Call

MIB = 1024 * 1024
CALM = 2.0


async def test_owned_secrets_of_a_mebibyte_each_do_not_keep_the_program_from_being_ready(
    autojump_clock: MockClock,
) -> None:
    async with running(alive=False) as scene:
        for number in range(14):
            owner = {"secrets-manager.tuenti.io/owner": "some-uid"}
            scene.foreign_secret(f"large-{number}", data={"k": "x" * MIB}, labels={**owner})
        scene.write("app", password="hunter-1")
        scene.define("app", pw="app#password")
        scene.start()
        await scene.settled(CALM)

        assert (scene.unsynced, scene.unwatched) == ([], [])
        assert scene.values("app") == {"pw": "hunter-1"}
        requests = scene.faults.count(lambda call: call == Call("GET", "/api/v1/secrets"))
        assert requests == 5 + 2 + 1  # from 250 to 125, 62, 31, 15 and 7; 7 and 7 of them; the watch
