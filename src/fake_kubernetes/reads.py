"""Get, list and watch, in the form that the client wants: objects, their metadata alone, or Tables."""

import base64
import binascii
import itertools
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from fake_kubernetes.documents import Json, Object, parse, text, with_metadata, without
from fake_kubernetes.events import shown_form
from fake_kubernetes.kinds import Kind
from fake_kubernetes.refusals import bad_request, expired, not_acceptable, not_found
from fake_kubernetes.requests import Reply, Request, Target, key_of, reply
from fake_kubernetes.selectors import Selection, field_requirements, label_requirements
from fake_kubernetes.storage import Key, Storage
from fake_kubernetes.tables import metadata_only, table
from fake_kubernetes.watches import Render, Watch

OBJECT_METADATA, LIST_METADATA = "PartialObjectMetadata", "PartialObjectMetadataList"


class Reads:
    """`now` is for the ages in Tables; `bookmark_every` counts revisions."""

    def __init__(self, storage: Storage, *, now: Callable[[], datetime], bookmark_every: int) -> None:
        self._storage = storage
        self._now = now
        self._bookmark_every = bookmark_every

    def get(self, target: Target, request: Request, *, as_of: int | None) -> Reply:
        """Show one object. Raises: Refusal."""
        document = self._storage.get(key_of(target), revision=as_of)
        if document is None:
            raise not_found(target.kind, target.name)
        return self.shown(target, document, request)

    def list(self, target: Target, request: Request, *, as_of: int | None) -> Reply:
        """Show a page of a collection; all pages come from the snapshot of the first. Raises: Refusal."""
        limit = whole_number(request.query.get("limit", "0"))
        revision, start = self._snapshot(request, as_of=as_of)
        selection = self._selection(target, request)
        present = sorted(self._storage.objects(selection.resource, revision=revision).items())
        wanted = [(key, document) for key, document in present if place(key) > start and selection.has(document)]
        page = wanted[:limit] if limit else wanted
        head: Object = {"resourceVersion": str(revision)}
        if len(page) < len(wanted):
            head["continue"] = write_continue(revision, place(page[-1][0]))
            if not selection.requirements:
                head["remainingItemCount"] = len(wanted) - len(page)
        documents = [document for _, document in page]
        if request.wants_table:
            return reply({**self._table(target.kind, documents, request), "metadata": head})
        if request.wants_metadata == OBJECT_METADATA:
            why = "you requested PartialObjectMetadata, but the requested object is a list"
            raise not_acceptable(f"{why} (*core.{target.kind.kind}List)")
        if request.wants_metadata:
            shown: list[Json] = [metadata_only(document) for document in documents]
            return reply({"kind": LIST_METADATA, "apiVersion": "meta.k8s.io/v1", "metadata": head, "items": shown})
        items: list[Json] = [list_item(target.kind, document) for document in documents]
        kind: Object = {"kind": f"{target.kind.kind}List", "apiVersion": target.kind.api_version}
        return reply({**kind, "metadata": head, "items": items})

    def watch(self, target: Target, request: Request) -> Watch:
        """Open a watch; it listens to the storage until it is closed. Raises: Refusal."""
        version = request.query.get("resourceVersion", "")
        timeout = request.query.get("timeoutSeconds", "")
        listing = request.query.get("sendInitialEvents") == "true"
        rows = itertools.count()
        render: Render = partial(bare, target.kind)
        if request.wants_table:
            render = partial(self._row, target.kind, request, rows)
        elif request.wants_metadata:
            render = metadata_only
        return Watch(
            self._storage,
            self._selection(target, request),
            render=render,
            bookmark=render if request.query.get("allowWatchBookmarks") in ("1", "true") else None,
            bookmark_every=self._bookmark_every,
            revision=None if version in ("", "0") or listing else whole_number(version),
            tells_start=listing,
            timeout=float(whole_number(timeout)) if timeout else None,
        )

    def shown(self, target: Target, document: Object, request: Request, *, status: int = 200) -> Reply:
        """Answer with one object."""
        if request.wants_table:
            head: Object = {"resourceVersion": text(document, "metadata", "resourceVersion")}
            return reply({**self._table(target.kind, [document], request), "metadata": head}, status=status)
        if request.wants_metadata == LIST_METADATA:
            why = "you requested PartialObjectMetadataList, but the requested object is not a list"
            raise not_acceptable(f"{why} (*core.{target.kind.kind})")
        if request.wants_metadata:
            return reply(metadata_only(document), status=status)
        return reply(shown_form(target.kind, document), status=status)

    def _snapshot(self, request: Request, *, as_of: int | None) -> tuple[int, str]:
        """Tell which revision a list shows, and after which place it goes on."""
        if token := request.query.get("continue", ""):
            revision, start = read_continue(token)
            if revision < self._storage.compacted:
                raise expired()
            return revision, start
        if request.query.get("resourceVersionMatch") == "Exact":
            return whole_number(request.query.get("resourceVersion", "")), ""
        return as_of or self._storage.revision, ""

    def _selection(self, target: Target, request: Request) -> Selection:
        labels = label_requirements(request.query.get("labelSelector", ""))
        fields = field_requirements(request.query.get("fieldSelector", ""), kind=target.kind)
        return Selection(key_of(target).resource, target.namespace, (*labels, *fields))

    def _table(self, kind: Kind, documents: Sequence[Object], request: Request, *, headed: bool = True) -> Object:
        include = request.query.get("includeObject", "")
        return table(kind, documents, now=self._now(), include=include, headed=headed)

    def _row(self, kind: Kind, request: Request, rows: "itertools.count[int]", document: Object) -> Object:
        """Render one event of a watch of Tables: only the first one brings the columns."""
        rendered = self._table(kind, [document], request, headed=next(rows) == 0)
        return with_metadata(rendered, resourceVersion=text(document, "metadata", "resourceVersion"))


def bare(kind: Kind, document: Object) -> Object:
    return shown_form(kind, document)


def list_item(kind: Kind, document: Object) -> Object:
    """Show an object in a list: Kubernetes' own kinds leave out there what the list says already."""
    shown = shown_form(kind, document)
    return shown if kind.custom else without(shown, "apiVersion", "kind")


def place(key: Key) -> str:
    return f"{key.namespace}/{key.name}"


def whole_number(digits: str) -> int:
    """Read a number of a query. Raises: Refusal (400)."""
    if not digits.isdecimal():
        raise bad_request(f'strconv.ParseInt: parsing "{digits}": invalid syntax')
    return int(digits)


def write_continue(revision: int, last: str) -> str:
    """Make the token that a list goes on from: the snapshot and the last place on the page."""
    token = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": last})
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def read_continue(token: str) -> tuple[int, str]:
    """Read it back. Raises: Refusal (400)."""
    refusal = bad_request("invalid continue token: continue key is not valid")
    try:
        content = parse(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error):
        raise refusal from None
    revision, start = content.get("rv"), content.get("start")
    if not isinstance(revision, int) or not isinstance(start, str):
        raise refusal
    return revision, start
