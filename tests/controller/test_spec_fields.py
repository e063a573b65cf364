"""Whole secrets, metadata, immutability and orphans, as people see them in the cluster."""

from contextlib import nullcontext

import pytest

from fake_kubernetes.documents import Json, Object, at, items, mapping, text
from tests.controller.component import Scene, definition_path, running
from tests.doubles import faults as fault

PERIOD = 5.0
FINALIZER = "secret.finalizer.secrets-manager.tuenti.io"
"""That of the Go original."""
NAMED: Object = {"db": {"path": "secret/data/db"}}


async def defined(scene: Scene, name: str = "app", **spec: Json) -> None:
    scene.define_as_it_is(name, {"name": "app", **spec})
    await scene.settled()


def labels(scene: Scene, name: str = "app") -> Object:
    return mapping(scene.secret(name), "metadata", "labels")


def owners(scene: Scene, name: str = "app") -> list[str]:
    return [text(owner, "name") for owner in items(scene.secret(name), "metadata", "ownerReferences")]


@pytest.mark.parametrize("entry", [{"path": "secret/data/db"}, {"source": "db"}], ids=["by path", "by name"])
async def test_a_whole_secret_follows_its_document(autojump_clock: object, entry: Object) -> None:
    async with running() as scene:
        scene.write("db", user="canary-user", password="canary-1")
        await defined(scene, sources=NAMED, dataFrom=[entry])
        assert scene.values("app") == {"user": "canary-user", "password": "canary-1"}

        scene.write("db", password="canary-2", host="canary-host")
        await scene.settled()
        assert scene.values("app") == {"password": "canary-2", "host": "canary-host"}
        assert at(scene.definition("app"), "status", "sources") == [{"path": "secret/data/db", "version": 2}]


async def test_a_document_that_is_emptied_or_gone_changes_nothing(autojump_clock: object) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        await defined(scene, dataFrom=[{"path": "secret/data/db"}])

        scene.write("db")
        await scene.settled()
        assert (scene.reason("app"), scene.values("app")) == ("SourceInvalid", {"password": "canary-1"})
        assert "secret/data/db is empty" in scene.message("app")

        scene.vault.delete_kv("secret/data/db")
        await scene.settled()
        assert (scene.reason("app"), scene.values("app")) == ("SourceNotFound", {"password": "canary-1"})


async def test_keys_leave_with_their_entry(autojump_clock: object) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        scene.write("api", token="canary-2")
        await defined(scene, dataFrom=[{"path": "secret/data/db"}, {"path": "secret/data/api", "prefix": "API_"}])
        assert scene.values("app") == {"password": "canary-1", "API_token": "canary-2"}

        scene.change("app", dataFrom=[{"path": "secret/data/api"}])
        await scene.settled()
        assert scene.values("app") == {"token": "canary-2"}


URL = "postgresql://{{ db.user }}:{{ db.password | url_encode }}@db/shop"


async def test_a_template_follows_its_sources(autojump_clock: object) -> None:
    async with running() as scene:
        scene.write("db", user="canary-user", password="canary 1")
        await defined(scene, sources=NAMED, keysMap={"url": {"template": URL}})
        assert scene.values("app") == {"url": "postgresql://canary-user:canary%201@db/shop"}

        scene.write("db", user="canary-user", password="canary 2")
        await scene.settled()
        assert scene.values("app") == {"url": "postgresql://canary-user:canary%202@db/shop"}
        assert at(scene.definition("app"), "status", "sources") == [{"path": "secret/data/db", "version": 2}]
        written = len(scene.writes_to_secrets())
        scene.annotate("app", force="again")
        await scene.settled()
        assert len(scene.writes_to_secrets()) == written


