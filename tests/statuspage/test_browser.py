"""The page in a real browser: on a phone and a desktop, light and dark. Skipped where there is no Chromium.

`PAGE_SHOTS=folder pytest tests/statuspage/test_browser.py` keeps pictures.
"""

import os
import re
import shutil
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
import trio

from secrets_manager.server.message import Request, Response, immediate
from secrets_manager.server.router import Route, Router
from secrets_manager.statuspage.page import render
from secrets_manager.statuspage.query import parse_query
from secrets_manager.statuspage.report import Report
from secrets_manager.statuspage.routes import HEADERS
from secrets_manager.statuspage.style import STYLE
from tests.server.serving import listening
from tests.statuspage.reports import troubled, varied

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""

pytestmark = [pytest.mark.real, pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")]

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--enable-logging=stderr",
)  # fmt: skip
PHONE, DESKTOP = 500, 1280
"""Pixels; a window of Chromium is no narrower than the first."""
LIGHT, DARK = 1, 0
"""Chromium's values of the preferred colour scheme."""

MEASURE = """<script>
const style = (selector) => getComputedStyle(document.querySelector(selector));
document.title = JSON.stringify({
  overflow: document.documentElement.scrollWidth - innerWidth,
  row: style("tbody tr").display,
  background: style("body").backgroundColor,
});
</script>"""


class Measures(msgspec.Struct):
    """What the browser makes of the page."""

    overflow: int
    row: str
    background: str


@pytest.fixture
async def url() -> AsyncIterator[str]:
    def showing(report: Report) -> Route:
        def page(request: Request) -> Response:
            html = "".join(render(report, parse_query(request.query)))
            return Response(200, html.encode(), "text/html; charset=utf-8", HEADERS)

        return Route(immediate(page))

    def measured(_: Request) -> Response:
        return Response(
            200, ("".join(render(varied(), parse_query(b""))) + MEASURE).encode(), "text/html; charset=utf-8"
        )

    routes = {"/": showing(varied()), "/troubled": showing(troubled()), "/measured": Route(immediate(measured))}
    async with listening(Router(routes)) as (host, port):
        yield f"http://{host}:{port}"


async def chromium(url: str, *flags: str) -> tuple[str, list[str]]:
    """Return what it prints, and what its console says. It asks for the URL, and for nothing else."""
    with TemporaryDirectory(prefix="chromium-") as profile, trio.fail_after(120):
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags, url]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
    return done.stdout.decode(), [line for line in done.stderr.decode().splitlines() if "CONSOLE" in line]


def window(width: int, scheme: int) -> tuple[str, str]:
    return f"--window-size={width},1400", f"--blink-settings=preferredColorScheme={scheme}"


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "row"), [(PHONE, "block"), (DESKTOP, "table-row")], ids=["phone", "desktop"])
async def test_the_page_fits_its_window_and_its_colour_scheme(url: str, width: int, row: str, scheme: int) -> None:
    dom, _ = await chromium(f"{url}/measured", *window(width, scheme), "--dump-dom")
    (title,) = re.findall("<title>(.*?)</title>", dom)
    light, dark = (f"rgb({', '.join(str(int(hex_[at : at + 2], 16)) for at in (0, 2, 4))})"
                   for hex_ in re.findall("--page: #([0-9a-f]{6})", STYLE))  # fmt: skip

    measured = msgspec.json.decode(title, type=Measures)
    assert measured == Measures(overflow=0, row=row, background=light if scheme == LIGHT else dark)


async def test_the_browser_refuses_nothing_of_the_page_under_its_policy(url: str) -> None:
    dom, console = await chromium(f"{url}/?namespace=shop", "--dump-dom")

    assert "payments-gateway" in dom
    assert console == []


@pytest.mark.skipif("PAGE_SHOTS" not in os.environ, reason="PAGE_SHOTS is not set")
async def test_pictures(url: str, tmp_path: Path) -> None:
    for page, width, (name, scheme) in product(("", "troubled"), (PHONE, DESKTOP), (("light", LIGHT), ("dark", DARK))):
        file = tmp_path / f"{page or 'page'}-{width}-{name}.png"
        await chromium(f"{url}/{page}?page=2&namespace=shop", *window(width, scheme), f"--screenshot={file}")
        shutil.copy(file, os.environ["PAGE_SHOTS"])
