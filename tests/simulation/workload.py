"""The actions of users and of other programs, as data.

An action that is impossible, since its object is gone or exists already, does nothing: so plans can be shrunk.
"""

from typing import NamedTuple

from fake_kubernetes.documents import Json, Object, mapping
from fake_kubernetes.patches import merged
from fake_kubernetes.storage import Key
from tests.controller.component import definition_path, secret_path
from tests.simulation.environment import Action, Environment

FINALIZER = "secret.finalizer.secrets-manager.tuenti.io"
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/secretdefinitions.secrets-manager.tuenti.io"
GROUP = "secrets-manager.tuenti.io"
MERGE, ORPHAN = "Merge", "Orphan"
NOT_MERGED = ("type", "immutable", "metadata", "rolloutRestartTargets")
"""The fields of a spec that Merge does not allow."""
BROKEN_TEMPLATE = "{{ unclosed"
"""The API server admits it, and the program can't parse it."""


class Name(NamedTuple):
    namespace: str
    name: str


class KeySource(NamedTuple):
    """A key of a Secret and its source."""

    key: str
    path: str
    field: str
    version: int = 0
    """0: the newest."""
    encoding: str = ""
    property: str = ""

    def spec(self) -> Object:
        """Return the entry of `keysMap`."""
        spec: Object = {"path": f"secret/data/{self.path}", "key": self.field}
        spec |= {"version": self.version} if self.version else {}
        spec |= {"encoding": self.encoding} if self.encoding else {}
        return spec | ({"property": self.property} if self.property else {})


class DocumentSource(NamedTuple):
    """A document whose keys all become keys of a Secret."""

    path: str
    version: int = 0
    """0: the newest."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    renamed: str = ""
    """The key of the Secret for `k1`; empty: none is renamed."""
    prefix: str = ""
    encoding: str = ""

    def spec(self) -> Object:
        """Return the entry of `dataFrom`."""
        spec: Object = {"path": f"secret/data/{self.path}"}
        spec |= {"version": self.version} if self.version else {}
        spec |= {"include": [*self.include]} if self.include else {}
        spec |= {"exclude": [*self.exclude]} if self.exclude else {}
        spec |= {"rename": {"k1": self.renamed}} if self.renamed else {}
        spec |= {"prefix": self.prefix} if self.prefix else {}
        return spec | ({"encoding": self.encoding} if self.encoding else {})


class Templated(NamedTuple):
    """A key of a Secret, made of one field of each path."""

    key: str
    paths: tuple[str, ...]
    field: str

    def sources(self) -> Object:
        """Return the entries of `sources`."""
        return {f"s{number}": {"path": f"secret/data/{path}"} for number, path in enumerate(self.paths)}

    def spec(self) -> Object:
        """Return the entry of `keysMap`."""
        return {"template": " ".join(f"{{{{ {name}.{self.field} }}}}" for name in self.sources())}


class Define(NamedTuple):
    """Create a definition, or change its spec."""

    name: Name
    secret: str
    keys: tuple[KeySource, ...]
    type: str = ""
    interval: str = ""
    adopt: bool = False
    inherited: bool = False
    documents: tuple[DocumentSource, ...] = ()
    template: Templated | None = None
    policy: str = ""
    immutable: bool = False
    marks: tuple[str, ...] = ()
    """Names of labels and annotations of the Secret."""
    copies: bool = True
    """Whether the Secret gets the labels and annotations of the definition, too."""
    targets: tuple[str, ...] = ()
    """The Deployments that are restarted."""

    def __call__(self, environment: Environment) -> None:
        path, user = definition_path(self.name.name, namespace=self.name.namespace), environment.kubernetes.user
        present = user.find(path)
        if present is not None:
            user.replace(path, {**present, "spec": self.spec()})
            return
        metadata: Object = {"name": self.name.name, "namespace": self.name.namespace}
        if self.adopt:
            metadata["annotations"] = {f"{GROUP}/adopt": "true"}
        if self.inherited:
            metadata["finalizers"] = [FINALIZER]
        kind: Object = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "SecretDefinition"}
        user.create({**kind, "metadata": metadata, "spec": self.spec()})

    def spec(self) -> Object:
        """Return the spec."""
        spec: Object = {"name": self.secret, "keysMap": {each.key: each.spec() for each in self._keys}}
        spec |= {"dataFrom": [each.spec() for each in self.documents]} if self.documents else {}
        spec |= {"sources": self.template.sources()} if self.template else {}
        spec |= {"creationPolicy": self.policy} if self.policy else {}
        spec |= {"type": self.type} if self.type else {}
        spec |= {"immutable": True} if self.immutable else {}
        marks: Object = dict.fromkeys(self.marks, "wanted")
        metadata: Object = {"labels": marks, "annotations": marks} if self.marks else {}
        metadata |= {} if self.copies else {"copy": False}
        spec |= {"metadata": metadata} if metadata else {}
        targets: list[Json] = [{"kind": "Deployment", "name": name} for name in self.targets]
        spec |= {"rolloutRestartTargets": targets} if targets else {}
        return spec | ({"refreshInterval": self.interval} if self.interval else {})

    @property
    def _keys(self) -> tuple[KeySource | Templated, ...]:
        return self.keys if self.template is None else (*self.keys, self.template)


class ChangePolicy(NamedTuple):
    """Change the creation policy of a definition; for Merge without what that does not allow."""

    name: Name
    policy: str

    def __call__(self, environment: Environment) -> None:
        path = definition_path(self.name.name, namespace=self.name.namespace)
        change: Object = {"creationPolicy": self.policy}
        change |= dict.fromkeys(NOT_MERGED) if self.policy == MERGE else {}
        environment.kubernetes.user.patch(path, {"spec": change})


class Rename(NamedTuple):
    name: Name
    secret: str

    def __call__(self, environment: Environment) -> None:
        path = definition_path(self.name.name, namespace=self.name.namespace)
        environment.kubernetes.user.patch(path, {"spec": {"name": self.secret}})


class Annotate(NamedTuple):
    """Force a sync, or allow an adoption."""

    name: Name
    annotation: str
    text: str | None

    def __call__(self, environment: Environment) -> None:
        path = definition_path(self.name.name, namespace=self.name.namespace)
        change: Object = {f"{GROUP}/{self.annotation}": self.text}
        environment.kubernetes.user.patch(path, {"metadata": {"annotations": change}})


class Mark(NamedTuple):
    """Give a definition a label and an annotation of this name, or take them away."""

    name: Name
    mark: str
    text: str | None

    def __call__(self, environment: Environment) -> None:
        path = definition_path(self.name.name, namespace=self.name.namespace)
        change: Object = {self.mark: self.text}
        environment.kubernetes.user.patch(path, {"metadata": {"labels": change, "annotations": change}})


class Break(NamedTuple):
    """Add a template to a definition that can't be parsed, or remove it."""

    name: Name
    repaired: bool = False

    def __call__(self, environment: Environment) -> None:
        path = definition_path(self.name.name, namespace=self.name.namespace)
        source: Json = None if self.repaired else {"template": BROKEN_TEMPLATE}
        environment.kubernetes.user.patch(path, {"spec": {"keysMap": {"broken": source}}})


