"""What the server says of itself: its version, groups and kinds, and just enough OpenAPI for kubectl.

The OpenAPI documents name each kind with its PATCH and that PATCH's `fieldValidation`: kubectl then leaves the
checking of fields to the server. They hold the CRD's schema too, for `kubectl explain`.
"""

from collections.abc import Sequence

from fake_kubernetes.documents import Json, Object
from fake_kubernetes.kinds import Kind

VERSION: Object = {"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "demo/in-memory"}
VERBS: list[Json] = ["create", "delete", "get", "list", "patch", "update", "watch"]


def answer(path: str, kinds: Sequence[Kind]) -> Object | None:
    """Answer a discovery request; None where the path is none."""
    versions = list(dict.fromkeys(map(root_of, kinds)))
    fixed: dict[str, Object] = {
        "/version": VERSION,
        "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "/apis": group_list(kinds),
        "/openapi/v3": {"paths": {root[1:]: {"serverRelativeURL": f"/openapi/v3{root}"} for root in versions}},
    }
    if path in fixed:
        return fixed[path]
    root = path.removeprefix("/openapi/v3")
    if root in versions:
        same = [each for each in kinds if root_of(each) == root]
        return resource_list(same) if root == path else openapi(same)
    name = path.removeprefix("/apis/")
    if any(each.group == name for each in kinds):
        return {"kind": "APIGroup", "apiVersion": "v1"} | group(name, kinds)
    return None


def group_list(kinds: Sequence[Kind]) -> Object:
    groups: list[Json] = [group(name, kinds) for name in dict.fromkeys(each.group for each in kinds if each.group)]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def root_of(kind: Kind) -> str:
    return f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.api_version}"


def group(name: str, kinds: Sequence[Kind]) -> Object:
    versions = dict.fromkeys(each.version for each in kinds if each.group == name)
    listed: list[Json] = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(kinds: Sequence[Kind]) -> Object:
    """List the kinds of one group and version."""
    resources: list[Json] = []
    for kind in kinds:
        short: list[Json] = list(kind.short_names)
        categories: list[Json] = list(kind.categories)
        described: Object = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
        }
        resources.append({**described, "verbs": VERBS, "shortNames": short, "categories": categories})
        if kind.status_subresource:
            resources.append({**described, "name": f"{kind.plural}/status", "verbs": ["get", "patch", "update"]})
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version,
        "resources": resources,
    }


def openapi(kinds: Sequence[Kind]) -> Object:
    """Describe the kinds of one group and version in OpenAPI 3."""
    paths: Object = {}
    schemas: Object = {}
    for kind in kinds:
        gvk: Object = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        scope = "/namespaces/{namespace}" if kind.namespaced else ""
        paths[f"{root_of(kind)}{scope}/{kind.plural}/{{name}}"] = {
            "patch": {
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": gvk,
                "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                "responses": {"200": {"description": "OK"}},
            }
        }
        schemas[f"{kind.resource}.{kind.version}.{kind.kind}"] = {
            **kind.schema,
            "x-kubernetes-group-version-kind": [gvk],
        }
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.34.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }
