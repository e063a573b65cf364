"""Builders with valid defaults: a test names only what it is about.

    definition = secret_definition("db", keys={"pw": "secret/data/db#password"})
    secret = synced_secret(definition, {"pw": "hunter2"}, labels={"team": "shop"})
    documents = {Source("secret/data/db"): document({"password": "hunter2"}, version=3)}

Everything lives in one namespace unless stated otherwise, and has a uid that follows from its name.
"""

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from secrets_manager.backends import Document
from secrets_manager.controller.decision import new_secret
from secrets_manager.controller.definition import SecretDefinition, Status
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.secret import CurrentSecret, Secret, digest
from secrets_manager.controller.spec import DataSource, InvalidSpec, Spec
from secrets_manager.kube.objects import ObjectMeta, OwnerReference

NAMESPACE = "shop"
NOW = "2026-02-03T04:05:06Z"
LATER = "2026-02-03T04:05:11Z"

ONE_KEY = {"pw": "secret/data/db#password"}


def data_source(place: str, *, encoding: str = "", version: int | str | None = None, property_: str = "") -> DataSource:
    """`place` is path#key."""
    path, _, key = place.partition("#")
    return DataSource(path=path, key=key, encoding=encoding, version=version, property=property_)


def spec(
    name: str = "db", *, keys: Mapping[str, str | DataSource] | None = None, type_: str = "", refresh: str = ""
) -> Spec:
    """`keys` maps each key of the Secret to its place, as path#key or as a `data_source`."""
    places = ONE_KEY if keys is None else keys
    return Spec(
        name=name,
        keys_map={key: place if isinstance(place, DataSource) else data_source(place) for key, place in places.items()},
        type=type_,
        refresh_interval=refresh,
    )


def secret_definition(
    name: str = "db",
    *,
    keys: Mapping[str, str | DataSource] | None = None,
    secret: str = "",
    type_: str = "",
    wants: Spec | InvalidSpec | None = None,
    status: Status | None = None,
    namespace: str = NAMESPACE,
    uid: str = "",
    generation: int = 1,
    resource_version: str = "1",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    finalizers: tuple[str, ...] = (),
    deletion_timestamp: str | None = None,
) -> SecretDefinition:
    """A definition whose Secret has its own name unless `secret` says another; `wants` is the whole spec instead."""
    return SecretDefinition(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=uid or f"uid-of-{name}",
            resource_version=resource_version,
            generation=generation,
            labels=dict(labels or {}),
            annotations=dict(annotations or {}),
            finalizers=finalizers,
            deletion_timestamp=deletion_timestamp,
        ),
        spec=wants or spec(secret or name, keys=keys, type_=type_),
        status=status or Status(),
    )


def desired_secret(data: Mapping[str, str] | None = None, *, name: str = "db", type_: str = "Opaque") -> Desired:
    """What `desired.desired` makes, from text."""
    values = _bytes({"pw": "hunter2"} if data is None else data)
    return Desired(name=name, type=type_, data=values, digest=digest(values))


def current_secret(
    name: str = "db",
    data: Mapping[str, str] | None = None,
    *,
    type_: str = "Opaque",
    immutable: bool = False,
    namespace: str = NAMESPACE,
    uid: str = "",
    resource_version: str = "1",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owners: tuple[OwnerReference, ...] = (),
    deletion_timestamp: str | None = None,
) -> CurrentSecret:
    """A Secret that another client made: without our label or owner unless given."""
    values = _bytes(data or {})
    return CurrentSecret(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=uid or f"uid-of-secret-{name}",
            resource_version=resource_version,
            labels=dict(labels or {}),
            annotations=dict(annotations or {}),
            owner_references=owners,
            deletion_timestamp=deletion_timestamp,
        ),
        type=type_,
        immutable=immutable,
        keys=tuple(values),
        digest=digest(values),
    )


def synced_secret(
    definition: SecretDefinition,
    data: Mapping[str, str] | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owners: tuple[OwnerReference, ...] = (),
    immutable: bool = False,
) -> CurrentSecret:
    """The Secret as this controller left it for the definition, with foreign marks and owners beside its own."""
    wanted = definition.spec
    assert isinstance(wanted, Spec)
    made = new_secret(
        definition, desired_secret(data, name=wanted.name, type_=wanted.secret_type), now=NOW, restarts=""
    )
    metadata = msgspec.structs.replace(
        made.metadata,
        uid=f"uid-of-secret-{wanted.name}",
        resource_version="1",
        labels={**(labels or {}), **made.metadata.labels},
        annotations={**(annotations or {}), **made.metadata.annotations},
        owner_references=(*owners, *made.metadata.owner_references),
    )
    return stored(msgspec.structs.replace(made, metadata=metadata), immutable=immutable)


def stored(secret: Secret, *, immutable: bool = False) -> CurrentSecret:
    """What is kept in memory of a Secret that was written."""
    return CurrentSecret(
        metadata=secret.metadata,
        type=secret.type,
        immutable=immutable,
        keys=tuple(secret.data),
        digest=digest(secret.data),
    )


def owner(
    name: str = "web", *, kind: str = "Deployment", api_version: str = "apps/v1", controller: bool = False
) -> OwnerReference:
    """Another object that owns a Secret."""
    return OwnerReference(
        api_version=api_version, kind=kind, name=name, uid=f"uid-of-{kind}-{name}", controller=controller
    )


def document(values: Mapping[str, str | None] | None = None, *, version: int | None = 1) -> Document:
    """What stands at one source. Its marker follows from all of it, as every backend promises."""
    content = {"password": "hunter2"} if values is None else dict(values)
    text = msgspec.json.encode(sorted(content.items()))
    return Document(values=content, marker=f"{version}@{blake2b(text, digest_size=8).hexdigest()}", version=version)


def _bytes(data: Mapping[str, str]) -> dict[str, bytes]:
    return {key: text.encode() for key, text in data.items()}
