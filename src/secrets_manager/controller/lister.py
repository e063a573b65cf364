"""List the folders of the sources in use, when listing.py decides, and apply the listings to the sources."""

import logging
from math import inf
from random import Random

import trio

from secrets_manager.backends import Folder, NotListable, Place, Source, Unavailable
from secrets_manager.controller import listing, reading
from secrets_manager.controller.listing import PollRates
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.reading import Listed, Uncovered
from secrets_manager.controller.source_table import Entry, Listings, SourceTable
from secrets_manager.controller.store_reader import Listing, StoreReader
from secrets_manager.timer import Timer

log = logging.getLogger(__name__)


class _ListedFolder:
    """A folder. Its members are the sources in use, with their names in the listings."""

    def __init__(self) -> None:
        self.state = listing.FolderState()
        self.members: dict[Source, tuple[str, Entry]] = {}
        self.listings = Listings()


class FolderLister:
    """The folders with a source in use."""

    def __init__(self, table: SourceTable, reader: StoreReader, policy: ReadPolicy, *, random: Random) -> None:
        self._table = table
        self._reader = reader
        self._policy = policy
        self._random = random
        self._folders: dict[Folder, _ListedFolder] = {}
        self._timer = Timer[Folder]()

    def __len__(self) -> int:
        return len(self._folders)

    def add(self, source: Source, entry: Entry, place: Place) -> None:
        """Add a source in use."""
        key = place.folder
        folder = self._folders.setdefault(key, _ListedFolder())
        if source in folder.members:
            return
        folder.members[source] = (place.name, entry)
        entry.listings = folder.listings
        now, count = trio.current_time(), len(folder.members)
        self._set_state(
            key, folder, listing.joined(folder.state, count, now=now, policy=self._policy, random=self._random)
        )

    def remove(self, source: Source, place: Place) -> None:
        """Remove a source that is not used any more."""
        key = place.folder
        folder = self._folders[key]
        del folder.members[source]
        if not folder.members:
            del self._folders[key]

    def covers(self, place: Place) -> bool:
        """Whether the listings of this place are up to date."""
        folder = self._folders.get(place.folder)
        return folder is not None and trio.current_time() < folder.state.covered_until

    async def run(self) -> None:
        """List folders when they are due, until cancelled."""
        due, waiting = trio.open_memory_channel[Folder](inf)  # bounded: a folder is due again after its listing only
        async with trio.open_nursery() as nursery:
            for _ in range(self._policy.list_concurrency):
                nursery.start_soon(self._run_lister, waiting)
            while True:
                for folder in await self._timer.due():
                    due.send_nowait(folder)

    async def _run_lister(self, waiting: trio.MemoryReceiveChannel[Folder]) -> None:
        async for key in waiting:
            folder = self._folders.get(key)
            if folder is None:
                continue
            try:
                await self._list(key, folder)
            except Exception as error:  # noqa: BLE001 - it fails this listing only
                self._reader.unexpected_error("list", key.path, error)
                self._set_state(key, folder, listing.failed(folder.state, now=trio.current_time(), policy=self._policy))

    async def _list(self, key: Folder, folder: _ListedFolder) -> None:
        state = listing.due(
            folder.state,
            len(folder.members),
            unread=not all(entry.state.content for _, entry in folder.members.values()),
            now=trio.current_time(),
            policy=self._policy,
        )
        self._set_state(key, folder, state)
        if not state.listing:
            return
        try:
            found = await self._reader.list(key)
        except NotListable as error:
            self._back_off(key, folder, str(error))
        except Unavailable:  # polls find out whether the store is down
            self._set_state(key, folder, listing.failed(state, now=trio.current_time(), policy=self._policy))
        else:
            self._apply_listing(key, folder, found)

    def _apply_listing(self, key: Folder, folder: _ListedFolder, found: Listing) -> None:
        now, used, shown = trio.current_time(), len(folder.members), len(found.markers)
        if listing.is_waste(used=used, shown=shown, took=now - found.began_at, policy=self._policy):
            self._back_off(key, folder, f"{shown} secrets are there, and {used} are used")
            return
        polls, saved, shortest_period = 0.0, 0.0, inf
        for source, (name, entry) in folder.members.items():
            marker = found.markers.get(name)
            if not reading.is_confirmed(entry.state, marker):
                self._table.apply(source, entry, Listed(marker, found.began_at))
            rate = 1 / entry.state.period
            polls += rate
            saved += rate if entry.state.confirmed else 0.0
            shortest_period = min(shortest_period, entry.state.period)
        folder.listings.began_at = found.began_at
        rates = PollRates(polls=polls, saved=saved, shortest_period=shortest_period)
        others = sum(each.state.demand for each in self._folders.values()) - folder.state.demand
        state = listing.listed(
            folder.state, rates, others=others, began_at=found.began_at, now=now, policy=self._policy
        )
        self._set_state(key, folder, state)

    def _back_off(self, key: Folder, folder: _ListedFolder, why: str) -> None:
        if folder.state.refusals == 0:
            log.info(
                "folder can't be listed, reading its sources one by one",
                extra={"fields": {"folder": key.path, "reason": why}},
            )
        now = trio.current_time()
        self._set_state(key, folder, listing.refused(folder.state, now=now, policy=self._policy, random=self._random))

    def _set_state(self, key: Folder, folder: _ListedFolder, state: listing.FolderState) -> None:
        before, folder.state = folder.state, state
        if before.covered_until > state.covered_until == -inf:
            for source, (_, entry) in folder.members.items():
                self._table.apply(source, entry, Uncovered())
        if state.due < inf and self._folders.get(key) is folder:
            self._timer.set(key, state.due)
