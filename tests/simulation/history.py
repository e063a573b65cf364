"""Record what the servers see. The same seed gives the same lines, byte for byte."""

from hashlib import blake2b

import trio


class History:
    """The lines of one run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(f"{trio.current_time():12.6f} {text}")

    @property
    def digest(self) -> str:
        return blake2b("\n".join(self.lines).encode(), digest_size=16).hexdigest()
