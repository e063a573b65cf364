"""What a template may cost: the author of a template, or of a value, harms only their own definition.

Reading and rendering run in the event loop, so no template may hold it for more than some milliseconds. The size of a
template bounds its steps, for nothing repeats; a budget bounds what the steps do to values. A step pays before it
works, one unit for each character that it copies, more where a character costs more: see `filters.py`.
"""

from secrets_manager.templates.errors import Refused

MAX_TEMPLATE = 64 * 1024
"""Characters."""
MAX_STEPS = 160
"""Tags and outputs of a template."""
MAX_WORDS = 1024
"""Names, literals and signs in all tags and outputs."""
MAX_NAME = 63
"""Characters of a name."""
MAX_STEP_WORDS = 64
"""In one of them: the depth of an expression is below it."""
MAX_NESTING = 8
"""Blocks in blocks."""
MAX_TEXT = 1024 * 1024
"""Characters of a value, bytes of the result: what a Secret holds."""
MAX_ITEMS = 1024
"""Of a list."""
MAX_WORK = 4 * MAX_TEXT
"""Units, for one rendering. What it holds meanwhile is bounded by them too."""
ITERATION = 160
"""Units for an iteration of a key derivation."""
KEY = 512 * 1024
"""Units for loading a private key: two milliseconds for the slowest curve."""


class Budget:
    """What is left to spend in one rendering."""

    def __init__(self) -> None:
        self._left = MAX_WORK

    def pay(self, units: int) -> None:
        """Raises: Refused."""
        self._left -= units
        if self._left < 0:
            raise Refused("the template does too much with values this large: use fewer filters, or smaller values")


def check_length(length: int) -> None:
    """Refuse to make a text of so many characters. Raises: Refused."""
    if length > MAX_TEXT:
        raise Refused(f"a text of more than {MAX_TEXT} characters would result, and a Secret holds no more")
