"""The figures that the documents name as limits are those of the program."""

import re

import pytest

from secrets_manager.access import cache, gate
from secrets_manager.backends.azure import client as key_vault
from secrets_manager.backends.vault import listing, node, path
from secrets_manager.config import ControllerConfig, VaultConfig
from secrets_manager.controller import contention, data_from, rules, templated, validation
from secrets_manager.controller.read_policy import ReadPolicy
from secrets_manager.controller.status import MAX_SOURCES_BYTES
from secrets_manager.kube import events, objects, status, watcher, workqueue
from secrets_manager.linewriter import CAPACITY
from secrets_manager.logs import MAX_TEXT
from secrets_manager.metrics.definitions import MAX_NOT_READY
from secrets_manager.net import file_stamps, transport
from secrets_manager.server import connections
from secrets_manager.statuspage.collect import MAX_SOURCES
from secrets_manager.statuspage.selection import PAGE_SIZE
from secrets_manager.templates import bounds
from tests.documents import section

LIMITS, BOUNDS, ENDPOINT = (
    "docs/operations.md#limits",
    "docs/templates.md#bounds",
    "docs/security.md#securing-the-endpoint",
)


def mib(size: int) -> str:
    return f"{size / 2**20:g} MiB"


def kib(size: int) -> str:
    return f"{size / 2**10:g} KiB"


def number(value: int) -> str:
    return f"{value:,}"


def seconds(value: float) -> str:
    return f"{value:g} s"


def written_out(value: float) -> str:
    return "a minute" if value == 60 else seconds(value)


GLOBBED = data_from.MAX_WORK // (128 * (data_from.MATCH + 16 + 16 * 32)) // 1000 * 1000
RETRIES, CONFIG = workqueue.DEFAULT_BACKOFF, ControllerConfig()

ROWS = {
    "values of one Secret together": [mib(validation.MAX_SECRET_BYTES)],
    "names of the keys of one Secret together": [mib(validation.MAX_SECRET_BYTES)],
    "globs in `dataFrom` of one definition": [f"128 globs of 16 characters are on {number(GLOBBED)} names of 32"],
    "sources of one definition": [number(validation.MAX_READ_SOURCES)],
    "`status.sources`": [kib(MAX_SOURCES_BYTES)],
    "a reply of Vault": [mib(node.MAX_BODY)],
    "a reply of Kubernetes": [mib(objects.MAX_OBJECT_BYTES)],
    "a page of a list in Kubernetes": [number(watcher.PAGE_SIZE)],
    "`refreshInterval`, least": [seconds(rules.MIN_INTERVAL_SECONDS)],
    "listing of a folder, at most": [seconds(VaultConfig().list_period)],
    "listings of all folders, at most": [number(ReadPolicy().list_batch)],
    "a page of a listing": [f"{number(listing.PAGE_SIZE)} secrets", f"{key_vault.PAGE_SIZE} in Key Vault"],
    "a folder that is listed, largest": [
        f"{number(listing.MAX_SECRETS)} secrets", f"{number(key_vault.MAX_SECRETS)} in Key Vault",
    ],
    "a path in Vault": [number(path.MAX_LENGTH)],
    "definitions worked on at a time": [number(CONFIG.workers)],
    "requests to the backend at a time": [
        number(CONFIG.backend_concurrency), f"Key Vault {key_vault.MAX_THREADS} at most",
    ],
    "retries of a failed sync": [f"from {RETRIES.initial:g} s to {RETRIES.maximum:g} s"],
    f"a foreign change of one field, change {contention.MAX_REVERTS + 1} within {contention.REVERT_WINDOW:g} s": [
        f"{written_out(contention.REWRITE_INTERVAL)} after the one before"
    ],
    "a contended Secret": [f"once {written_out(contention.REWRITE_INTERVAL)}"],
    "Events": [
        f"{events.BURST} at once and {events.RATE:g} a second", f"after {seconds(events.MAX_EVENT_AGE)} of waiting",
    ],
    "a condition's message, an Event's note, a log field": [
        f"{number(events.MAX_NOTE_BYTES)} bytes", f"{number(MAX_TEXT)} characters",
    ],
    "log lines waiting for a slow reader": [number(CAPACITY)],
    "a 429 of Kubernetes that sheds load": [seconds(status.MAX_RETRY_AFTER)],
    "connections to the server": [
        f"{connections.MAX_CONNECTIONS} for each address", f"{seconds(connections.HEAD_TIMEOUT)} for the head",
        kib(connections.MAX_HEAD), f"{seconds(connections.SEND_TIMEOUT)} to receive",
    ],
    "the status page": [f"pages of {PAGE_SIZE} with {MAX_SOURCES} sources each"],
    "connections to Kubernetes": [f"{written_out(transport.KEEPALIVE_EXPIRY)} later"],
}  # fmt: skip
"""What the row of each limit in docs/operations.md must say."""

SENTENCES = [
    (BOUNDS, f"| template | {kib(bounds.MAX_TEMPLATE)}, {bounds.MAX_STEPS} tags and outputs, {bounds.MAX_WORDS} words"),
    (BOUNDS, f"{bounds.MAX_STEP_WORDS} in one, {bounds.MAX_NESTING} blocks in each other |"),
    (BOUNDS, f"| result, and each value | {mib(bounds.MAX_TEXT)},"),
    (BOUNDS, f"more than {number(bounds.MAX_PARTS)} texts or {mib(templated.MAX_PARTS_LENGTH)} in a definition"),
    (BOUNDS, f"results of {mib(templated.MAX_TEXTS)} together |"),
    (BOUNDS, f"| certificates encrypted with RC2, as by old programs | {kib(bounds.MAX_RC2)},"),
    (BOUNDS, f"| list | {bounds.MAX_ITEMS} items |"),
    (ENDPOINT, f"{gate.UNKNOWN_BURST} at once and {gate.UNKNOWN_RATE:g} a second are reviewed"),
    (ENDPOINT, f"a refusal for {seconds(cache.REFUSED_TTL)}"),
    (ENDPOINT, f"Changed files are used within {seconds(file_stamps.CHECK_INTERVAL)}"),
    ("docs/operations.md#many-definitions", f"series of what is wrong only, {MAX_NOT_READY} at most"),
]


def rows() -> dict[str, str]:
    """The table of limits: each name, and what is said of it."""
    return dict(re.findall(r"^\| (.+?) \| (.+) \|$", section(LIMITS), re.MULTILINE)[1:])


def test_every_limit_in_the_table_is_held() -> None:
    assert [*rows()] == [*ROWS]


@pytest.mark.parametrize(("name", "figure"), [(name, each) for name, figures in ROWS.items() for each in figures])
def test_the_table_of_limits_has_the_figures_of_the_program(name: str, figure: str) -> None:
    assert re.search(rf"(?<![\w,.]){re.escape(figure)}(?!\w|,\d)", rows()[name])


@pytest.mark.parametrize(("place", "sentence"), SENTENCES)
def test_other_documents_have_the_figures_of_the_program(place: str, sentence: str) -> None:
    assert sentence in " ".join(section(place).split())
