"""The filters and the page of a request, from the query of its URL. An invalid parameter counts as not given."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

import msgspec

from secrets_manager.controller.standing import State

MAX_TEXT = 200
"""Characters of a filter."""
MAX_PARAMETERS = 20
MAX_PAGE = 1_000_000


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """The filters, all of which must match, and the number of the page."""

    namespace: str = ""
    text: str = ""
    """Part of a name, a reason, a message or a path, in whatever case."""
    state: State | None = None
    page: int = 1

    def link(self, **changes: str | int) -> str:
        """Return the query string of this query with some parameters changed, without the empty ones."""
        given = {
            "namespace": self.namespace,
            "text": self.text,
            "state": self.state or "",
            "page": self.page,
            **changes,
        }
        return urlencode({name: value for name, value in given.items() if value and (name, value) != ("page", 1)})


def parse_query(raw: bytes) -> Query:
    """Parse a query string."""
    try:
        pairs = parse_qsl(raw.decode("ascii", "replace"), max_num_fields=MAX_PARAMETERS)
    except ValueError:
        pairs = []
    given = {name: value.strip()[:MAX_TEXT] for name, value in pairs}
    return Query(
        namespace=given.get("namespace", ""),
        text=given.get("text", ""),
        state=_STATES.get(given.get("state", "").lower()),
        page=_page(given.get("page", "")),
    )


_STATES: Mapping[str, State] = {state.lower(): state for state in State}


def _page(text: str) -> int:
    return min(max(int(text), 1), MAX_PAGE) if text.isascii() and text.isdecimal() and len(text) < MAX_TEXT else 1
