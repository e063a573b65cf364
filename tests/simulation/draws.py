"""The random choices of a plan, and the names that it chooses among.

Some plans are narrow: they act on few objects again and again, so that one action meets what another has left behind.
"""

from random import Random

from tests.simulation.servers import COMMON, FOLDERS, NAMESPACES

NARROW = 0.4
"""The share of the plans that are narrow."""


class Draws(Random):
    """Of one seed."""

    def __init__(self, seed: int) -> None:
        super().__init__(f"plan {seed}")
        self.namespaces: tuple[str, ...] = NAMESPACES
        self.folders: tuple[str, ...] = FOLDERS
        """Those that actions on Vault choose among."""
        self.definitions, self.secrets = 4, 5
        """The number of names of each in a namespace."""
        if self.random() < NARROW:
            self.namespaces = (self.choice(NAMESPACES),)
            self.folders = (*self.namespaces, COMMON)
            self.definitions = self.choice((1, 2))
            self.secrets = self.definitions + 1
