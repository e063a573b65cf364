"""Lists the folders of the sources in use, when listing.py says so, and passes on what each listing shows."""

import logging
from math import inf
from random import Random

import trio

from secrets_manager.backends.base import Folder, NotListable, Place, Source, Unavailable
from secrets_manager.controller import listing, reading
from secrets_manager.controller.listing import Members
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import Listed, Uncovered
from secrets_manager.controller.source_table import Entry, SourceTable
from secrets_manager.controller.store_reader import Listing, StoreReader
from secrets_manager.timer import Timer

log = logging.getLogger(__name__)


class _Folder:
    """One folder. Its members are the sources in use, each with its name in the listings."""

    def __init__(self) -> None:
        self.state = listing.Folder()
        self.members: dict[Source, tuple[str, Entry]] = {}


class Lister:
    """All folders that hold a source in use."""

    def __init__(self, table: SourceTable, reader: StoreReader, policy: ReadPolicy, *, random: Random) -> None:
        self._table = table
        self._reader = reader
        self._policy = policy
        self._random = random
        self._folders: dict[Folder, _Folder] = {}
        self._timer = Timer[Folder]()

    def __len__(self) -> int:
        return len(self._folders)

    def join(self, source: Source, entry: Entry, place: Place) -> None:
        """This source is in use."""
        key = place.folder
        folder = self._folders.setdefault(key, _Folder())
        if source in folder.members:
            return
        folder.members[source] = (place.name, entry)
        now, count = trio.current_time(), len(folder.members)
        self._set(key, folder, listing.joined(folder.state, count, now=now, policy=self._policy, random=self._random))

    def leave(self, source: Source, place: Place) -> None:
        """This source is used no more."""
        key = place.folder
        folder = self._folders[key]
        del folder.members[source]
        if not folder.members:
            del self._folders[key]

    def covers(self, place: Place) -> bool:
        """Whether the listings that show this place are up to date, and go on."""
        folder = self._folders.get(place.folder)
        return folder is not None and trio.current_time() < folder.state.covered_until

    async def run(self) -> None:
        """List what is due, until cancelled."""
        due, waiting = trio.open_memory_channel[Folder](inf)  # a folder is due again only after it was listed
        async with trio.open_nursery() as nursery:
            for _ in range(self._policy.list_concurrency):
                nursery.start_soon(self._list_due, waiting)
            while True:
                for folder in await self._timer.due():
                    due.send_nowait(folder)

    async def _list_due(self, waiting: trio.MemoryReceiveChannel[Folder]) -> None:
        async for key in waiting:
            folder = self._folders.get(key)
            if folder is None:
                continue
            try:
                await self._list(key, folder)
            except Exception as error:  # noqa: BLE001 - it costs this listing and no other
                self._reader.unexpected_error("list", key.path, error)
                self._set(key, folder, listing.failed(folder.state, now=trio.current_time(), policy=self._policy))

    async def _list(self, key: Folder, folder: _Folder) -> None:
        down = self._reader.error is not None
        state = listing.due(
            folder.state, self._members(folder), store_down=down, now=trio.current_time(), policy=self._policy
        )
        self._set(key, folder, state)
        if not state.listing:
            return
        try:
            found = await self._reader.list(key)
        except NotListable as error:
            self._refuse(key, folder, str(error))
        except Unavailable:  # the polls find out whether the whole store is down
            self._set(key, folder, listing.failed(state, now=trio.current_time(), policy=self._policy))
        else:
            self._take(key, folder, found)

    def _take(self, key: Folder, folder: _Folder, found: Listing) -> None:
        now, used, shown = trio.current_time(), len(folder.members), len(found.markers)
        if listing.is_waste(used=used, shown=shown, took=now - found.began_at, policy=self._policy):
            self._refuse(key, folder, f"{shown} secrets are there, and {used} are used")
            return
        for source, (name, entry) in folder.members.items():
            marker = found.markers.get(name)
            if not reading.is_confirmed(entry.state, marker):
                self._table.apply(source, entry, Listed(marker, found.began_at))
        state = listing.listed(
            folder.state, self._members(folder), began_at=found.began_at, now=now, policy=self._policy
        )
        self._set(key, folder, state)

    def _refuse(self, key: Folder, folder: _Folder, why: str) -> None:
        if folder.state.refusals == 0:
            log.info("sources are read one by one", extra={"fields": {"folder": key.path, "reason": why}})
        now = trio.current_time()
        self._set(key, folder, listing.refused(folder.state, now=now, policy=self._policy, random=self._random))

    def _set(self, key: Folder, folder: _Folder, state: listing.Folder) -> None:
        before, folder.state = folder.state, state
        if before.covered_until > state.covered_until == -inf:
            for source, (_, entry) in folder.members.items():
                self._table.apply(source, entry, Uncovered())
        if state.due < inf and self._folders.get(key) is folder:
            self._timer.set(key, state.due)

    def _members(self, folder: _Folder) -> Members:
        """In one pass, for it is made at each listing: of a thousand sources it is a good part of the cost."""
        unread, polls, saved = False, 0.0, 0.0
        for _, entry in folder.members.values():
            state = entry.state
            rate = 1 / state.period
            polls += rate
            if state.confirmed:
                saved += rate
            elif not state.content:
                unread = True
        return Members(count=len(folder.members), unread=unread, polls=polls, saved=saved)
