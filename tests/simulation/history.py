"""Record what the servers see. The same seed gives the same lines, byte for byte."""

from hashlib import blake2b

import trio


class History:
    """The lines of one run, which are formatted when they are read."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, tuple[object, ...]]] = []

    def note(self, *words: object) -> None:
        """Append a line of immutable words."""
        self._entries.append((trio.current_time(), words))

    @property
    def lines(self) -> list[str]:
        return [f"{at:12.6f} {' '.join(map(str, words))}" for at, words in self._entries]

    @property
    def digest(self) -> str:
        return blake2b("\n".join(self.lines).encode(), digest_size=16).hexdigest()