@pytest.mark.parametrize(
    ("template", "reason", "message"),
    [
        (
            "{{ db.nothing }}",
            "SourceNotFound",
            "key url: 'nothing' at secret/data/db does not exist: write it, or correct the name",
        ),
        (
            "{{ db.none }}",
            "SourceInvalid",
            "key url: 'none' at secret/data/db is null: give it a value, or remove it from the template",
        ),
        ("{{ db.user | base64_decode }}", "SourceInvalid", "key url: template: line 1"),
        ("{{ gone.user }}", "SourceNotFound", "key url: path 'secret/data/gone' does not exist in Vault: write it"),
        ("{{ other.user }}", "DefinitionInvalid", "key url: source 'other' is not in spec.sources"),
        ("{{ db.user", "DefinitionInvalid", "key url: template: line 1"),
        ("{% for x in db %}{% endfor %}", "DefinitionInvalid", "key url: template: line 1"),
    ],
)
async def test_a_template_that_gives_no_value_is_a_problem_of_its_key(
    autojump_clock: object, template: str, reason: str, message: str
) -> None:
    sources: Object = {**NAMED, "gone": {"path": "secret/data/gone"}}
    async with running() as scene:
        scene.write("db", user="canary-user", none=None)
        await defined(scene, sources=sources, keysMap={"url": {"template": template}})

        assert (scene.reason("app"), scene.secret("app")) == (reason, None)
        assert message in scene.message("app")


async def test_a_refusal_that_quotes_a_part_of_a_templates_text_is_withheld(autojump_clock: object) -> None:
    async with running() as scene:
        scene.write("db", password="canary-hidden-in-the-middle")
        refusal = fault.answer(422, reason="Invalid", message="bad value: ...canary-hidden-in-the-middle...")
        scene.faults.always(
            refusal, when=lambda request: request.method == "POST" and request.url.path.endswith("/secrets")
        )
        await defined(scene, sources=NAMED, keysMap={"url": {"template": f"{'x' * 50}{{{{ db.password }}}}{'y' * 50}"}})

        assert scene.reason("app") == "SecretRejected"
        assert "canary" not in scene.message("app")


async def test_labels_and_annotations_of_the_spec_come_and_go_and_others_stay(autojump_clock: object) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        scene.define_as_it_is(
            "app",
            {
                "name": "app",
                "dataFrom": [{"path": "secret/data/db"}],
                "metadata": {"labels": {"example.com/tier": "db", "team": "spec"}, "annotations": {"note": "x"}},
            },
            labels={"team": "copied", "part": "copied"},
        )
        await scene.settled()
        assert {name: labels(scene).get(name) for name in ("example.com/tier", "team", "part")} == {
            "example.com/tier": "db",
            "team": "spec",
            "part": "copied",
        }
        assert at(scene.secret("app"), "metadata", "annotations", "note") == "x"

        scene.edit("app", {"metadata": {"labels": {"foreign": "stays", "example.com/tier": "changed"}}})
        await scene.settled()
        assert (labels(scene)["foreign"], labels(scene)["example.com/tier"]) == ("stays", "db")

        scene.change("app", metadata={"labels": {"example.com/tier": None}, "copy": False, "annotations": None})
        await scene.settled()
        assert {"example.com/tier", "part"}.isdisjoint(labels(scene))
        assert (labels(scene)["foreign"], labels(scene)["team"]) == ("stays", "spec")
        assert "note" not in mapping(scene.secret("app"), "metadata", "annotations")


async def test_an_immutable_secret_is_replaced_when_it_changes(autojump_clock: object) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        await defined(scene, dataFrom=[{"path": "secret/data/db"}])
        first = scene.secret("app")

        scene.change("app", immutable=True)
        await scene.settled()
        frozen = scene.secret("app")
        assert (at(frozen, "immutable"), at(frozen, "metadata", "uid")) == (True, at(first, "metadata", "uid"))

        scene.write("db", password="canary-2")
        await scene.settled()
        replaced = scene.secret("app")
        assert scene.values("app") == {"password": "canary-2"}
        assert at(replaced, "immutable") is True
        assert at(replaced, "metadata", "uid") != at(first, "metadata", "uid")

        scene.change("app", immutable=None)
        scene.write("db", password="canary-3")
        await scene.settled()
        assert (scene.values("app"), at(scene.secret("app"), "immutable")) == ({"password": "canary-3"}, None)


