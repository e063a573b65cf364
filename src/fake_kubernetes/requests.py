"""Requests and replies without HTTP: what an adapter hands in and gets back."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from fake_kubernetes.documents import Json, Object
from fake_kubernetes.events import storage_kind
from fake_kubernetes.kinds import Kind
from fake_kubernetes.refusals import Refusal
from fake_kubernetes.storage import Key

PATH = re.compile(
    r"^(?:/api/(?P<core>v1)|/apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/(?!status$|finalize$)))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>[^/]+))?)?$"
)
METADATA_ONLY = re.compile(r"as=(PartialObjectMetadata(?:List)?)(?![A-Za-z])")


class Request(NamedTuple):
    """One call. The path is decoded; header names don't matter any more."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    body: bytes = b""
    content_type: str = "application/json"
    accept: str = "application/json"
    user_agent: str = ""

    @property
    def manager(self) -> str:
        """The field manager: who writes, by the query or else by the program's name."""
        return self.query.get("fieldManager") or self.user_agent.partition("/")[0] or "unknown"

    @property
    def wants_watch(self) -> bool:
        return self.query.get("watch") in ("1", "true")

    @property
    def wants_table(self) -> bool:
        return "as=Table" in self.accept

    @property
    def wants_metadata(self) -> str:
        """The metadata-only form that is asked for, of an object or of a list; empty for whole objects."""
        found = METADATA_ONLY.search(self.accept)
        return found[1] if found else ""


class Reply(NamedTuple):
    """One whole answer."""

    status: int
    body: bytes
    content_type: str = "application/json"


class Target(NamedTuple):
    """What a path addresses. Without a name it is the collection; without a namespace, that of all namespaces."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def reply(document: Json, *, status: int = 200) -> Reply:
    return Reply(status, msgspec.json.encode(document))


def refused(refusal: Refusal) -> Reply:
    return reply(refusal.status, status=refusal.code)


def page_not_found() -> Reply:
    """Answer for a path in a group or kind that is not served: as with the real server this is no Status."""
    return Reply(404, b"404 page not found\n", "text/plain; charset=utf-8")


def target_of(path: str, kinds: Sequence[Kind]) -> Target | None:
    """Find the kind and object that a path addresses, None where there is no such kind or subresource."""
    match = PATH.match(path)
    if match is None:
        return None
    group, version = match["group"] or "", match["version"] or "v1"
    for kind in kinds:
        if (kind.group, kind.version, kind.plural) == (group, version, match["plural"]):
            subresource = match["subresource"] or ""
            if subresource and not (subresource == "status" and kind.status_subresource):
                return None
            return Target(kind, match["namespace"] or "", match["name"] or "", subresource)
    return None


def key_of(target: Target) -> Key:
    """Name the place in storage; both dresses of an Event have one."""
    return Key(storage_kind(target.kind).resource, target.namespace, target.name)


def options_of(request: Request) -> Object:
    """Read the DeleteOptions of a request, from its body and its query. Raises: ValueError."""
    document: Object = dict(request.query)
    if request.body:
        parsed: Json = msgspec.json.decode(request.body)
        document |= parsed if isinstance(parsed, dict) else {}
    return document
