import tracemalloc

import trio

from secrets_manager.backends import Document, Source
from secrets_manager.controller.desired import NO_TEXTS, desired
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.resolving import make_desired
from secrets_manager.controller.spec import DataFrom, Spec
from tests.gen import data_source

DB = Source("secret/data/db")
DOCUMENTS: Documents = {DB: Document(values={"user": "shop", "port": "1"}, marker="1")}


def at_db(values: dict[str, str | None]) -> Documents:
    return {DB: Document(values=values, marker="1")}


async def turns_during(wanted: Spec, documents: Documents = DOCUMENTS) -> int:
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
        assert await make_desired(wanted, documents, NO_TEXTS) == desired(wanted, documents)
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


async def test_others_have_a_turn_between_two_names_that_many_globs_look_at() -> None:
    globs = tuple("*" + "a" * 126 + f"b{number:02}" for number in range(64))
    names: dict[str, str | None] = {"a" * 250 + f"{number:03}": "" for number in range(20)}

    assert await turns_during(Spec(name="db", data_from=(DataFrom(path=DB.path, exclude=globs),)), at_db(names)) > 35


async def test_others_have_a_turn_between_two_globs_that_are_read() -> None:
    globs = tuple("a" * 250 + f"{number:02}" for number in range(64))
    wanted = Spec(name="db", data_from=(DataFrom(path=DB.path, exclude=globs),))

    assert await turns_during(wanted) > 15


async def test_others_have_a_turn_while_a_document_of_many_names_gives_none() -> None:
    names: dict[str, str | None] = {f"other {number}": "" for number in range(50_000)}

    assert await turns_during(Spec(name="db", data_from=(DataFrom(path=DB.path),)), at_db(names)) > 30


async def test_texts_of_problems_are_not_kept() -> None:
    """Thousands of keys may have one each, which has the whole path in it."""
    long = Source("secret/data/" + "x" * 4000)
    documents: Documents = {long: Document(values={f"{number}": None for number in range(2000)}, marker="1")}
    wanted = Spec(name="db", data_from=(DataFrom(path=long.path),))
    tracemalloc.start()
    try:
        made = await make_desired(wanted, documents, NO_TEXTS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert made == desired(wanted, documents)
    assert isinstance(made, Problem)
    assert made.message.endswith(" (and 1999 more of its keys)")
    assert peak < 1024 * 1024
