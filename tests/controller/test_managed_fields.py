import msgspec
import pytest

from secrets_manager.controller.managed_fields import FieldPath, ManagedFields, last_manager

SERVED = b"""[
    {"manager": "secrets-manager", "operation": "Update", "apiVersion": "v1", "time": "2026-02-03T04:05:09Z",
     "fieldsType": "FieldsV1", "fieldsV1": {
        "f:data": {".": {}, "f:tls.key": {}},
        "f:metadata": {
            "f:labels": {".": {}, "f:team": {}},
            "f:ownerReferences": {".": {}, "k:{\\"uid\\":\\"u-1\\"}": {}}
        },
        "f:type": {}}},
    {"manager": "kubectl-edit", "operation": "Update", "apiVersion": "v1", "time": "2026-02-03T04:05:06Z",
     "fieldsType": "FieldsV1", "fieldsV1": {
        "f:data": {"f:pw": {}},
        "f:metadata": {"f:labels": {"f:app.kubernetes.io/managed-by": {}}}}},
    {"manager": "reloader", "operation": "Apply", "apiVersion": "v1", "time": "2026-02-03T04:05:08Z",
     "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:pw": {}}}},
    {"manager": "odd", "time": "2026-02-03T04:05:10Z", "fieldsV1": {"f:data": 5, "f:type": null}},
    {"manager": "without fields"}
]"""
ENTRIES = msgspec.json.decode(SERVED, type=list[ManagedFields])


@pytest.mark.parametrize(
    ("path", "manager"),
    [
        (("data", "pw"), "reloader"),
        (("data", "tls.key"), ""),
        (("data", "gone"), ""),
        (("metadata", "labels", "app.kubernetes.io/managed-by"), "kubectl-edit"),
        (("metadata", "labels", "team"), ""),
        (("metadata", "ownerReferences"), ""),
        (("type",), "odd"),
    ],
)
def test_the_last_manager_of_a_field_but_ourselves(path: FieldPath, manager: str) -> None:
    assert last_manager(ENTRIES, path, exclude="secrets-manager") == manager


@pytest.mark.parametrize("path", [("data", "tls.key"), ("metadata", "ownerReferences"), ("type",)])
def test_our_own_fields(path: FieldPath) -> None:
    assert last_manager(ENTRIES, path, exclude="kubectl") in ("secrets-manager", "odd")


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ({"f:data": {".": {}, "f:tls.crt": {}, "f:b": {}}, "f:type": {}}, {"tls.crt", "b"}),
        ({"f:data": {}}, set()),
        ({"f:type": {}}, set()),
        ({"f:data": []}, set()),
    ],
)
def test_the_fields_below_a_path(tree: object, names: set[str]) -> None:
    entry = ManagedFields(manager="m", fields_v1=msgspec.Raw(msgspec.json.encode(tree)))
    assert entry.below(("data",)) == names
