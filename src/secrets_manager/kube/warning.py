"""Parse the warnings of a successful response.

Each is `299 - "text"` in a Warning header, several with commas between (RFC 7234, 5.5). Other codes are of caches.
What is not well-formed is dropped, as client-go does: a quote that is not escaped may end the text within a value.
"""

import re
from collections.abc import Iterable

from secrets_manager.kube.status import one_line

_WARNING = re.compile(r'(?P<code>\d{3}) \S+ "(?P<text>(?:[^"\\]|\\.)*)"(?: "[^"]*")?\s*(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")
_OF_THE_API = "299"


def parse_warnings(headers: Iterable[str]) -> list[str]:
    """Return the texts of all Warning headers, each once, bounded and on one line."""
    found = (match for header in headers for match in _WARNING.finditer(header))
    texts = (one_line(_ESCAPED.sub(r"\1", match["text"])) for match in found if match["code"] == _OF_THE_API)
    return list(dict.fromkeys(filter(None, texts)))