class DeleteDefinition(NamedTuple):
    name: Name
    inherited: bool = False
    """Whether the original, which still runs, has put its finalizer on the definition."""

    def __call__(self, environment: Environment) -> None:
        path, user = definition_path(self.name.name, namespace=self.name.namespace), environment.kubernetes.user
        if self.inherited:
            user.patch(path, {"metadata": {"finalizers": [FINALIZER]}})
        user.delete(path)


class OverwriteStatus(NamedTuple):
    """Overwrite the status and add a condition, as another program may."""

    name: Name

    def __call__(self, environment: Environment) -> None:
        path = definition_path(self.name.name, namespace=self.name.namespace)
        environment.kubernetes.user.patch(
            f"{path}/status", {"status": {"conditions": [CONDITION], "secretName": "theirs"}}
        )


CONDITION: Object = {
    "type": "example.com/Theirs",
    "status": "True",
    "reason": "Theirs",
    "message": "theirs",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
EDITS: dict[str, Object] = {
    "a value": {"data": {"a": "ZWRpdGVk"}},
    "a key more": {"data": {"more": "ZWRpdGVk"}},
    "the label": {"metadata": {"labels": {f"{GROUP}/owner": None}}},
    "the owner": {"metadata": {"ownerReferences": []}},
    "all marks": {"metadata": {"labels": None, "annotations": None, "ownerReferences": None}},
    "what is theirs": {"metadata": {"labels": {"team": "theirs"}, "annotations": {"note": "theirs"}}},
    "immutable": {"immutable": True},
}


class Edit(NamedTuple):
    """Edit a Secret."""

    secret: Name
    what: str

    def __call__(self, environment: Environment) -> None:
        path = secret_path(self.secret.name, namespace=self.secret.namespace)
        environment.kubernetes.user.patch(path, EDITS[self.what])


class Contend(NamedTuple):
    """Edit a Secret again and again, as another controller does."""

    secret: Name
    what: str
    every: float
    times: int

    def __call__(self, environment: Environment) -> None:
        present = environment.kubernetes.objects("secrets").get(Key("secrets", *self.secret))
        if present is not None and merged(present, EDITS[self.what]) != present:
            Edit(self.secret, self.what)(environment)
        if self.times > 1 and not environment.faults_ended:
            environment.schedule(self.every, self._replace(times=self.times - 1))


class DeleteSecret(NamedTuple):
    """Delete a Secret."""

    secret: Name

    def __call__(self, environment: Environment) -> None:
        environment.kubernetes.user.delete(secret_path(self.secret.name, namespace=self.secret.namespace))


THEIRS = "dGhlaXJz"
FOREIGN: dict[str, Object] = {
    "plain": {"labels": {"theirs": "yes"}},
    "with a key of ours": {"annotations": {"theirs": "yes"}},
    "of the original": {"labels": {"app.kubernetes.io/managed-by": "secrets-manager"}},
    "of another controller": {
        "ownerReferences": [
            {"apiVersion": "example.com/v1", "kind": "Thing", "name": "thing", "uid": "thing-1", "controller": True}
        ]
    },
}


class CopySecret(NamedTuple):
    """Create a Secret with the content and all labels, annotations and owners of another one."""

    secret: Name
    name: str

    def __call__(self, environment: Environment) -> None:
        user = environment.kubernetes.user
        original = user.find(secret_path(self.secret.name, namespace=self.secret.namespace))
        if original is not None:
            kept = ("labels", "annotations", "ownerReferences")
            metadata: Object = {key: value for key, value in mapping(original, "metadata").items() if key in kept}
            metadata |= {"name": self.name, "namespace": self.secret.namespace}
            user.create({**original, "metadata": metadata})


class CreateForeign(NamedTuple):
    """Create a Secret that belongs to someone else."""

    secret: Name
    what: str

    def __call__(self, environment: Environment) -> None:
        metadata: Object = {"name": self.secret.name, "namespace": self.secret.namespace, **FOREIGN[self.what]}
        keys = ("a", "theirs") if self.what == "with a key of ours" else ("theirs",)
        content: Object = dict.fromkeys(keys, THEIRS)
        environment.kubernetes.user.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": content}
        )


