import trio

from secrets_manager.backends import Document, Source
from secrets_manager.controller.desired import NO_TEXTS, desired
from secrets_manager.controller.resolving import make_desired
from secrets_manager.controller.spec import DataFrom, Spec
from tests.gen import data_source

DB = Source("secret/data/db")
DOCUMENTS = {DB: Document(values={"user": "shop", "port": "1"}, marker="1")}


async def turns_during(wanted: Spec) -> int:
    """How often others had a turn while the Secret was made, which is the same as if it was made at once."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await trio.lowlevel.checkpoint()
        before = turns
        assert await make_desired(wanted, DOCUMENTS, NO_TEXTS) == desired(wanted, DOCUMENTS)
        nursery.cancel_scope.cancel()
    return turns - before


async def test_others_have_a_turn_between_two_keys() -> None:
    keys = {f"key-{number:02}": data_source("secret/data/db#user") for number in range(20)}

    assert await turns_during(Spec(name="db", keys_map=keys)) > 15


async def test_others_have_a_turn_between_two_documents() -> None:
    entries = tuple(DataFrom(path=DB.path) for _ in range(20))

    assert await turns_during(Spec(name="db", data_from=entries)) > 15


async def test_others_have_a_turn_between_two_documents_that_give_problems() -> None:
    entries = tuple(DataFrom(path=DB.path, include=("other",)) for _ in range(20))

    assert await turns_during(Spec(name="db", data_from=entries)) > 15
