"""What Kubernetes demands of its own kinds beyond their schema: Secrets above all.

A cause never shows a Secret's value; the real server takes the same care.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping

from fake_kubernetes import quotas
from fake_kubernetes.documents import Json, Object, at, items, mapping, number, text, without
from fake_kubernetes.kinds import DEFINITION, EVENT, LEASE, NAMESPACE, NEW_EVENT, QUOTA, SECRET, Kind
from fake_kubernetes.metadata import missing
from fake_kubernetes.refusals import Cause, bad_request, forbidden_change, required, wrong

KEY = re.compile(r"[-._a-zA-Z0-9]+")
MAX_KEY = 253
MAX_DATA = 1024 * 1024
MAX_NOTE = 1024
REDACTED = '"<secret contents redacted>"'

NEEDED_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
}
NAMESPACE_DEFAULTS: Object = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
ACCEPTED = {"NamesAccepted": "NoConflicts", "Established": "InitialNamesAccepted"}
JSON_KEYS = (".dockerconfigjson", ".dockercfg")


def defaulted(kind: Kind, document: Object) -> Object:
    """Complete what the client sent. Raises: Refusal (400) for a Secret's data that is not base64."""
    if kind == SECRET:
        return secret_defaulted(document)
    if kind == NAMESPACE:
        return NAMESPACE_DEFAULTS | document
    if kind == DEFINITION:
        return definition_defaulted(document)
    return document


def secret_defaulted(document: Object) -> Object:
    data: Object = {key: value or "" for key, value in mapping(document, "data").items()}
    for key, value in data.items():
        decoded(key, value)
    for key, value in mapping(document, "stringData").items():
        data[key] = base64.b64encode(text(value).encode()).decode()
    rest = without(document, "data", "stringData", "type", "immutable")
    if immutable := at(document, "immutable"):
        rest["immutable"] = immutable
    if data:
        rest["data"] = data
    return rest | {"type": text(document, "type") or "Opaque"}


def decoded(key: str, value: Json) -> bytes:
    try:
        return base64.b64decode(text(value), validate=True)
    except binascii.Error:
        why = f"v1.Secret.Data: decode base64: illegal base64 data of key {json.dumps(key)}"
        raise bad_request(f'Secret in version "v1" cannot be handled as a Secret: {why}') from None


def definition_defaulted(document: Object) -> Object:
    """Complete a CRD and accept its names at once, as the real server does a moment later."""
    spec = mapping(document, "spec")
    kind = text(spec, "names", "kind")
    short: Object = {"singular": kind.lower(), "listKind": f"{kind}List"}
    names = short | mapping(spec, "names")
    since = text(document, "metadata", "creationTimestamp")
    status: Object = {
        "acceptedNames": names,
        "storedVersions": [text(each, "name") for each in items(spec, "versions") if at(each, "storage")],
        "conditions": [
            {"type": type_, "status": "True", "reason": reason, "lastTransitionTime": since}
            for type_, reason in ACCEPTED.items()
        ],
    }
    complete: Object = {"conversion": {"strategy": "None"}}
    return {**document, "spec": {**complete, **spec, "names": names}, "status": status}


def causes(kind: Kind, document: Object) -> Iterator[Cause]:
    if kind == SECRET:
        yield from secret_causes(document)
    elif kind == LEASE:
        yield from lease_causes(document)
    elif kind in (EVENT, NEW_EVENT):
        yield from event_causes(kind, document)
    elif kind == DEFINITION:
        yield from definition_causes(document)
    elif kind == QUOTA:
        yield from quotas.causes(document)


def secret_causes(secret: Object) -> Iterator[Cause]:
    data = {key: decoded(key, value) for key, value in mapping(secret, "data").items()}
    for key in data:
        yield from key_causes(key)
    if sum(map(len, data.values())) > MAX_DATA:
        yield Cause("data", "FieldValueTooLong", f"Too long: must have at most {MAX_DATA} bytes")
    yield from type_causes(secret, data)


