"""Decode a page of a list item by item, so that one bad item does not fail the others."""

from typing import Generic, NamedTuple, TypeVar

import msgspec
import trio

from secrets_manager.kube.objects import KubeObject, ObjectKey, Wire
from secrets_manager.kube.resources import Resource

T = TypeVar("T", bound=KubeObject)

CHECKPOINT_EVERY = 50
"""Items decoded between two checkpoints: well under a millisecond."""


class Page(NamedTuple, Generic[T]):
    """A page; the last one if `continue_token` is empty. `undecodable` are items that exist but can't be decoded."""

    items: list[T]
    resource_version: str
    continue_token: str
    undecodable: list[ObjectKey]


class _Metadata(Wire, frozen=True):
    resource_version: str
    continue_token: str = msgspec.field(name="continue", default="")


class _List(Wire, frozen=True):
    metadata: _Metadata
    items: list[msgspec.Raw] | None = None


class _Name(Wire, frozen=True):
    name: str
    namespace: str = ""


class _Named(Wire, frozen=True):
    metadata: _Name


_list_decoder = msgspec.json.Decoder(_List)
_named_decoder = msgspec.json.Decoder(_Named)


async def decode_page(resource: Resource[T], body: bytes) -> Page[T]:
    """Decode a page.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError: The body is not a list, or an item has no name.
    """
    listed = _list_decoder.decode(body)
    page = Page[T]([], listed.metadata.resource_version, listed.metadata.continue_token, [])
    for number, raw in enumerate(listed.items or ()):
        if number % CHECKPOINT_EVERY == 0:
            await trio.lowlevel.checkpoint()
        try:
            page.items.append(resource.decode(raw))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            name = _named_decoder.decode(raw).metadata
            page.undecodable.append(ObjectKey(name.namespace, name.name))
    return page
