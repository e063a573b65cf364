"""The report as HTML: one page without scripts, on a phone and a desktop, light and dark. Pure.

Every text passes through `_text`, which escapes it: markup, and characters that reorder or hide text.
"""

import html
from collections.abc import Iterator
from datetime import datetime

from secrets_manager.controller.standing import State
from secrets_manager.logs import one_line
from secrets_manager.statuspage.query import Query
from secrets_manager.statuspage.report import Backend, Queue, Replica, Report, Row
from secrets_manager.statuspage.style import STYLE

_PILLS = {
    State.FAILING: ("failing", "✕ Failing"),
    State.PENDING: ("pending", "… Pending"),
    State.IN_SYNC: ("insync", "✓ In sync"),
}
_NONE = '<p class="none">No definition matches.</p>'
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def render(report: Report, query: Query) -> Iterator[str]:
    """Yield the page in pieces, each of about a row."""
    yield (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_title(report)}</title><style>{STYLE}</style></head><body>"
        f"{_header(report)}{_notice(report.replica)}{_facts(report)}<main>{_bar(report, query)}"
    )
    if report.definitions:
        yield _table_head()
        for row in report.definitions:
            yield _row(row, query, now=report.generated_at)
        yield "</tbody></table></div>"
    else:
        yield _NONE
    yield (f"{_pages(report, query)}</main><footer>{_footer(query)}</footer></body></html>\n")


def _text(text: str | int) -> str:
    return html.escape(one_line(str(text)))


def _title(report: Report) -> str:
    failing = report.counts.failing
    return f"{failing} failing · secrets-manager" if failing else "secrets-manager"


def _header(report: Report) -> str:
    replica = report.replica
    return (
        f'<header><h1><a href="/">secrets-manager</a></h1><p>{_text(replica.version)}</p>'
        f"<p>As of {_text(report.generated_at)}</p></header>"
    )


def _notice(replica: Replica) -> str:
    standby = (
        ["This replica is a standby: it watches, but does not read the backend. The leader knows more."]
        if replica.role == "standby"
        else []
    )
    lines = [*standby, *replica.unwatched]
    return f'<div class="notice">{"".join(f"<p>{_text(line)}</p>" for line in lines)}</div>' if lines else ""


def _facts(report: Report) -> str:
    facts = [
        ("Replica", _fact(report.replica.role.capitalize(), note=_text(report.replica.identity))),
        ("Backend", _backend(report.backend, now=report.generated_at)),
        ("Token", _token(report.backend, now=report.generated_at)),
        ("Queue", _queue(report.queue)),
    ]
    return f'<dl class="facts">{"".join(f"<div><dt>{name}</dt>{fact}</div>" for name, fact in facts)}</dl>'


def _fact(text: str, *, tone: str = "", note: str = "") -> str:
    """Return a fact. `note` is HTML."""
    classes = f' class="tone-{tone}"' if tone else ""
    return f"<dd><strong{classes}>{_text(text)}</strong>{f'<small>{note}</small>' if note else ''}</dd>"


def _backend(backend: Backend, *, now: str) -> str:
    kind = _text(backend.kind)
    if backend.up is None:
        return _fact("Not read here", note=kind)
    since = f"{kind}, {_for(backend.since, now=now)}"
    if backend.up:
        return _fact("✓ Up", tone="good", note=since)
    return _fact("✕ Down", tone="bad", note=f"{since}<br>{_text(backend.message)}")


def _token(backend: Backend, *, now: str) -> str:
    token = backend.token
    if token is None:
        return _fact("Kept by its library")
    if not token.valid:
        return _fact("✕ None", tone="bad", note="not logged in")
    expires = "it does not expire" if token.expires_at is None else f"expires {_until(token.expires_at, now=now)}"
    return _fact("✓ Valid", tone="good", note=expires)


def _queue(queue: Queue) -> str:
    longest = f", the longest for {_span(queue.longest_running_seconds)}" if queue.longest_running_seconds >= 1 else ""
    return _fact(f"{queue.waiting} waiting", note=f"{queue.in_progress} in progress{longest}")


def _bar(report: Report, query: Query) -> str:
    counts = report.counts
    choices = [("", "All", counts.total), *((state, _PILLS[state][1], counts.of(state)) for state in State)]
    links = "".join(_choice(state, label, count, query) for state, label, count in choices)
    state = f'<input type="hidden" name="state" value="{_text(query.state)}">' if query.state else ""
    clear = '<a class="clear" href="/">Clear</a>' if query != Query(page=query.page) else ""
    return (
        f'<div class="bar"><ul class="states">{links}</ul><form method="get" action="/" role="search">{state}'
        f'<label>Namespace<input name="namespace" value="{_text(query.namespace)}" autocapitalize="none"></label>'
        f'<label>Name, reason, message or path<input type="search" name="text" value="{_text(query.text)}"></label>'
        f"<button>Filter</button>{clear}</form></div>"
    )