def key_causes(key: str) -> Iterator[Cause]:
    field, quoted = f"data[{key}]", json.dumps(key)
    if len(key) > MAX_KEY:
        yield wrong(field, quoted, f"must be no more than {MAX_KEY} characters")
    elif not KEY.fullmatch(key):
        yield wrong(field, quoted, "a valid config key must consist of alphanumeric characters, '-', '_' or '.'")
    elif key == "." or key.startswith(".."):
        yield wrong(field, quoted, "must not be '..'" if key == ".." else "must not be '.' or start with '..'")


def type_causes(secret: Object, data: Mapping[str, bytes]) -> Iterator[Cause]:
    """Check that the keys are there which a Secret of this type must have."""
    type_ = text(secret, "type")
    for key in NEEDED_KEYS.get(type_, ()):
        if key not in data:
            yield required(f"data[{key}]")
        elif key in JSON_KEYS and not is_json(data[key]):
            yield wrong(f"data[{key}]", REDACTED, "not JSON")
    if type_ == "kubernetes.io/ssh-auth" and not data.get("ssh-privatekey"):
        yield required("data[ssh-privatekey]")
    if type_ == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        yield required("data[username]")
        yield required("data[password]")
    if type_ == "kubernetes.io/service-account-token":
        account = "kubernetes.io/service-account.name"
        if not text(secret, "metadata", "annotations", account):
            yield required(f"metadata.annotations[{account}]")


def is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def update_causes(kind: Kind, before: Object, after: Object) -> Iterator[Cause]:
    """Say what of a Secret can't change: its type, and all of it once it is immutable."""
    if kind != SECRET:
        return
    if at(before, "type") != at(after, "type"):
        yield wrong("type", json.dumps(at(after, "type")), "field is immutable")
    if at(before, "immutable"):
        why = "field is immutable when `immutable` is set"
        if not at(after, "immutable"):
            yield forbidden_change("immutable", why)
        if mapping(before, "data") != mapping(after, "data"):
            yield forbidden_change("data", why)


def lease_causes(lease: Object) -> Iterator[Cause]:
    duration = at(lease, "spec", "leaseDurationSeconds")
    if isinstance(duration, int) and duration <= 0:
        yield wrong("spec.leaseDurationSeconds", str(duration), "must be greater than 0")
    if number(lease, "spec", "leaseTransitions") < 0:
        transitions = number(lease, "spec", "leaseTransitions")
        yield wrong("spec.leaseTransitions", str(transitions), "must to greater or equal than 0")


def event_causes(kind: Kind, event: Object) -> Iterator[Cause]:
    """Check an Event; the stored form is core/v1, and the stricter rules are those of the newer API."""
    if kind == NEW_EVENT:
        for stored, field in (
            ("eventTime", "eventTime"),
            ("reportingComponent", "reportingController"),
            ("reportingInstance", "reportingInstance"),
            ("action", "action"),
            ("reason", "reason"),
        ):
            if not text(event, stored):
                yield required(field)
        if text(event, "type") not in ("Normal", "Warning"):
            yield wrong("type", '""', f"has invalid value: {text(event, 'type')}")
        if len(text(event, "message")) > MAX_NOTE:
            yield wrong("message", '""', f"can have at most {MAX_NOTE} characters")
    about, own = text(event, "involvedObject", "namespace"), text(event, "metadata", "namespace")
    if about != own and (about or own != "default"):
        yield wrong("involvedObject.namespace", json.dumps(about), "does not match event.namespace")


def definition_causes(crd: Object) -> Iterator[Cause]:
    for field in ("spec.group", "spec.scope", "spec.names.kind", "spec.names.plural", "spec.versions"):
        yield from missing(field, crd)
    expected = f"{text(crd, 'spec', 'names', 'plural')}.{text(crd, 'spec', 'group')}"
    name = text(crd, "metadata", "name")
    if name != expected:
        yield wrong("metadata.name", json.dumps(name), 'must be spec.names.plural+"."+spec.group')
    for index, version in enumerate(items(crd, "spec", "versions")):
        if not mapping(version, "schema", "openAPIV3Schema"):
            yield required(f"spec.versions[{index}].schema.openAPIV3Schema")
