"""A served dashboard in headless Chromium: every page, a moved control, and nothing to complain
of.
"""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.app.conftest import JOINT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]
TITLES = ("Overview", "Worst case", "Average case", "Samples", "Compare", "Trust and gates")
PROBES = "_stcore/"  # Streamlit looks for its server below a page's address, too: a 404 of its own that it expects
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def served(real: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "harness", "dashboard", str(real), "--no-browser", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        _wait_for(f"http://localhost:{port}/_stcore/health")
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.communicate(timeout=20)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urlopen(url, timeout=2).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


class Watched:
    """A browser's page, and its errors."""

    def __init__(self, browser) -> None:  # type: ignore[no-untyped-def]
        self.page, self.complaints = browser.new_page(), []
        self.page.set_default_timeout(60_000)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page: {error}"))
        self.page.on("console", self._heard)
        self.page.on("request", self._asked)

    def _heard(self, message) -> None:  # type: ignore[no-untyped-def]
        if message.type == "error" and PROBES not in message.location.get("url", ""):
            self.complaints.append(f"console: {message.text} {message.location}")

    def _asked(self, request) -> None:  # type: ignore[no-untyped-def]
        if not request.url.startswith(("http://localhost:", "ws://localhost:", "data:", "blob:")):
            self.complaints.append(f"asked elsewhere: {request.url}")

    def settled(self, title: str) -> None:
        self.page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
        self.page.locator(".stPlotlyChart .main-svg").first.wait_for()
        self.page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget], [data-stale=true]')")
        assert self.page.locator("[data-testid=stException], [data-testid=stAlertContentError]").count() == 0


@pytest.fixture
def browser(served: str) -> Iterator[Watched]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield Watched(chromium)
        chromium.close()


def test_every_page_opens_and_nothing_complains(served: str, browser: Watched) -> None:
    browser.page.goto(served)
    for title in TITLES:
        browser.page.get_by_role("link", name=title, exact=True).click()
        browser.settled(title)
    assert browser.complaints == []


def test_a_moved_control_is_in_the_address_and_opens_again(served: str, browser: Watched) -> None:
    page = browser.page
    page.goto(f"{served}/worst")
    browser.settled("Worst case")
    page.get_by_role("combobox", name="Scenario").click()
    page.get_by_role("option", name=JOINT, exact=True).click()
    page.wait_for_url("**scenario=audio**")
    page.get_by_role("slider").press("ArrowLeft")
    page.wait_for_url("**share=0.45**")
    browser.settled("Worst case")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    browser.settled("Worst case")
    assert page.get_by_role("slider").input_value() == "0.45"
    assert page.get_by_text(JOINT).first.is_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Data (CSV)").first.click()
    assert Path(download.value.path()).read_text().startswith('"scenario","model","strength","robust score"')
    with page.expect_download() as download:
        page.get_by_role("button", name="Curves (HTML)").click()
    assert "<script src" not in (figure := Path(download.value.path()).read_text()) and "Plotly.newPlot" in figure
    assert browser.complaints == []
