"""What a template may cost: the author of a template, or of a value, harms only their own definition.

Reading and rendering run in the event loop, so each template may hold it for some milliseconds, and no more:

- Reading is bounded by the size of the template: characters, steps and words.
- Rendering is bounded by a budget, one for each rendering of a template. A step pays before it works, by what was
  measured: a unit is a nanosecond and a half at most. The steps themselves are bounded by the size of the template,
  for nothing repeats.

How many templates a definition has, and that others have a turn between two of them, is the caller's affair.
`benchmarks/templates.py` measures the costliest templates that these bounds let through.
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
MAX_PARTS = 4096
"""Texts that filters make of values, and that are looked for in messages of others."""
MAX_WORK = 4_500_000
"""Units, for one rendering. What it holds meanwhile is bounded by them too."""
CALL = 1024
"""Units for a filter or a comparison, whatever it works on."""
KEY = 256 * 1024
"""Units for loading a private key."""
SLOW_KEY = 1152 * 1024
"""The same, on an elliptic curve for which OpenSSL has no code of its own."""
CERTIFICATE = 32 * 1024
"""Units for loading a certificate."""
MAX_RC2 = 8 * 1024
"""Bytes of certificates that are encrypted with RC2, in one rendering.

OpenSSL reads them all before they can be counted, in fifteen milliseconds.
"""
RC2 = 64
"""Units for each of them, beside what the certificates cost."""
BAG = 16 * 1024
"""Units for opening a bag of a PKCS#12."""


class Budget:
    """What is left to spend in one rendering."""

    def __init__(self) -> None:
        self._left = MAX_WORK
        self._rc2 = 0

    def pay(self, units: int) -> None:
        """Raises: Refused."""
        self._left -= units
        if self._left < 0:
            raise Refused("the template does too much with values this large: use fewer filters, or smaller values")

    def pay_rc2(self, size: int) -> None:
        """Pay for so many bytes of certificates. Raises: Refused."""
        self._rc2 += size
        if self._rc2 > MAX_RC2:
            raise Refused(
                f"more than {MAX_RC2} bytes are encrypted with RC2, in all filters together: "
                "export them again with AES-256"
            )
        self.pay(KEY + RC2 * size)  # the key is the one before them


def search_cost(text: str, sought: str) -> int:
    """Return the units for looking for a text in another.

    CPython compares again at each place where the texts are short, by these very limits.
    """
    length, of_sought = len(text), len(sought)
    is_quadratic = length < 2500 or (length < 30_000 and of_sought < 100)  # noqa: PLR2004 - see above
    return length * (4 + of_sought // 2 if is_quadratic else 4)


def check_length(length: int) -> None:
    """Refuse to make a text of so many characters. Raises: Refused."""
    if length > MAX_TEXT:
        raise Refused(f"a text of more than {MAX_TEXT} characters would result, and a Secret holds no more")