async def test_an_orphan_stays_when_its_definition_goes_and_the_next_of_its_name_carries_on(
    autojump_clock: object,
) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        await defined(scene, dataFrom=[{"path": "secret/data/db"}], creationPolicy="Orphan")
        assert (owners(scene), scene.reason("app")) == ([], "Synced")

        scene.edit("app", {"data": {"password": None, "more": "eA=="}})
        await scene.settled()
        assert scene.values("app") == {"password": "canary-1"}

        scene.delete("app")
        await scene.settled()
        assert scene.values("app") == {"password": "canary-1"}

        scene.write("db", password="canary-2")
        await scene.settled()
        assert scene.values("app") == {"password": "canary-1"}

        await defined(scene, dataFrom=[{"path": "secret/data/db"}])
        assert (owners(scene), scene.values("app")) == (["app"], {"password": "canary-2"})


async def test_an_orphan_of_another_definition_is_not_taken(autojump_clock: object) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        await defined(scene, "first", dataFrom=[{"path": "secret/data/db"}], creationPolicy="Orphan")
        await defined(scene, "second", dataFrom=[{"path": "secret/data/db"}], creationPolicy="Orphan")

        assert (scene.reason("first"), scene.reason("second")) == ("Synced", "SecretNotOwned")
        assert "is owned by SecretDefinition first: choose another spec.name" in scene.message("second")
        writes = len(scene.writes_to_secrets())
        await scene.passed(120)
        assert len(scene.writes_to_secrets()) == writes

        scene.delete("first")
        await scene.settled()
        assert "was made by SecretDefinition first: delete or rename it, or annotate" in scene.message("second")
        scene.annotate("second", adopt="true")
        await scene.settled()
        assert scene.reason("second") == "Synced"


async def two_that_adopt(scene: Scene, first: str, second: str) -> None:
    """Bring two definitions to rest that both adopt one Secret, with these creation policies."""
    scene.write("db", password="canary-1")
    for name, policy in (("first", first), ("second", second)):
        await defined(scene, name, dataFrom=[{"path": "secret/data/db"}], creationPolicy=policy)
        scene.annotate(name, adopt="true")
        await scene.settled()


@pytest.mark.parametrize("second", ["Orphan", "Owner"])
@pytest.mark.parametrize("first", ["Orphan", "Owner"])
async def test_two_definitions_that_adopt_one_secret_do_not_fight(
    autojump_clock: object, first: str, second: str
) -> None:
    async with running() as scene:
        await two_that_adopt(scene, first, second)
        scene.edit("app", {"metadata": {"ownerReferences": None}})
        await scene.settled()
        assert (scene.reason("first"), scene.reason("second")) == ("Synced", "SecretNotOwned")
        assert "is owned by SecretDefinition first: choose another spec.name" in scene.message("second")

        writes = len(scene.writes_to_secrets())
        await scene.passed(3_600)
        await scene.stop()
        scene.start()
        await scene.settled()
        assert len(scene.writes_to_secrets()) == writes
        assert (scene.reason("first"), scene.reason("second")) == ("Synced", "SecretNotOwned")


@pytest.mark.parametrize(
    "change", [None, {"name": "renamed"}, {"creationPolicy": "Merge"}], ids=["deleted", "renamed", "merges"]
)
async def test_an_orphan_is_adopted_once_its_definition_wants_it_no_more(
    autojump_clock: object, change: Object | None
) -> None:
    async with running() as scene:
        await two_that_adopt(scene, "Orphan", "Orphan")
        uid = at(scene.secret("app"), "metadata", "uid")
        if change is None:
            scene.delete("first")
        else:
            scene.change("first", **change)
        await scene.settled()
        assert (scene.reason("second"), scene.values("app")) == ("Synced", {"password": "canary-1"})
        if change is None:
            assert at(scene.secret("app"), "metadata", "uid") == uid
            await defined(scene, "first", dataFrom=[{"path": "secret/data/db"}], creationPolicy="Orphan")
            assert "is owned by SecretDefinition second" in scene.message("first")


