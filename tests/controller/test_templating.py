import gc
import subprocess
import sys
import tracemalloc
from threading import Event

import pytest
import trio

from secrets_manager import templates
from secrets_manager.backends import Document, Source
from secrets_manager.controller import templating
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.desired import Desired, desired
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.redaction import may_contain_value
from secrets_manager.controller.spec import DataSource, NamedSource, Spec
from secrets_manager.controller.templated import MAX_PARTS_LENGTH, MAX_TEXTS, Texts
from secrets_manager.controller.templating import read_templates, render_templates
from secrets_manager.templates import MAX_PARTS, MAX_TEMPLATE, MAX_TEXT, Rendered
from tests.gen import spec

DB = Source("secret/data/db")
NAMED = {"db": NamedSource(path=DB.path)}


def made(*templates: str) -> Spec:
    keys = {f"key-{number:02}": DataSource(template=text) for number, text in enumerate(templates)}
    return Spec(name="db", keys_map=keys, sources=NAMED)


async def rendered(wanted: Spec, **values: str) -> Texts:
    templates = await read_templates(wanted)
    assert not isinstance(templates, Problem)
    return await render_templates(templates, wanted, {DB: Document(values={**values}, marker="1")})


async def texts(wanted: Spec, **values: str) -> dict[str, str | Problem]:
    found = await rendered(wanted, **values)
    return {key: made.text if isinstance(made, Rendered) else made for key, made in found.items()}


async def test_templates_become_values() -> None:
    wanted = made("{{ db.user }}", "{{ db.user | upcase }}")
    found = await rendered(wanted, user="shop")

    assert found == {"key-00": Rendered("shop"), "key-01": Rendered("SHOP", ("SHOP",))}
    assert "SHOP" not in repr(found)
    document = Document(values={"user": "shop"}, marker="1")
    assert not isinstance(target := desired(wanted, {DB: document}, found), Problem)
    assert target.data == {"key-00": b"shop", "key-01": b"SHOP"}


async def test_a_template_without_a_value_is_a_problem_of_its_key() -> None:
    assert await texts(made("{{ db.none }}", "{{ db.user }}"), user="shop") == {
        "key-00": Problem(
            Reason.SOURCE_NOT_FOUND,
            "key key-00: 'none' at secret/data/db does not exist: write it, or correct the name",
        ),
        "key-01": "shop",
    }


async def test_all_faults_of_templates_are_reported_at_once() -> None:
    assert await read_templates(made("{{ db.user", "{{ db.user }}", "{{ api.user }}{{ other.user }}")) == Problem(
        Reason.DEFINITION_INVALID,
        "key key-00: template: line 1: {{ is never closed: add }}, or write it in raw; "
        "key key-02: source 'api' is not in spec.sources: add it there, or correct the name; "
        "source 'other' is not in spec.sources: add it there, or correct the name",
    )


