"""A kind of object: its path in the API and its decoder."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from secrets_manager.kube.objects import KubeObject

T = TypeVar("T", bound=KubeObject)


class Resource(NamedTuple, Generic[T]):
    """One kind, as `GET /apis` lists it. The core group is the empty string.

    `decode` decodes the JSON of one object. It raises msgspec.MsgspecError for JSON that is not such an object, and
    UnicodeDecodeError for what is not UTF-8. With `metadata_only` the server sends the metadata alone.
    """

    group: str
    version: str
    plural: str
    kind: str
    decode: Callable[[bytes | msgspec.Raw], T]
    metadata_only: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL's path. An empty namespace means all namespaces, an empty name the collection."""
        root = f"/apis/{self.group}" if self.group else "/api"
        parts = [root, self.version]
        if namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)