@pytest.mark.parametrize("maker", ["other", "none", "No Name/"])
async def test_an_annotation_of_users_holds_no_secret(autojump_clock: object, maker: str) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        scene.define("other", password="db#password")
        scene.foreign_secret("app", annotations={"secrets-manager.tuenti.io/definition": maker})
        await defined(scene, dataFrom=[{"path": "secret/data/db"}])
        scene.annotate("app", adopt="true")
        await scene.settled()
        assert (scene.reason("app"), owners(scene)) == ("Synced", ["app"])


async def test_an_orphan_is_not_taken_while_the_watch_of_definitions_is_behind(autojump_clock: object) -> None:
    async with running(alive=False) as scene:
        scene.write("db", password="canary-1")
        spec: Object = {"name": "app", "dataFrom": [{"path": "secret/data/db"}], "creationPolicy": "Orphan"}
        scene.define_as_it_is("second", spec, annotations={"secrets-manager.tuenti.io/adopt": "true"})
        before = scene.cluster.storage.revision
        first = scene.define_as_it_is("first", spec)
        scene.foreign_secret(
            "app",
            labels={"secrets-manager.tuenti.io/owner": at(first, "metadata", "uid")},
            annotations={"secrets-manager.tuenti.io/definition": "first"},
        )
        of_definitions = fault.on_path(ends="/secretdefinitions")
        scene.faults.next(fault.as_of(before), when=of_definitions)
        scene.faults.always(fault.late(30), when=lambda request: of_definitions(request) and fault.is_watch(request))
        scene.start()
        await scene.passed(20)
        assert (scene.reason("first"), scene.reason("second"), scene.values("app")) == ("", "SecretNotOwned", {})
        assert "is owned by SecretDefinition first" in scene.message("second")
        scene.faults.heal()
        await scene.settled()
        assert (scene.reason("first"), scene.reason("second")) == ("Synced", "SecretNotOwned")
        assert scene.values("app") == {"password": "canary-1"}


async def test_the_policy_of_a_secret_can_change(autojump_clock: object) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        await defined(scene, dataFrom=[{"path": "secret/data/db"}])
        assert owners(scene) == ["app"]

        scene.change("app", creationPolicy="Orphan")
        await scene.settled()
        assert owners(scene) == []

        scene.change("app", creationPolicy=None)
        await scene.settled()
        assert owners(scene) == ["app"]
        assert "secrets-manager.tuenti.io/definition" not in mapping(scene.secret("app"), "metadata", "annotations")


@pytest.mark.parametrize("cause", ["sealed", "missing", "broken"])
@pytest.mark.parametrize("alive", [True, False], ids=["seen", "while the program was down"])
async def test_a_secret_becomes_an_orphan_while_its_values_can_not_be_read(
    autojump_clock: object, cause: str, *, alive: bool
) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        await defined(scene, dataFrom=[{"path": "secret/data/db"}], immutable=True)
        scene.edit("app", {"metadata": {"labels": {"foreign": "stays"}}})
        await scene.settled()
        if not alive:
            await scene.stop()
        with scene.vault.sealed() if cause == "sealed" else nullcontext():
            paths = {"sealed": "secret/data/db", "missing": "secret/data/none", "broken": "auth/token/lookup-self"}
            scene.change("app", creationPolicy="Orphan", dataFrom=[{"path": paths[cause]}])
            if not alive:
                scene.start()
            await scene.passed(10)
            assert scene.reason("app") != "Synced"
            assert (owners(scene), scene.values("app")) == ([], {"password": "canary-1"})
            assert (
                mapping(scene.secret("app"), "metadata", "annotations")["secrets-manager.tuenti.io/definition"] == "app"
            )
            assert labels(scene)["foreign"] == "stays"

            scene.delete("app")
            await scene.passed(10)
            assert scene.values("app") == {"password": "canary-1"}


