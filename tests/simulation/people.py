"""What people and other programs do, each a small piece of data that can be done to a stage.

What can't be done any more, since the object is gone or is there already, is not done: so a plan stays one when some of
its events are left out.
"""

from contextlib import suppress
from typing import NamedTuple

import httpx

from secrets_manager.demo.api.documents import Json, Object
from tests.controller.component import CRD, definition_path, secret_path
from tests.simulation.stage import Action, Stage

FINALIZER = "secret.finalizer.secrets-manager.tuenti.io"
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/secretdefinitions.secrets-manager.tuenti.io"
GROUP = "secrets-manager.tuenti.io"


class Name(NamedTuple):
    namespace: str
    name: str


class Define(NamedTuple):
    """Make a definition, or give it another spec. `keys` are key, path and field each."""

    name: Name
    secret: str
    keys: tuple[tuple[str, str, str], ...]
    type: str = ""
    interval: str = ""
    adopt: bool = False
    inherited: bool = False

    def __call__(self, stage: Stage) -> None:
        keys: Object = {key: {"path": f"secret/data/{path}", "key": field} for key, path, field in self.keys}
        path, user = definition_path(self.name.name, namespace=self.name.namespace), stage.kubernetes.user
        with attempted():
            present = user.find(path)
            if present is not None:
                spec = present.get("spec")
                before = spec.get("keysMap") if isinstance(spec, dict) else None
                gone: Object = dict.fromkeys(before.keys() - keys.keys()) if isinstance(before, dict) else {}
                change: Object = {"name": self.secret, "keysMap": keys | dict(sorted(gone.items()))}
                change |= {"type": self.type or None, "refreshInterval": self.interval or None}
                user.patch(path, {"spec": change})
                return
            about: Object = {"name": self.name.name, "namespace": self.name.namespace}
            if self.adopt:
                about["annotations"] = {f"{GROUP}/adopt": "true"}
            if self.inherited:
                about["finalizers"] = [FINALIZER]
            spec = {"name": self.secret, "keysMap": keys}
            spec |= {"type": self.type} if self.type else {}
            spec |= {"refreshInterval": self.interval} if self.interval else {}
            kind: Object = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "SecretDefinition"}
            user.create({**kind, "metadata": about, "spec": spec})


class Rename(NamedTuple):
    name: Name
    secret: str

    def __call__(self, stage: Stage) -> None:
        with attempted():
            path = definition_path(self.name.name, namespace=self.name.namespace)
            stage.kubernetes.user.patch(path, {"spec": {"name": self.secret}})


class Annotate(NamedTuple):
    """Force a sync, or give a Secret away."""

    name: Name
    annotation: str
    text: str | None

    def __call__(self, stage: Stage) -> None:
        with attempted():
            path = definition_path(self.name.name, namespace=self.name.namespace)
            change: Object = {f"{GROUP}/{self.annotation}": self.text}
            stage.kubernetes.user.patch(path, {"metadata": {"annotations": change}})


class Undefine(NamedTuple):
    name: Name

    def __call__(self, stage: Stage) -> None:
        with attempted():
            stage.kubernetes.user.delete(definition_path(self.name.name, namespace=self.name.namespace))


class SpoilStatus(NamedTuple):
    """Another program writes the status."""

    name: Name

    def __call__(self, stage: Stage) -> None:
        with attempted():
            path = definition_path(self.name.name, namespace=self.name.namespace)
            stage.kubernetes.user.patch(f"{path}/status", {"status": {"conditions": [], "secretName": "theirs"}})


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
    """Change a Secret by hand."""

    secret: Name
    what: str

    def __call__(self, stage: Stage) -> None:
        with attempted():
            path = secret_path(self.secret.name, namespace=self.secret.namespace)
            stage.kubernetes.user.patch(path, EDITS[self.what])