async def test_others_have_a_turn_between_two_templates() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    wanted = made(*("{{ db.user }}" for _ in range(20)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        templates = await read_templates(wanted)
        assert not isinstance(templates, Problem)
        before = turns
        await render_templates(templates, wanted, {DB: Document(values={"user": "x"}, marker="1")})
        nursery.cancel_scope.cancel()

    assert before > 15
    assert turns - before > 15


async def test_texts_of_a_definition_are_bounded_together() -> None:
    half = "x" * (MAX_TEXTS // 2 - 1)
    found = await texts(made(*["{{ db.half }}."] * 5), half=half)

    assert [isinstance(each, str) for each in found.values()] == [True, True, True, False, False]
    why = "key key-04: the templates before it make more than a Secret holds: split it into several"
    assert found["key-04"] == Problem(Reason.SECRET_REJECTED, why)


def parts_kept(found: Texts) -> list[int | None]:
    """Return how many each template has, None where they are not kept."""
    rendered = [each for each in found.values() if isinstance(each, Rendered)]
    assert len(rendered) == len(found)
    return [None if each.parts is None else len(each.parts) for each in rendered]


@pytest.mark.parametrize(("suffix", "kept"), [("{number}", [1] * 7 + [None] * 2), ("x", [1] + [0] * 8)])
async def test_what_filters_make_is_kept_once_and_up_to_a_length(suffix: str, kept: list[int | None]) -> None:
    half = "x" * (MAX_TEXT // 2)
    assert len(half) * 8 == MAX_PARTS_LENGTH
    steps = (f"{{% assign x = db.half | append: '{suffix.format(number=number)}' %}}" for number in range(9))

    assert parts_kept(await rendered(made(*steps), half=half)) == kept


WORDS = {f"words{number}": ",".join(f"{number}-{word}" for word in range(1024)) for number in range(5)}
MANY = [f"{{% assign x = db.{name} | split: ',' %}}" for name in WORDS]


async def test_what_filters_make_is_kept_up_to_a_number() -> None:
    assert MAX_PARTS == 4096

    assert parts_kept(await rendered(made(*MANY[:4], *MANY), **WORDS)) == [1024] * 4 + [0] * 4 + [None]
    assert parts_kept(await rendered(made("".join(MANY[:4]), MANY[0]), **WORDS)) == [4096, 0]
    assert parts_kept(await rendered(made("".join(MANY), MANY[0]), **WORDS)) == [None, None]


async def test_no_message_is_shown_where_more_is_made_than_is_kept() -> None:
    """Each is looked for in each message: they would hold the event loop for seconds."""
    document = Document(values={**WORDS}, marker="1")

    for parts, values_known in ((MANY[:4], True), (MANY, False)):
        wanted = made(*parts)
        target = desired(wanted, {DB: document}, await rendered(wanted, **WORDS))
        assert isinstance(target, Desired)
        assert (target.values is not None) is values_known
        assert may_contain_value("no words of it", target.values) is not values_known
        assert not may_contain_value("", target.values)


async def test_templates_of_a_definition_that_is_gone_are_not_kept() -> None:
    await read_templates(made("{{ db.user }}"))
    tracemalloc.start()
    try:
        for number in range(20):
            assert not isinstance(
                await read_templates(made(f"{number}{{{{ db.user }}}}" + "\U0001f600" * 60_000)), Problem
            )
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < MAX_TEMPLATE


async def test_the_end_of_the_program_waits_for_no_import(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, over = Event(), Event()
    imported: list[str] = []

    def import_slowly(name: str) -> None:
        begun.set()
        over.wait(timeout=10)
        imported.append(name)

    monkeypatch.setattr(templating, "import_module", import_slowly)
    monkeypatch.delattr(templates, templates.PARSER, raising=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_templates, made("{{ db.user }}"))
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()

    assert imported == []
    over.set()


async def test_only_what_is_missing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    wanted = made("{{ db.chain | certificates }}")
    await texts(wanted, chain="")
    monkeypatch.setattr(templating, "import_module", imported.append)
    monkeypatch.delattr(templates, "certificates")

    await texts(wanted, chain="")

    assert imported == ["secrets_manager.templates.certificates"]


async def test_a_definition_without_templates_has_nothing_to_read() -> None:
    assert await read_templates(spec()) == {}


PROGRAM = """
import sys, threading, trio
from secrets_manager.backends import Document, Source
from secrets_manager.controller.spec import DataSource, NamedSource, Spec
from secrets_manager.controller.templating import read_templates, render_templates

imports = {}

def watch(event, details):
    if event == "import" and details[0] in ("liquid", "cryptography"):
        imports.setdefault(details[0], threading.current_thread() is threading.main_thread())

async def main():
    for template in (None, "{{ db.user }}", "{{ db.user | certificates }}"):
        source = DataSource(path="db", key="user") if template is None else DataSource(template=template)
        spec = Spec(name="db", keys_map={"key": source}, sources={"db": NamedSource(path="db")})
        templates = await read_templates(spec)
        await render_templates(templates, spec, {Source("db"): Document(values={"user": ""}, marker="1")})
        print(imports)

sys.addaudithook(watch)
trio.run(main)
"""


@pytest.mark.real
def test_libraries_are_imported_when_they_are_needed_and_in_a_thread() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)

    assert found.stdout.splitlines() == ["{}", "{'liquid': False}", "{'liquid': False, 'cryptography': False}"]
