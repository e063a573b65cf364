"""A Kubernetes API in memory: one plain state machine, `handle(request) -> Reply | Watch`, without I/O and clocks.

It is the double that the program is tested with, and the cluster of `secrets-manager demo`. What it answers is held
against the real kube-apiserver by the contract tests; what they don't say, don't rely on. There is no authentication,
no authorization, and no node: it serves objects, and answers reviews from a table (reviews.py).
"""

import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from fake_kubernetes import discovery, managed_fields, patches, protobuf
from fake_kubernetes.cleanup import Cleanup, KnownKinds
from fake_kubernetes.documents import Json, Object, parse, text
from fake_kubernetes.events import shown_form
from fake_kubernetes.kinds import BUILT_IN, DEFINITION, NAMESPACE, Kind, defined_by
from fake_kubernetes.reads import Reads
from fake_kubernetes.refusals import (
    Cause,
    Refusal,
    about,
    bad_request,
    forbidden_change,
    invalid,
    not_allowed,
    too_large,
    unknown_path,
    unsupported_media,
)
from fake_kubernetes.requests import (
    Reply,
    Request,
    Target,
    options_of,
    page_not_found,
    refused,
    reply,
    target_of,
)
from fake_kubernetes.reviews import Reviews
from fake_kubernetes.storage import Storage
from fake_kubernetes.tables import timestamp
from fake_kubernetes.watches import Watch
from fake_kubernetes.writes import Writes

MAX_BODY = 3 * 1024 * 1024
PATCHES = {patches.MERGE: patches.merged, patches.STRATEGIC: patches.strategic}
DECODERS = {"application/json": parse, protobuf.CONTENT_TYPE: protobuf.parse}
PATCH_OPTIONS = Kind("meta.k8s.io", "v1", "", "PatchOptions", "")
NO_MANAGER = ("FieldValueRequired", "Required value: is required for apply patch")
LONG_MANAGER = ("FieldValueTooLong", "Too long: may not be more than 128 bytes")
MAX_MANAGER = 128
"""Bytes of a field manager's name."""
FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def system_time() -> datetime:
    return datetime.now(UTC)


