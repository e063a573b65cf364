"""Lists, pages, selectors, Tables: the same responses from the double and kube-apiserver."""

import pytest

from fake_kubernetes.documents import Json, Object, at, items, without
from tests.contracts.kube_api import LIST_METADATA, OBJECT_METADATA, Api
from tests.contracts.widgets import event, secret, widget
from tests.real.kube_api import MERGE_PATCH, Query


async def three_secrets(api: Api) -> None:
    for name, labels in (("a", {"team": "x"}), ("b", {"team": "y", "old": ""}), ("c", None)):
        shown: dict[str, Json] | None = None if labels is None else {**labels}
        (await api.post(api.secrets, secret(name, labels=shown))).expect(201)


async def test_a_list_of_own_kinds_leaves_out_what_the_list_says_already(api: Api) -> None:
    await three_secrets(api)
    found = await api.get(api.secrets)
    assert (found.at("kind"), found.at("apiVersion"), found.names) == ("SecretList", "v1", ["a", "b", "c"])
    assert [at(item, "kind") for item in items(found.document, "items")] == [None, None, None]


async def test_a_list_of_custom_objects_names_the_kind_of_each(api: Api) -> None:
    await api.post(api.widgets, widget())
    found = await api.get(api.widgets)
    assert (found.at("kind"), found.at("apiVersion"), found.names) == ("WidgetList", "example.org/v1", ["one"])
    assert [(at(item, "apiVersion"), at(item, "kind")) for item in items(found.document, "items")] == [
        ("example.org/v1", "Widget")
    ]


async def test_all_pages_of_a_list_show_one_snapshot(api: Api) -> None:
    await three_secrets(api)
    first = await api.get(api.secrets, limit=2)
    assert (first.names, first.at("metadata", "remainingItemCount")) == (["a", "b"], 1)
    await api.delete(f"{api.secrets}/c")
    await api.post(api.secrets, secret("d"))
    last = await api.get(api.secrets, limit=2, **{"continue": first.text("metadata", "continue")})
    assert (last.names, last.text("metadata", "continue")) == (["c"], "")
    assert last.version == first.version


async def test_a_list_over_all_namespaces_contains_ours(api: Api) -> None:
    await three_secrets(api)
    found = await api.get("/api/v1/secrets", fieldSelector=f"metadata.namespace={api.namespace}")
    assert found.names == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("team=x", ["a"]),
        ("team==x", ["a"]),
        ("team!=x", ["b", "c"]),
        ("team", ["a", "b"]),
        ("!team", ["c"]),
        ("team in (x,y)", ["a", "b"]),
        ("team in (x, y),old", ["b"]),
        ("team notin (x)", ["b", "c"]),
        ("old=", ["b"]),
        ("nothing=x", []),
    ],
)
async def test_label_selectors(api: Api, selector: str, names: list[str]) -> None:
    await three_secrets(api)
    assert (await api.get(api.secrets, labelSelector=selector)).names == names


async def test_field_selectors(api: Api) -> None:
    await three_secrets(api)
    found = await api.get(api.secrets, fieldSelector="metadata.name!=a,type=Opaque")
    assert found.names == ["b", "c"]


async def test_custom_objects_are_selected_by_the_fields_that_their_kind_names(api: Api) -> None:
    for name, target in (("a", "x"), ("b", "y"), ("c", "x")):
        (await api.post(api.widgets, widget(name, name=target))).expect(201)
    assert (await api.get(api.widgets, fieldSelector="spec.name=x")).names == ["a", "c"]
    assert (await api.get(api.widgets, fieldSelector="spec.mode=x")).outcome == (400, "BadRequest")


@pytest.mark.parametrize(
    "query",
    [{"labelSelector": "a in b"}, {"fieldSelector": "data=x"}, {"continue": "nonsense", "limit": "1"}, {"limit": "x"}],
)
async def test_a_query_that_can_not_be_read_is_a_bad_request(api: Api, query: dict[str, str]) -> None:
    assert (await api.get(api.secrets, **query)).outcome == (400, "BadRequest")


async def test_a_namespace_that_does_not_exist_has_an_empty_list(api: Api) -> None:
    found = await api.get("/apis/example.org/v1/namespaces/nowhere/widgets")
    assert (found.code, found.at("kind"), found.at("items")) == (200, "WidgetList", [])


async def test_an_object_that_is_not_there(api: Api) -> None:
    found = await api.get(f"{api.widgets}/none")
    assert (found.outcome, found.at("details")) == (
        (404, "NotFound"),
        {"name": "none", "group": "example.org", "kind": "widgets"},
    )


