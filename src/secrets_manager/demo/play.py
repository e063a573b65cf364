"""The play: four things that happen to a Secret, each with the time that it took."""

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import msgspec
import trio
from rich.console import Console
from rich.table import Table

from secrets_manager.controller.definition import API_VERSION, KIND, SECRET_DEFINITIONS
from secrets_manager.controller.spec import DataSource, Spec
from secrets_manager.demo.openbao import OpenBao
from secrets_manager.errors import StartError
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import NotFound
from secrets_manager.kube.objects import ObjectKey, ObjectMeta, Wire
from secrets_manager.kube.resources import Resource

PATH = "demo/database"
FIRST = {"username": "app", "password": "correct-horse"}
SECOND = {"username": "app", "password": "battery-staple"}
TIMEOUT = 60.0
"""Seconds. A cluster's garbage collector may need half a minute to learn of a kind that is new to it."""
POLL = 0.01
PAUSE = 1.2
"""Seconds between two acts, for the reader."""


class ShownSecret(Wire, frozen=True):
    """A Secret with its values: these are no secret."""

    metadata: ObjectMeta
    data: dict[str, bytes] = msgspec.field(default_factory=dict)


class NewDefinition(Wire, frozen=True, tag_field="kind", tag=KIND):
    api_version: str
    metadata: ObjectMeta
    spec: Spec


SHOWN_SECRETS = Resource("", "v1", "secrets", "Secret", msgspec.json.Decoder(ShownSecret).decode)


class Act(NamedTuple):
    title: str
    begin: Callable[[], Awaitable[None]]
    expected: Mapping[str, str] | None


class Play:
    """Plays in one namespace, in which it leaves nothing behind."""

    def __init__(self, console: Console, client: KubeClient, bao: OpenBao, namespace: str) -> None:
        self._console = console
        self._client = client
        self._bao = bao
        self._key = ObjectKey(namespace, "database")

    async def run(self) -> None:
        """Play all acts. Raises: StartError where one does not end as it should."""
        acts = (
            Act("a SecretDefinition becomes a Secret", self._define, FIRST),
            Act("a change in Vault arrives (polled each second here)", self._change_in_vault, SECOND),
            Act("a manual edit of the Secret is reverted", self._edit_by_hand, SECOND),
            Act("the definition is deleted, and its Secret goes with it", self._delete, None),
        )
        await self._bao.put(PATH, FIRST)
        for act in acts:
            await self._perform(act)
            await trio.sleep(PAUSE)

    async def define(self) -> None:
        """Leave the first act's definition standing, to try by hand."""
        await self._define()
        await self._wait_for(SECOND)

    async def _perform(self, act: Act) -> None:
        with self._console.status(act.title):
            began = trio.current_time()
            await act.begin()
            await self._wait_for(act.expected)
            took = trio.current_time() - began
        self._console.print(f"[green]✓[/] {act.title} [bold]{took:.2f} s[/]")
        if act.expected is not None:
            self._console.print(self._table(await self._read()))

    async def _define(self) -> None:
        source = f"secret/data/{PATH}"
        spec = Spec(
            name=self._key.name,
            keys_map={key: DataSource(path=source, key=key) for key in ("username", "password")},
        )
        meta = ObjectMeta(name=self._key.name, namespace=self._key.namespace)
        body = NewDefinition(api_version=API_VERSION, metadata=meta, spec=spec)
        await self._client.create(SECRET_DEFINITIONS, self._key.namespace, body)

    async def _change_in_vault(self) -> None:
        await self._bao.put(PATH, SECOND)

    async def _edit_by_hand(self) -> None:
        edited = base64.b64encode(b"edited-by-hand").decode()
        await self._client.patch(SHOWN_SECRETS, self._key, {"data": {"password": edited}})

    async def _delete(self) -> None:
        definition = await self._client.get(SECRET_DEFINITIONS, self._key)
        await self._client.delete(SECRET_DEFINITIONS, self._key, uid=definition.metadata.uid)

    async def _wait_for(self, expected: Mapping[str, str] | None) -> None:
        with trio.move_on_after(TIMEOUT):
            while _texts(await self._read()) != expected:  # noqa: ASYNC110 - the cluster's state has no event
                await trio.sleep(POLL)
            return
        raise StartError(f"Secret {self._key} was not as expected within {TIMEOUT:g} s")

    async def _read(self) -> ShownSecret | None:
        try:
            return await self._client.get(SHOWN_SECRETS, self._key)
        except NotFound:
            return None

    def _table(self, secret: ShownSecret | None) -> Table:
        table = Table("Secret", "key", "value", box=None, pad_edge=True, header_style="dim")
        for key, value in sorted((_texts(secret) or {}).items(), reverse=True):
            table.add_row(self._key.name, key, value)
        return table


def _texts(secret: ShownSecret | None) -> dict[str, str] | None:
    return None if secret is None else {key: value.decode() for key, value in secret.data.items()}
