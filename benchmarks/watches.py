"""When the API server shows what is waited for: a watch in a thread of its own."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import httpx

from fake_kubernetes.documents import Object, mapping, parse, text
from tests.definitions import condition_of
from tests.real.cluster import ControlPlane


class Seen:
    """Counts by name how often an object was shown that is as it should be."""

    def __init__(self, cluster: ControlPlane, path: str, so: Callable[[Object], bool]) -> None:
        self._client = cluster.client_for(cluster.admin_token)
        self._path = path
        self._so = so
        self._news = threading.Condition()
        self._times: Counter[str] = Counter()
        self.last_new_at = 0.0
        """When the latest name was seen for the first time, by the monotonic clock."""
        threading.Thread(target=self._watch, daemon=True).start()

    def __len__(self) -> int:
        return len(self._times)

    def times(self, name: str) -> int:
        return self._times[name]

    def wait(self, until: Callable[[], bool], *, seconds: float) -> bool:
        """Whether it came to that in time."""
        with self._news:
            return self._news.wait_for(until, timeout=seconds)

    def _watch(self) -> None:
        query, timeout = {"watch": "1"}, httpx.Timeout(10, read=None)
        # The server's end ends it.
        with suppress(httpx.HTTPError), self._client.stream("GET", self._path, params=query, timeout=timeout) as lines:
            for line in lines.iter_lines():
                shown = mapping(parse(line.encode()), "object")
                if self._so(shown):
                    self._note(text(shown, "metadata", "name"))

    def _note(self, name: str) -> None:
        with self._news:
            if name not in self._times:
                self.last_new_at = time.monotonic()
            self._times[name] += 1
            self._news.notify_all()


def is_ready(definition: Object) -> bool:
    return text(condition_of(definition), "status") == "True"