def _choice(state: str, label: str, count: int, query: Query) -> str:
    current = ' aria-current="true"' if state == (query.state or "") else ""
    return f'<li><a href="{_href(query, state=state, page=1)}"{current}>{label} <b>{count}</b></a></li>'


def _table_head() -> str:
    columns = (
        ("name", "Definition"),
        ("state", "State"),
        ("message", "Reason"),
        ("secret", "Secret"),
        ("sources", "Sources"),
        ("time", "Last in sync"),
    )
    heads = "".join(f'<th scope="col" role="columnheader" class="c-{name}">{title}</th>' for name, title in columns)
    return (
        '<div class="table"><table role="table"><caption>SecretDefinitions</caption>'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead><tbody role="rowgroup">'
    )


def _row(row: Row, query: Query, *, now: str) -> str:
    namespace = f'<a href="{_href(query, namespace=row.namespace, page=1)}">{_text(row.namespace)}</a>'
    css, label = _PILLS[row.state]
    since = f"<small>{_for(row.since, now=now)}</small>" if row.since else ""
    cells = (
        _cell("State", f'<div><span class="pill {css}">{label}</span>{since}</div>'),
        _cell("Reason", _why(row)),
        _cell("Secret", f"<div>{_text(row.secret_name)}</div>", css="same" if row.secret_name == row.name else ""),
        _cell("Sources", _sources(row)),
        _cell("Last in sync", _last_in_sync(row, now=now)),
    )
    return f'<tr role="row"><th scope="row" role="rowheader">{_text(row.name)}{namespace}</th>{"".join(cells)}</tr>'


def _cell(label: str, content: str, *, css: str = "") -> str:
    classes = f' class="{css}"' if css else ""
    return f'<td role="cell"{classes} data-label="{label}">{content}</td>' if content else '<td role="cell"></td>'


def _why(row: Row) -> str:
    """Return why a definition is not in sync, or what else there is to know."""
    if row.state is State.IN_SYNC:
        return f"<div>{_text(row.warning)}</div>" if row.warning else ""
    warning = f"<small>{_text(row.warning)}</small>" if row.warning else ""
    if not row.reason:
        return "<div>Not reconciled yet</div>"
    return f"<div><strong>{_text(row.reason)}</strong><br>{_text(row.message)}{warning}</div>"


def _sources(row: Row) -> str:
    items = "".join(f"<li><code>{_path(each.path)}</code>{_version(each.version)}</li>" for each in row.sources)
    more = f"<li>and {row.more_sources} more</li>" if row.more_sources else ""
    return f'<ul class="sources">{items}{more}</ul>' if items else ""


def _path(path: str) -> str:
    """Return a path that may break after each slash, before it breaks within a word."""
    return _text(path).replace("/", "/<wbr>")


def _version(version: int | str | None) -> str:
    return "" if version is None else f' <span class="version">version {_text(version)}</span>'


def _last_in_sync(row: Row, *, now: str) -> str:
    written = f"<small>written {_ago(row.last_sync_time, now=now)}</small>" if row.last_sync_time else ""
    found = _ago(row.last_in_sync, now=now) if row.last_in_sync else ""
    return f"<div>{found or '—'}{written}</div>"


def _pages(report: Report, query: Query) -> str:
    paging = report.paging
    if paging.pages == 1:
        return ""
    number = paging.number
    earlier = f'<a rel="prev" href="{_href(query, page=number - 1)}">← Previous</a>' if number > 1 else "<span></span>"
    later = (
        f'<a rel="next" href="{_href(query, page=number + 1)}">Next →</a>' if number < paging.pages else "<span></span>"
    )
    first, last = (number - 1) * paging.size + 1, min(number * paging.size, paging.matching)
    return f'<nav aria-label="Pages">{earlier}<span>{first} to {last} of {paging.matching}</span>{later}</nav>'


def _footer(query: Query) -> str:
    link = query.link()
    return f'The same as <a href="/status.json{_text(f"?{link}" if link else "")}">JSON</a>. Times are UTC.'


def _href(query: Query, **changes: str | int) -> str:
    link = query.link(**changes)
    return _text(f"/?{link}" if link else "/")


def _ago(time: str, *, now: str) -> str:
    return _time(time, f"{_span(_seconds(time, now))} ago")


def _for(time: str | None, *, now: str) -> str:
    return "" if time is None else _time(time, f"for {_span(_seconds(time, now))}")


def _until(time: str, *, now: str) -> str:
    return _time(time, f"in {_span(_seconds(now, time))}")


def _time(time: str, words: str) -> str:
    return f'<time datetime="{_text(time)}" title="{_text(time)}">{words}</time>'


def _seconds(earlier: str, later: str) -> float:
    """Return the seconds between two times; 0 if one can't be read, since others may write conditions."""
    try:
        return max(0.0, (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _span(seconds: float) -> str:
    """Return a length of time in its largest unit."""
    size, unit = next((each for each in _UNITS if seconds >= each[0]), _UNITS[-1])
    return f"{int(seconds // size)} {unit}"