@pytest.mark.parametrize("path", ["/apis/example.org/v1/nothings", "/apis/example.com/v1/widgets"])
async def test_a_kind_that_is_not_served_gets_404_without_a_status(api: Api, path: str) -> None:
    found = await api.get(path)
    assert (found.code, found.document) == (404, {})


async def test_a_core_kind_that_does_not_exist_gets_404_with_a_status(api: Api) -> None:
    assert (await api.get("/api/v1/nothings")).outcome == (404, "NotFound")


async def test_a_table_has_the_printer_columns_of_the_crd(api: Api) -> None:
    await api.post(api.widgets, widget(mode="fast"))
    await api.patch(f"{api.widgets}/one/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    found = await api.table(api.widgets)
    columns = [
        (at(each, "name"), at(each, "type"), at(each, "priority")) for each in items(found.at("columnDefinitions"))
    ]
    assert columns == [
        ("Name", "string", 0),
        ("Target", "string", 0),
        ("Ready", "string", 0),
        ("Mode", "string", 1),
        ("Age", "date", 0),
    ]
    (row,) = items(found.at("rows"))
    *cells, age = items(row, "cells")
    assert cells == ["one", "target", "True", "fast"]
    assert age in {f"{seconds}s" for seconds in range(10)}
    assert (at(row, "object", "kind"), at(row, "object", "metadata", "name")) == ("PartialObjectMetadata", "one")


async def test_a_table_cell_without_a_value_is_null(api: Api) -> None:
    await api.post(api.widgets, widget())
    (row,) = items((await api.table(api.widgets)).at("rows"))
    assert items(row, "cells")[:4] == ["one", "target", None, None]


async def test_the_table_of_secrets_counts_keys_and_shows_no_values(api: Api) -> None:
    await api.post(api.secrets, secret(stringData={"a": "1", "b": "2"}))
    found = await api.table(f"{api.secrets}/one")
    (row,) = items(found.at("rows"))
    assert [at(each, "name") for each in items(found.at("columnDefinitions"))] == ["Name", "Type", "Data", "Age"]
    assert items(row, "cells")[:3] == ["one", "Opaque", 2]


@pytest.mark.parametrize("api_of", ["events", "core_events"])
async def test_the_table_of_events(api: Api, api_of: str) -> None:
    await api.post(api.events, event(api.namespace))
    found = await api.table(api.events if api_of == "events" else api.core_events)
    (row,) = items(found.at("rows"))
    _, *cells = items(row, "cells")
    heads = [at(each, "name") for each in items(found.at("columnDefinitions"))]
    assert heads[:5] + heads[6:7] == ["Last Seen", "Type", "Reason", "Object", "Subobject", "Message"]
    assert cells[:6] == ["Normal", "Synced", "widget/one", "", "me, me-1", "hello"]


AS_METADATA: Object = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}


async def test_the_metadata_of_an_object_alone(api: Api) -> None:
    made = await api.post(api.secrets, secret("a", stringData={"x": "1"}, labels={"team": "x"}))
    found = await api.call("GET", f"{api.secrets}/a", accept=OBJECT_METADATA)
    assert found.document == AS_METADATA | {"metadata": made.at("metadata")}
    assert found.managers == made.managers
    patched = await api.call("PATCH", f"{api.secrets}/a", {}, content_type=MERGE_PATCH, accept=OBJECT_METADATA)
    assert patched.document == found.document


async def test_the_metadata_of_a_list_alone_in_pages(api: Api) -> None:
    await three_secrets(api)
    first = await api.call("GET", api.secrets, accept=LIST_METADATA, query={"limit": 2})
    assert without(first.document, "metadata", "items") == {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
    }
    assert [without(item, "metadata") for item in items(first.document, "items") if isinstance(item, dict)] == [
        AS_METADATA,
        AS_METADATA,
    ]
    rest: Query = {"continue": first.text("metadata", "continue"), "labelSelector": "!team"}
    last = await api.call("GET", api.secrets, accept=LIST_METADATA, query=rest)
    assert (first.names, last.names) == (["a", "b"], ["c"])


@pytest.mark.parametrize(("path", "accept"), [("", OBJECT_METADATA), ("/a", LIST_METADATA)])
async def test_an_object_and_a_list_have_forms_of_their_own(api: Api, path: str, accept: str) -> None:
    await three_secrets(api)
    found = await api.call("GET", f"{api.secrets}{path}", accept=accept)
    assert found.outcome == (406, "NotAcceptable")


async def test_the_metadata_of_an_object_that_is_not_there(api: Api) -> None:
    found = await api.call("GET", f"{api.secrets}/a", accept=OBJECT_METADATA)
    assert found.outcome == (404, "NotFound")
