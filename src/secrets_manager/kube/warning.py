"""What the API server warns of beside an answer that is a success.

Each warning is a header `Warning: 299 - "text"`, or several of them in one header with commas between (RFC 7234, 5.5).
Other codes are those of caches, and say nothing of the object.
"""

import re
from collections.abc import Iterable

from secrets_manager.kube.refusal import one_line

_WARNING = re.compile(r'(?P<code>\d{3}) \S+ "(?P<text>(?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_OF_THE_API = "299"


def warnings_in(headers: Iterable[str]) -> list[str]:
    """The texts of all Warning headers, each once, bounded and on one line."""
    found = (match for header in headers for match in _WARNING.finditer(header))
    texts = (one_line(_ESCAPED.sub(r"\1", match["text"])) for match in found if match["code"] == _OF_THE_API)
    return list(dict.fromkeys(filter(None, texts)))
