"""Which field manager has which keys of a Secret, by the managed fields that the server keeps."""

from fake_kubernetes.documents import Json, items, mapping, text

MERGER = "secrets-manager-merge/"
"""The beginning of the name of each definition's field manager."""


def managers(secret: Json) -> dict[str, set[str]]:
    """Return the keys of each manager of a Secret."""
    found: dict[str, set[str]] = {}
    for entry in items(secret, "metadata", "managedFields"):
        keys = {name.removeprefix("f:") for name in mapping(entry, "fieldsV1", "f:data") if name != "."}
        found.setdefault(text(entry, "manager"), set()).update(keys)
    return found
