"""The patches that clients send: JSON merge patch (RFC 7386) and the part of strategic merge that metadata needs."""

from fake_kubernetes.documents import Json, Object, text

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
"""Server-side apply, whose YAML may be JSON, and must be here."""

MERGE_KEYS = {"ownerReferences": "uid"}
"""Lists of objects that a strategic patch merges element by element, and by which field."""
SETS = {"finalizers"}


def merged(target: Json, patch: Json) -> Json:
    """Apply a JSON merge patch: null removes, lists are replaced whole."""
    if not isinstance(patch, dict):
        return patch
    result: Object = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def strategic(target: Json, patch: Json) -> Json:
    """Apply a strategic merge patch: as a merge patch, but known lists are merged by key."""
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    result: Object = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            gone, kept = name.partition("/")[2], as_list(result.get(name.partition("/")[2]))
            result[gone] = [each for each in kept if each not in as_list(value)]
        elif name.startswith("$"):
            continue
        elif value is None:
            result.pop(name, None)
        elif name in SETS:
            present = as_list(result.get(name))
            result[name] = present + [each for each in as_list(value) if each not in present]
        elif name in MERGE_KEYS:
            result[name] = merged_list(as_list(result.get(name)), as_list(value), key=MERGE_KEYS[name])
        else:
            result[name] = strategic(result.get(name), value)
    return result


def merged_list(present: list[Json], patches: list[Json], *, key: str) -> list[Json]:
    found = {text(each, key): each for each in present}
    for patch in patches:
        identity = text(patch, key)
        if text(patch, "$patch") == "delete":
            found.pop(identity, None)
        else:
            found[identity] = strategic(found.get(identity), patch)
    return list(found.values())


def as_list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
