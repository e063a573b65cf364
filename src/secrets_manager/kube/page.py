"""A page of a list, decoded item by item: one that can't be read costs only itself."""

from typing import Generic, NamedTuple, TypeVar

import msgspec
import trio

from secrets_manager.kube.objects import KubeObject, ObjectKey, Wire
from secrets_manager.kube.resources import Resource

T = TypeVar("T", bound=KubeObject)

ITEMS_AT_A_TIME = 50
"""So many items of a list are decoded before others have a turn: well under a millisecond."""


class Page(NamedTuple, Generic[T]):
    """Part of a list; all of it if `continue_token` is empty. `refused` are there as well, but can't be decoded."""

    items: list[T]
    resource_version: str
    continue_token: str
    refused: list[ObjectKey]


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
    """Raises: msgspec.MsgspecError or UnicodeDecodeError, for a list that is none or an item without a name."""
    listed = _list_decoder.decode(body)
    page = Page[T]([], listed.metadata.resource_version, listed.metadata.continue_token, [])
    for number, raw in enumerate(listed.items or ()):
        if number % ITEMS_AT_A_TIME == 0:
            await trio.lowlevel.checkpoint()
        try:
            page.items.append(resource.decode(raw))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            name = _named_decoder.decode(raw).metadata
            page.refused.append(ObjectKey(name.namespace, name.name))
    return page