async def test_an_owner_that_others_set_again_is_left_while_the_values_can_not_be_read(autojump_clock: object) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        await defined(scene, dataFrom=[{"path": "secret/data/db"}])
        ours = items(scene.secret("app"), "metadata", "ownerReferences")
        with scene.vault.sealed():
            scene.change("app", creationPolicy="Orphan")
            await scene.passed(10)
            for _ in range(3):
                scene.edit("app", {"metadata": {"ownerReferences": [*ours]}})
                await scene.passed(10)
            assert scene.writes_to_secrets() == ["POST secrets app", "PATCH secrets app"]

            scene.annotate("app", note="edited")
            await scene.passed(10)
            assert owners(scene) == []


async def test_a_secret_that_is_no_orphan_keeps_its_owner_while_its_values_can_not_be_read(
    autojump_clock: object,
) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        await defined(scene, dataFrom=[{"path": "secret/data/db"}])
        with scene.vault.sealed():
            scene.change("app", metadata={"labels": {"team": "shop"}})
            await scene.passed(120)
            assert scene.writes_to_secrets() == ["POST secrets app"]


@pytest.mark.parametrize("alive", [True, False], ids=["seen", "while the program was down"])
async def test_an_orphan_under_an_earlier_name_is_removed(autojump_clock: object, alive: bool) -> None:  # noqa: FBT001 - a case
    async with running() as scene:
        scene.write("db", password="canary-1")
        await defined(scene, dataFrom=[{"path": "secret/data/db"}], creationPolicy="Orphan")
        if not alive:
            await scene.stop()
        scene.user.patch(definition_path("app"), {"spec": {"name": "renamed"}})
        if not alive:
            scene.start()
        await scene.settled()

        assert (scene.secret("app"), scene.values("renamed")) == (None, {"password": "canary-1"})


async def test_an_orphan_of_a_definition_of_the_original_stays_too(autojump_clock: object) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        spec: Object = {"name": "app", "dataFrom": [{"path": "secret/data/db"}], "creationPolicy": "Orphan"}
        await scene.stop()
        scene.define_as_it_is("app", spec, finalizers=[FINALIZER])
        scene.foreign_secret(
            "app", data={"password": "old"}, labels={"app.kubernetes.io/managed-by": "secrets-manager"}
        )
        scene.delete("app")
        scene.start()
        await scene.settled()

        assert scene.user.find(definition_path("app")) is None
        assert scene.values("app") == {"password": "old"}


async def test_an_orphan_stays_if_its_definition_is_deleted_before_it_owns_it(autojump_clock: object) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        await defined(scene, dataFrom=[{"path": "secret/data/db"}], creationPolicy="Orphan")
        await scene.stop()
        scene.change("app", creationPolicy="Owner")
        scene.user.patch(definition_path("app"), {"metadata": {"finalizers": [FINALIZER]}})
        scene.delete("app")
        scene.start()
        await scene.settled()

        assert scene.user.find(definition_path("app")) is None
        assert scene.values("app") == {"password": "canary-1"}


@pytest.mark.parametrize("change", [{"type": ""}, {"creationPolicy": ""}, {"metadata": {}}], ids=str)
async def test_a_default_that_is_written_out_is_observed_too(autojump_clock: object, change: Object) -> None:
    async with running() as scene:
        scene.write("db", password="canary-1")
        await defined(scene, dataFrom=[{"path": "secret/data/db"}])
        scene.change("app", **change)
        await scene.settled()

        definition = scene.definition("app")
        assert at(definition, "metadata", "generation") == 2
        assert at(definition, "status", "observedGeneration") == 2