class Fight(NamedTuple):
    """Another controller puts its own value back, again and again."""

    secret: Name
    what: str
    every: float
    times: int

    def __call__(self, stage: Stage) -> None:
        Edit(self.secret, self.what)(stage)
        if self.times > 1 and not stage.is_over:
            stage.later(self.every, self._replace(times=self.times - 1))


class Remove(NamedTuple):
    """Delete a Secret by hand."""

    secret: Name

    def __call__(self, stage: Stage) -> None:
        with attempted():
            stage.kubernetes.user.delete(secret_path(self.secret.name, namespace=self.secret.namespace))


FOREIGN: dict[str, Object] = {
    "plain": {"labels": {"theirs": "yes"}},
    "of the original": {"labels": {"app.kubernetes.io/managed-by": "secrets-manager"}},
    "of another controller": {
        "ownerReferences": [
            {"apiVersion": "example.com/v1", "kind": "Thing", "name": "thing", "uid": "thing-1", "controller": True}
        ]
    },
}


class Foreign(NamedTuple):
    """Make a Secret by hand, or have another program make one."""

    secret: Name
    what: str

    def __call__(self, stage: Stage) -> None:
        about: Object = {"name": self.secret.name, "namespace": self.secret.namespace, **FOREIGN[self.what]}
        content: Json = {"theirs": "dGhlaXJz"}
        with attempted():
            stage.kubernetes.user.create({"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": content})


class NamespaceGoes(NamedTuple):
    """And comes back, empty."""

    namespace: str
    back_after: float

    def __call__(self, stage: Stage) -> None:
        with attempted():
            stage.kubernetes.user.delete(f"/api/v1/namespaces/{self.namespace}")
        stage.later(self.back_after, NamespaceComes(self.namespace))


class NamespaceComes(NamedTuple):
    namespace: str

    def __call__(self, stage: Stage) -> None:
        with attempted():
            about: Object = {"name": self.namespace}
            stage.kubernetes.user.create({"apiVersion": "v1", "kind": "Namespace", "metadata": about})


class CrdGoes(NamedTuple):
    """And all definitions with it."""

    back_after: float

    def __call__(self, stage: Stage) -> None:
        with attempted():
            stage.kubernetes.user.delete(CRD_PATH)
        stage.later(self.back_after, CrdComes())


class CrdComes(NamedTuple):
    """The CRD is applied."""

    def __call__(self, stage: Stage) -> None:
        with attempted():
            stage.kubernetes.user.create(CRD)


class Rotate(NamedTuple):
    """Write another version of each path."""

    paths: tuple[str, ...]

    def __call__(self, stage: Stage) -> None:
        for path in self.paths:
            stage.vault.rotate(path)


class DeleteVersion(NamedTuple):
    path: str

    def __call__(self, stage: Stage) -> None:
        stage.vault.delete(self.path)


class UndeleteVersion(NamedTuple):
    path: str

    def __call__(self, stage: Stage) -> None:
        stage.vault.undelete(self.path)


class ForgetPath(NamedTuple):
    path: str

    def __call__(self, stage: Stage) -> None:
        stage.vault.forget(self.path)


class Allow(NamedTuple):
    """Change what the policy of the program's role allows in a folder."""

    folder: str
    read: bool
    listing: bool

    def __call__(self, stage: Stage) -> None:
        stage.vault.allow(self.folder, read=self.read, listing=self.listing)


class attempted(suppress):  # noqa: N801 - is used as a function
    """What is impossible by now is left."""

    def __init__(self) -> None:
        super().__init__(httpx.HTTPStatusError)


def meddling(what: str, namespace: str, name: str, definition: str) -> Action | None:
    """What others do to the Secret that is just being written."""
    secret = Name(namespace, name)
    match what:
        case "edit":
            return Edit(secret, "a value")
        case "remove":
            return Remove(secret)
        case "undefine" if definition:
            return Undefine(Name(namespace, definition))
        case "take":
            return Foreign(secret, "plain")
        case _:
            return None
