"""A kind of object with nothing but what these tests need: metadata and a colour."""

import msgspec

from secrets_manager.kube.objects import ObjectKey, ObjectMeta, Wire
from secrets_manager.kube.resources import Resource


class Thing(Wire, frozen=True):
    metadata: ObjectMeta
    colour: str

    @property
    def key(self) -> ObjectKey:
        return self.metadata.key


THINGS = Resource("example.com", "v1", "things", "Thing", msgspec.json.Decoder(Thing).decode)


def thing(name: str, *, version: int | str, colour: str = "red", namespace: str = "ns", uid: str = "u1") -> Thing:
    meta = ObjectMeta(name=name, namespace=namespace, uid=uid, resource_version=str(version))
    return Thing(metadata=meta, colour=colour)