class ApplyKeys(NamedTuple):
    """Apply keys of a Secret as another manager, which drops those that it applied before."""

    secret: Name
    keys: tuple[str, ...]
    alike: bool = False
    """Whether with the values that are there."""

    def __call__(self, environment: Environment) -> None:
        path, user = secret_path(self.secret.name, namespace=self.secret.namespace), environment.kubernetes.user
        held = mapping(user.find(path) or {}, "data")
        user.apply_keys(path, {key: held.get(key, THEIRS) if self.alike else THEIRS for key in self.keys})


class CreateWorkload(NamedTuple):
    """Create a Deployment."""

    name: Name

    def __call__(self, environment: Environment) -> None:
        metadata: Object = {"name": self.name.name, "namespace": self.name.namespace}
        spec: Object = {"template": {"metadata": {"annotations": {"theirs": "yes"}}}}
        environment.kubernetes.user.create(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
        )


class DeleteWorkload(NamedTuple):
    """Delete a Deployment."""

    name: Name

    def __call__(self, environment: Environment) -> None:
        environment.kubernetes.user.delete(
            f"/apis/apps/v1/namespaces/{self.name.namespace}/deployments/{self.name.name}"
        )


class DeleteNamespace(NamedTuple):
    """Delete a namespace, and create it again later."""

    namespace: str
    back_after: float

    def __call__(self, environment: Environment) -> None:
        environment.kubernetes.user.delete(f"/api/v1/namespaces/{self.namespace}")
        environment.schedule(self.back_after, CreateNamespace(self.namespace))


class CreateNamespace(NamedTuple):
    namespace: str

    def __call__(self, environment: Environment) -> None:
        metadata: Object = {"name": self.namespace}
        environment.kubernetes.user.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


class DeleteCrd(NamedTuple):
    """Delete the CRD, with all definitions, and create it again later."""

    back_after: float

    def __call__(self, environment: Environment) -> None:
        environment.kubernetes.user.delete(CRD_PATH)
        environment.schedule(self.back_after, CreateCrd())


class CreateCrd(NamedTuple):
    """Create the CRD, once the one before has gone: definitions with a finalizer keep it."""

    def __call__(self, environment: Environment) -> None:
        if environment.kubernetes.crd_is_going:
            environment.schedule(1.0, self)
        else:
            environment.kubernetes.create_crd()


class Rotate(NamedTuple):
    """Write another version of each path."""

    paths: tuple[str, ...]

    def __call__(self, environment: Environment) -> None:
        for path in self.paths:
            environment.vault.rotate(path)


class DeleteVersion(NamedTuple):
    path: str

    def __call__(self, environment: Environment) -> None:
        environment.vault.delete(self.path)


class UndeleteVersion(NamedTuple):
    path: str

    def __call__(self, environment: Environment) -> None:
        environment.vault.undelete(self.path)


class DeletePath(NamedTuple):
    path: str

    def __call__(self, environment: Environment) -> None:
        environment.vault.forget(self.path)


class SetPolicy(NamedTuple):
    """Change what Vault's policy allows in a folder."""

    folder: str
    read: bool
    listing: bool

    def __call__(self, environment: Environment) -> None:
        environment.vault.allow(self.folder, read=self.read, listing=self.listing)


def interference(what: str, namespace: str, name: str, definition: str) -> Action | None:
    """Return the action that interferes with a write of a Secret."""
    secret = Name(namespace, name)
    match what:
        case "edit":
            return Edit(secret, "a value")
        case "remove":
            return DeleteSecret(secret)
        case "undefine" if definition:
            return DeleteDefinition(Name(namespace, definition))
        case "take":
            return CreateForeign(secret, "plain")
        case _:
            return None
