"""Watches: every change once, in order, within the selection."""

from contextlib import suppress

import pytest
import trio

from fake_kubernetes.documents import at, text
from tests.contracts.kube_api import OBJECT_METADATA, Api
from tests.contracts.widgets import manifest, owned_by, secret, widget

MARKED = "marked"


async def test_a_watch_shows_what_happened_since_a_version(api: Api) -> None:
    start = (await api.get(api.secrets)).version
    await api.post(api.secrets, secret("a"))
    await api.patch(f"{api.secrets}/a", {"metadata": {"labels": {"x": "y"}}})
    async with api.watch(api.secrets, resourceVersion=start) as events:
        assert await events.take(2) == [("ADDED", "a"), ("MODIFIED", "a")]
        await api.delete(f"{api.secrets}/a")
        last = await events.next()
    assert (last["type"], text(last, "object", "kind")) == ("DELETED", "Secret")
    assert int(text(last, "object", "metadata", "resourceVersion")) > int(start) + 2


@pytest.mark.parametrize("version", ["", "0"])
async def test_a_watch_without_a_version_begins_with_what_is_there(api: Api, version: str) -> None:
    await api.post(api.secrets, secret("a"))
    async with api.watch(api.secrets, resourceVersion=version) as events:
        assert await events.take(1) == [("ADDED", "a")]
        await api.post(api.secrets, secret("b"))
        assert await events.take(1) == [("ADDED", "b")]


async def test_an_object_that_leaves_the_selection_is_deleted_in_its_last_state_inside(api: Api) -> None:
    start = (await api.get(api.secrets)).version
    path = f"{api.secrets}/a"
    async with api.watch(api.secrets, resourceVersion=start, labelSelector=MARKED) as events:
        await api.post(api.secrets, secret("a", labels={MARKED: "1"}))
        left = await api.patch(path, {"metadata": {"labels": {MARKED: None}}})
        await api.patch(path, {"data": {"unseen": ""}})
        await api.patch(path, {"metadata": {"labels": {MARKED: "2"}}})
        seen = [await events.next() for _ in range(3)]
    assert [event["type"] for event in seen] == ["ADDED", "DELETED", "ADDED"]
    assert at(seen[1], "object", "metadata", "labels") == {MARKED: "1"}
    assert text(seen[1], "object", "metadata", "resourceVersion") == left.version
    assert at(seen[2], "object", "metadata", "labels") == {MARKED: "2"}


async def test_a_write_without_a_change_is_no_event(api: Api) -> None:
    made = await api.post(api.widgets, widget())
    async with api.watch(api.widgets, resourceVersion=made.version) as events:
        await api.put(f"{api.widgets}/one", made.document)
        await api.post(api.widgets, widget("two"))
        assert await events.take(1) == [("ADDED", "two")]


async def test_a_watch_of_one_name(api: Api) -> None:
    start = (await api.get(api.secrets)).version
    async with api.watch(api.secrets, resourceVersion=start, fieldSelector="metadata.name=b") as events:
        await api.post(api.secrets, secret("a"))
        await api.post(api.secrets, secret("b"))
        assert await events.take(1) == [("ADDED", "b")]


async def test_a_watch_ends_without_an_error_after_its_time(api: Api) -> None:
    start = (await api.get(api.secrets)).version
    async with api.watch(api.secrets, resourceVersion=start, timeoutSeconds=1) as events:
        with pytest.raises(trio.EndOfChannel):
            await events.next()


async def test_a_watch_that_wants_bookmarks_gets_one_two_seconds_before_its_end(api: Api) -> None:
    """And one each minute, by the same timer."""
    start = (await api.get(api.secrets)).version
    async with api.watch(api.secrets, resourceVersion=start, timeoutSeconds=4, allowWatchBookmarks="true") as events:
        made = (await api.post(api.secrets, secret("a"))).expect(201)
        began = trio.current_time()
        added, bookmark = await events.next(), await events.next()
        assert trio.current_time() - began > 1
        bookmarks = [bookmark]
        with suppress(trio.EndOfChannel):
            while True:  # a server that is slow to end the watch may send another one
                bookmarks.append(await events.next())
    assert added["type"] == "ADDED"
    for each in bookmarks:
        assert each["type"] == "BOOKMARK"
        assert int(text(each, "object", "metadata", "resourceVersion")) >= int(made.version)


async def test_a_watch_ends_without_an_error_when_its_kind_is_deleted(api: Api) -> None:
    kinds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    gismos = api.widgets.replace("widgets", "gismos")
    await api.post(kinds, manifest("gismos", "Gismo"))
    await api.until(gismos, lambda answer: answer.code == 200)
    made = (await api.post(gismos, widget(kind="Gismo"))).expect(201)
    async with api.watch(gismos, resourceVersion=made.version) as events:
        await api.delete(f"{kinds}/gismos.example.org")
        assert await events.take(1) == [("DELETED", "one")]
        with pytest.raises(trio.EndOfChannel):
            await events.next()


async def test_a_watch_in_a_namespace_that_is_not_there_is_silent(api: Api) -> None:
    nowhere = api.secrets.replace(api.namespace, "nowhere")
    async with api.watch(nowhere, timeoutSeconds=1) as events:
        assert events.code == 200
        with pytest.raises(trio.EndOfChannel):
            await events.next()


async def test_the_garbage_collector_is_seen_by_watches(api: Api) -> None:
    owner = await api.post(api.widgets, widget())
    made = await api.post(api.secrets, owned_by(secret("owned"), owner.document))
    async with api.watch(api.secrets, resourceVersion=made.version) as events:
        await api.delete(f"{api.widgets}/one", {"propagationPolicy": "Background"})
        assert await events.take(1) == [("DELETED", "owned")]


async def test_a_watch_of_metadata_alone(api: Api) -> None:
    start = (await api.get(api.secrets)).version
    await api.post(api.secrets, secret("a", stringData={"x": "1"}))
    patched = await api.patch(f"{api.secrets}/a", {"stringData": {"x": "2"}})
    async with api.watch(api.secrets, accept=OBJECT_METADATA, resourceVersion=start) as events:
        seen = [await events.next() for _ in range(2)]
        await api.delete(f"{api.secrets}/a")
        seen.append(await events.next())
    assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    whole = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": patched.at("metadata")}
    assert seen[1]["object"] == whole
    assert {text(event, "object", "kind") for event in seen} == {"PartialObjectMetadata"}