class Cluster:
    """The whole API server with its storage and its clean-up.

    Args:
        now: the time for timestamps and ages.
        crds: CustomResourceDefinitions that are there from the start.
        bookmark_every: a watch that asked for bookmarks gets one after so many revisions.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = system_time,
        crds: Iterable[Object] = (),
        bookmark_every: int = 100,
    ) -> None:
        self.storage = Storage()
        self.reviews = Reviews()
        self.cleans_up = True
        """False holds garbage collection and namespace deletion back until `clean_up` is called."""
        self._now = now
        self._serial = itertools.count(1)
        self._crds: list[Object] | None = None
        self._kinds: tuple[Kind, ...] = BUILT_IN
        self._known: KnownKinds = {}
        self._watches: list[Watch] = []
        self._reads = Reads(self.storage, now=now, bookmark_every=bookmark_every)
        self._writes = Writes(self.storage, now=self._timestamp, identify=self._identify)
        self._cleanup = Cleanup(self.storage, now=self._timestamp)
        for name in FIRST_NAMESPACES:
            self._writes.create(Target(NAMESPACE), {"metadata": {"name": name}})
        for crd in crds:
            self._writes.create(Target(DEFINITION), crd)
        self._learn_kinds()

    def __repr__(self) -> str:
        return f"Cluster({self.storage}, {len(self._watches)} watches)"

    def handle(self, request: Request, *, as_of: int | None = None) -> Reply | Watch:
        """Answer one request. `as_of`: read from the state at that revision, as a stale cache does."""
        try:
            return self._answer(request, as_of=as_of)
        except Refusal as refusal:
            return refused(refusal)
        finally:
            if self.cleans_up and self._cleanup.is_due:
                self.clean_up()

    def clean_up(self) -> None:
        """Do what Kubernetes' own controllers do in the background."""
        self._learn_kinds()
        self._cleanup.run(self._known)
        self._learn_kinds()

    def compact(self) -> None:
        """Forget the history: continue tokens and revisions from before are answered with 410."""
        self.storage.compact()

    def send_bookmarks(self) -> None:
        for watch in self._watches:
            watch.send_bookmark()

    def end_watches(self) -> None:
        """End all watches without an error, as a server does after its timeout."""
        for watch in self._watches:
            watch.end()

    def _answer(self, request: Request, *, as_of: int | None) -> Reply | Watch:
        if self.reviews.serves(request.path):
            return self.reviews.answer(request, body_of(request) if request.method == "POST" else {})
        target = target_of(request.path, self._kinds)
        if target is None:
            return self._describe(request.path)
        if len(request.body) > MAX_BODY:
            raise too_large(MAX_BODY)
        if request.method != "GET":
            return self._write(target, request)
        if target.name:
            return self._reads.get(target, request, as_of=as_of)
        if request.wants_watch:
            return self._watch(target, request)
        return self._reads.list(target, request, as_of=as_of)

    def _describe(self, path: str) -> Reply:
        described = discovery.answer(path.rstrip("/"), self._kinds)
        if described is not None:
            return reply(described)
        if path.startswith("/api/"):
            raise unknown_path()
        return page_not_found()

    def _write(self, target: Target, request: Request) -> Reply:
        strict, manager = request.query.get("fieldValidation") == "Strict", request.manager
        match request.method:
            case "POST":
                dry_run = request.query.get("dryRun") == "All"
                created = self._writes.create(target, body_of(request), manager=manager, strict=strict, dry_run=dry_run)
                return self._reads.shown(target, created, request, status=201)
            case "PUT":
                replaced, new = self._writes.replace(target, body_of(request), manager=manager, strict=strict)
                return self._reads.shown(target, replaced, request, status=201 if new else 200)
            case "PATCH" if request.content_type == patches.APPLY and managed_fields.is_tracked(target.kind):
                force = request.query.get("force") in ("1", "true")
                applied, new = self._writes.apply(target, config_of(request), manager=manager, force=force)
                return self._reads.shown(target, applied, request, status=201 if new else 200)
            case "PATCH":
                change = change_of(target.kind, request)
                patched = self._writes.patch(target, change, manager=manager, strict=strict)
                return self._reads.shown(target, patched, request)
            case "DELETE" if target.name:
                return self._delete(target, request)
            case _:
                raise not_allowed()

    def _delete(self, target: Target, request: Request) -> Reply:
        try:
            options = options_of(request)
        except msgspec.DecodeError:
            raise bad_request("the DeleteOptions are not JSON") from None
        document = self._writes.delete(target, options, kinds=self._known)
        if text(document, "metadata", "deletionTimestamp"):
            return self._reads.shown(target, document, request)
        details = about(target.kind, target.name) | {"uid": text(document, "metadata", "uid")}
        return reply({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    def _watch(self, target: Target, request: Request) -> Watch:
        watch = self._reads.watch(target, request)
        self._watches = [watch, *(each for each in self._watches if not each.ended)]
        return watch

    def _learn_kinds(self) -> None:
        """Follow the CRDs: serve what they define, and end the watches of kinds that are gone."""
        crds = [crd for _, crd in sorted(self.storage.objects(DEFINITION.resource).items())]
        if crds == self._crds:
            return
        self._crds = crds
        self._kinds = (*BUILT_IN, *(kind for crd in crds for kind in defined_by(crd)))
        self._known = {(kind.api_version, kind.kind): kind for kind in self._kinds}
        resources = {kind.resource for kind in self._kinds}
        for watch in self._watches:
            if watch.selection.resource not in resources:
                watch.end()

    def _timestamp(self) -> str:
        return timestamp(self._now())

    def _identify(self) -> str:
        """Make uids that are the same in every run."""
        return str(UUID(int=0x00000000_0000_4000_8000_000000000000 + next(self._serial)))


def body_of(request: Request) -> Object:
    """Read the object that was sent. Raises: Refusal (415, 400)."""
    decode = DECODERS.get(request.content_type)
    if decode is None:
        raise unsupported_media(*DECODERS)
    try:
        return decode(request.body)
    except ValueError:
        raise bad_request("the object provided is unrecognized: couldn't get version/kind; json parse error") from None


def config_of(request: Request) -> Object:
    """Read what is applied. Raises: Refusal (422, 400)."""
    manager = request.query.get("fieldManager", "")
    if not manager:
        raise invalid(PATCH_OPTIONS, "", [Cause("fieldManager", *NO_MANAGER)])
    if len(manager.encode()) > MAX_MANAGER:
        raise invalid(PATCH_OPTIONS, "", [Cause("fieldManager", *LONG_MANAGER)])
    try:
        return parse(request.body)
    except ValueError:
        raise bad_request("error decoding patch: it is not JSON") from None


def change_of(kind: Kind, request: Request) -> Callable[[Object], Json]:
    """Read the patch that was sent, as a function on the stored object. Raises: Refusal (415, 400)."""
    if "force" in request.query:
        raise invalid(PATCH_OPTIONS, "", [forbidden_change("force", "may not be specified for non-apply patch")])
    apply = PATCHES.get(request.content_type)
    if apply is None or (kind.custom and request.content_type == patches.STRATEGIC):
        raise unsupported_media(*PATCHES)
    try:
        patch: Json = msgspec.json.decode(request.body)
    except msgspec.DecodeError:
        raise bad_request("error decoding patch: it is not JSON") from None
    return lambda stored: apply(shown_form(kind, stored), patch)
