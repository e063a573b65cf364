"""Create, replace, patch and delete: what the API server does between a request and its storage.

The order is the real server's: is the object there, do name and namespace agree, is the resourceVersion current,
which fields may this request touch, is the result valid, did anything change at all.
"""

from collections.abc import Callable, Iterator

from fake_kubernetes import admission, managed_fields, metadata, quotas, schemas
from fake_kubernetes.cleanup import Clock, KnownKinds, delete, orphan
from fake_kubernetes.documents import Json, Object, at, items, mapping, text, with_metadata, without
from fake_kubernetes.events import stored_form
from fake_kubernetes.kinds import METADATA, NAMESPACE, Kind
from fake_kubernetes.managed_fields import STRIPPED, Owners
from fake_kubernetes.refusals import (
    Cause,
    Refusal,
    about,
    already_exists,
    bad_request,
    conflict,
    invalid,
    namespace_terminating,
    not_found,
    wrong,
)
from fake_kubernetes.requests import Target, key_of
from fake_kubernetes.storage import Key, Storage

MISMATCH = "the {0} of the object ({1}) does not match the {0} on the URL ({2})"


class Writes:
    """`identify` makes uids, `now` the timestamps; both come from outside so that runs can be repeated."""

    def __init__(self, storage: Storage, *, now: Clock, identify: Callable[[], str]) -> None:
        self._storage = storage
        self._now = now
        self._identify = identify

    def create(
        self,
        target: Target,
        sent: Object,
        *,
        manager: str = "",
        strict: bool = False,
        owners: Owners | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Store a new object, unless it is a dry run. `owners` own its fields, or else the manager. Raises: Refusal."""
        kind = target.kind
        uid = self._identify()
        name = text(sent, "metadata", "name")
        if not name and (prefix := text(sent, "metadata", "generateName")):
            name = f"{prefix}{uid[-5:]}"
        if at(sent, "metadata", "resourceVersion"):
            raise Refusal(500, "", "resourceVersion should not be set on objects to be created")
        document = self._checked_form(target._replace(name=name), with_metadata(sent, name=name), strict=strict)
        document = with_metadata(
            document,
            namespace=target.namespace or None,
            uid=uid,
            creationTimestamp=self._now(),
            generation=1 if kind.has_generation else None,
            deletionTimestamp=None,
            deletionGracePeriodSeconds=None,
        )
        if kind.status_subresource:
            default = at(kind.schema, "properties", "status", "default")
            document = without(document, "status") | ({} if default is None else {"status": default})
        document = metadata.tidy(admission.defaulted(kind, document))
        self._check_namespace(target, name)
        self._refuse(kind, document, [*metadata.causes(kind, document), *own_causes(kind, document)])
        quotas.check(self._storage, kind, target.namespace, name)
        key = key_of(target._replace(name=name))
        if self._storage.get(key) is not None:
            raise already_exists(kind, name)
        document = self._owned(kind, None, document, manager, owners)
        return document if dry_run else self._storage.put(key, document)

    def replace(self, target: Target, sent: Object, *, manager: str = "", strict: bool = False) -> tuple[Object, bool]:
        """Store a new state of an object, and tell whether it was made by that. Raises: Refusal."""
        kind, name = target.kind, target.name
        if not name:
            raise bad_request("name must be provided")
        before = self._storage.get(key_of(target))
        if before is None and kind.created_by_put and not target.subresource:
            return self.create(target, sent, manager=manager, strict=strict), True
        if before is None:
            raise not_found(kind, name)
        document = self._checked_form(target, sent, strict=strict)
        uid = text(sent, "metadata", "uid")
        if uid and uid != text(before, "metadata", "uid"):
            raise conflict(kind, name, f"Precondition failed: UID in precondition: {uid}")
        if not text(sent, "metadata", "resourceVersion") and not kind.replaced_blindly:
            raise invalid(kind, name, [wrong("metadata.resourceVersion", "0x0", "must be specified for an update")])
        return self._update(target, before, document, manager, _owners_sent(sent)), False

    def patch(
        self, target: Target, change: Callable[[Object], Json], *, manager: str = "", strict: bool = False
    ) -> Object:
        """Store what `change` makes of the present object in the form of its kind. Raises: Refusal."""
        before = self._storage.get(key_of(target))
        if before is None:
            raise not_found(target.kind, target.name)
        changed = change(before)
        if not isinstance(changed, dict):
            raise invalid(target.kind, target.name, [wrong("patch", '"..."', "a JSON object was expected")])
        document = self._checked_form(target, changed, strict=strict)
        return self._update(target, before, document, manager, _owners_sent(changed))

    def apply(self, target: Target, config: Object, *, manager: str, force: bool) -> tuple[Object, bool]:
        """Store an object with what the manager applies, and tell whether it was made by that. Raises: Refusal."""
        kind, name = target.kind, target.name
        self._check_config(target, config)
        before = self._storage.get(key_of(target))
        uid = text(config, "metadata", "uid")
        if before is None and uid:
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise conflict(kind, name, why)
        result = managed_fields.applied(
            before, config, manager, force=force, now=self._now(), api_version=kind.api_version
        )
        sent = with_metadata(result.document, name=name, resourceVersion=None)
        if before is None:
            return self.create(target, sent, owners=result.owners), True
        version = at(config, "metadata", "resourceVersion")
        sent = with_metadata(sent, resourceVersion=version, uid=uid or at(before, "metadata", "uid"))
        return self._update(target, before, sent, manager, result.owners), False

    def delete(self, target: Target, options: Object, *, kinds: KnownKinds) -> Object:
        """Delete an object or mark it for deletion; its last state. Raises: Refusal."""
        kind, name = target.kind, target.name
        key = key_of(target)
        document = self._storage.get(key)
        if document is None:
            raise not_found(kind, name)
        for field, words in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            wanted, found = text(options, "preconditions", field), text(document, "metadata", field)
            if wanted and wanted != found:
                why = f"the {words} in the precondition ({wanted}) does not match the {words} in record ({found})."
                refusal = conflict(kind, name, why)
                raise Refusal(409, "Conflict", str(refusal), details=about(kind, name, as_kind=True))
        if text(options, "propagationPolicy") == "Orphan":
            orphan(self._storage, text(document, "metadata", "uid"), kinds=kinds)
        return delete(self._storage, key, now=self._now)

    def _update(
        self, target: Target, before: Object, sent: Object, manager: str, owners: Owners | None = None
    ) -> Object:
        kind = target.kind
        version = text(sent, "metadata", "resourceVersion")
        if version and version != text(before, "metadata", "resourceVersion"):
            raise conflict(kind, target.name)
        after = self._touched(target, before, admission.defaulted(kind, sent))
        problems = [*metadata.update_causes(before, sent), *admission.update_causes(kind, before, after)]
        problems += [*metadata.causes(kind, after), *own_causes(kind, after)]
        self._refuse(kind, after, problems)
        after = self._owned(kind, before, after, manager, owners)
        if after == before:
            return before
        key = key_of(target)
        if text(after, "metadata", "deletionTimestamp") and not items(after, "metadata", "finalizers"):
            if key.resource == NAMESPACE.resource:
                return self._storage.put(key, after)
            self._storage.remove(key)
            return after
        return self._storage.put(key, after)

    def _owned(self, kind: Kind, before: Object | None, after: Object, manager: str, owners: Owners | None) -> Object:
        """Record who owns the fields of the new state."""
        if not managed_fields.is_tracked(kind):
            return after
        if owners is None:
            owners = managed_fields.updated(before, after, manager, now=self._now(), api_version=kind.api_version)
        return managed_fields.with_owners(after, owners)

    def _touched(self, target: Target, before: Object, sent: Object) -> Object:
        """Let the request change only what is its to change."""
        if target.subresource == "status":
            after = without(before, "status")
            return after | ({"status": sent["status"]} if "status" in sent else {})
        after = metadata.kept_from(before, sent)
        if target.kind.status_subresource:
            after = without(after, "status")
            after |= {"status": before["status"]} if "status" in before else {}
        return with_metadata(after, generation=metadata.next_generation(target.kind, before, after))

    def _checked_form(self, target: Target, sent: Object, *, strict: bool) -> Object:
        """Reduce what was sent to fields that the kind has, in the form in which it is stored. Raises: Refusal."""
        kind = target.kind
        self._check_address(target, sent)
        unknown: list[str] = []
        head: Object = {"apiVersion": kind.api_version, "kind": kind.kind}
        head["metadata"] = schemas.fitted(METADATA, mapping(sent, "metadata"), path="metadata", unknown=[])
        malformed = list(schemas.causes(METADATA, head["metadata"], path="metadata"))
        body = without(sent, "apiVersion", "kind", "metadata")
        if not kind.custom:
            malformed += schemas.causes(kind.schema, body)
        if malformed:
            why = "; ".join(cause.field for cause in malformed)
            raise bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')
        fitted = schemas.fitted(kind.schema, body, unknown=unknown)
        if strict and unknown:
            fields = ", ".join(f'unknown field "{field}"' for field in unknown)
            raise bad_request(f"strict decoding error: {fields}")
        return stored_form(kind, head | mapping(fitted))

    def _check_config(self, target: Target, config: Object) -> None:
        """Check what is applied, which is stricter than other patches: no unknown fields."""
        kind = target.kind
        if not text(config, "kind"):
            raise bad_request(f"invalid object type: {text(config, 'apiVersion') or '/'}, Kind=")
        if at(config, "metadata", "managedFields") is not None:
            raise bad_request("metadata.managedFields must be nil")
        named = with_metadata(config, name=text(config, "metadata", "name") or target.name)
        self._check_address(target, named)
        unknown: list[str] = []
        schemas.fitted(kind.schema, without(named, "apiVersion", "kind", "metadata"), unknown=unknown)
        if unknown:
            place = f"{text(config, 'metadata', 'namespace')}/{target.name}; /{kind.api_version}, Kind={kind.kind}"
            why = f"failed to create typed patch object ({place}): .{min(unknown)}: field not declared in schema"
            raise Refusal(500, "", why)

    def _check_address(self, target: Target, sent: Object) -> None:
        kind, version = text(sent, "kind"), text(sent, "apiVersion")
        if version and version != target.kind.api_version:
            raise bad_request(
                f"the API version in the data ({version}) does not match the expected API version "
                f"({target.kind.api_version})"
            )
        if kind and kind != target.kind.kind:
            if target.kind.custom:
                problem = wrong("kind", f'"{kind}"', f"must be {target.kind.kind}")
                raise invalid(target.kind._replace(kind=kind), target.name, [problem])
            raise bad_request(f'{kind} in version "{version}" cannot be handled as a {target.kind.kind}')
        namespace, name = text(sent, "metadata", "namespace"), text(sent, "metadata", "name")
        if namespace and namespace != target.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if target.name and name != target.name:
            raise bad_request(MISMATCH.format("name", name, target.name))

    def _check_namespace(self, target: Target, name: str) -> None:
        if not target.kind.namespaced:
            return
        namespace = self._storage.get(Key(NAMESPACE.resource, "", target.namespace))
        if namespace is None:
            raise not_found(NAMESPACE, target.namespace)
        if text(namespace, "metadata", "deletionTimestamp"):
            raise namespace_terminating(target.kind, name, target.namespace)

    def _refuse(self, kind: Kind, document: Object, problems: list[Cause]) -> None:
        if problems:
            raise invalid(kind, text(document, "metadata", "name"), problems)


def _owners_sent(sent: Object) -> Owners | None:
    """Tell whether the client has all owners forgotten; what else it sends of them does not count."""
    return {} if at(sent, "metadata", "managedFields") in STRIPPED else None


def own_causes(kind: Kind, document: Object) -> Iterator[Cause]:
    """Check what belongs to the kind: a custom one's schema, or the rules for Kubernetes' own."""
    if kind.custom:
        yield from schemas.causes(kind.schema, without(document, "apiVersion", "kind", "metadata"))
    else:
        yield from admission.causes(kind, document)
