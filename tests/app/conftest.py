"""The page as a process of its own and a browser: what its visitors have."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}


START = "from diffharmon.app.command import main; main()"


@dataclass
class Served:
    """A running ``diffharmon-app``."""

    address: str
    process: subprocess.Popen
    folder: Path


@pytest.fixture(scope="session")
def serve_page(tmp_path_factory):
    """Start ``diffharmon-app`` with arguments; all that runs is ended at the end."""
    started = []

    def serve(*arguments: str) -> Served:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder = tmp_path_factory.mktemp("page")
        command = [sys.executable, "-c", START, "--port", str(port), *arguments]
        environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        log = (folder / "log").open("w")
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        page = Served(f"http://127.0.0.1:{port}/", process, folder)
        started.append(page)
        for _ in range(600):
            try:
                urllib.request.urlopen(page.address, timeout=5).close()
                return page
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.5)
        raise AssertionError((folder / "log").read_text())

    yield serve
    for page in started:
        page.process.send_signal(signal.SIGINT)
    for page in started:
        assert page.process.wait(timeout=60) == 130, (page.folder / "log").read_text()
        assert not list(page.folder.glob("diffharmon-app-*")), "visitors' files outlive the page"


@pytest.fixture(scope="session")
def browser():
    """Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the extra dev brings playwright")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian package chromium)")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Visitor:
    """A browser window of its own, what it asked for and what went wrong in it."""

    page: object
    address: str
    width: int
    requests: list = field(default_factory=list)
    faults: list = field(default_factory=list)

    def drop(self, where: str, path: Path) -> None:
        """Give a file to a field, in place of the one that is there."""
        clear = self.page.locator(f"#{where} button[aria-label=Clear]")
        if clear.count():
            clear.click()
        self.page.set_input_files(f"#{where} input[type=file]", str(path))

    def paint(self) -> None:
        """Paint over the middle of the photo, by finger where there is no mouse."""
        self.page.wait_for_timeout(1500)  # the editor fits the photo into its frame
        box = self.page.locator("#painting canvas").first.bounding_box()
        places = [
            (box["x"] + box["width"] * (0.4 + 0.01 * step), box["y"] + box["height"] * (0.45 + 0.005 * step))
            for step in range(20)
        ]
        if self.width < 640:
            client = self.page.context.new_cdp_session(self.page)
            for kind, (x, y) in zip(["touchStart", *["touchMove"] * 19], places, strict=True):
                client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
            client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        else:
            self.page.mouse.move(*places[0])
            self.page.mouse.down()
            for place in places:
                self.page.mouse.move(*place)
            self.page.mouse.up()
        self.page.wait_for_timeout(800)

    def run(self) -> str:
        """Harmonize, wait for the result and return what the page says of it."""
        before = self.page.locator("#links a[data-kind=image]")
        old = before.get_attribute("href") if before.count() else None
        self.page.locator("#go").click()
        self.page.wait_for_function(
            "(old) => { const one = document.querySelector('#links a[data-kind=image]');"
            " return one && one.getAttribute('href') !== old; }",
            arg=old,
            timeout=300_000,
        )
        return self.page.locator("#status").inner_text()

    def fits(self) -> None:
        """Nothing is wider than the screen."""
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.width


@pytest.fixture
def visitor(browser):
    """Open the page in a window of its own; what it logged or asked for elsewhere is checked at the end."""
    contexts, visitors = [], []

    def visit(address: str, screen: str = "desktop") -> Visitor:
        context = browser.new_context(**SCREENS[screen])
        contexts.append(context)
        made = Visitor(context.new_page(), address, SCREENS[screen]["viewport"]["width"])
        visitors.append(made)
        made.page.on("pageerror", lambda error: made.faults.append(str(error)))
        made.page.on("console", lambda said: made.faults.append(said.text) if said.type == "error" else None)
        made.page.on("request", lambda asked: made.requests.append(asked.url))
        made.page.goto(address)
        made.page.wait_for_selector("#go")
        return made

    yield visit
    for context in contexts:
        context.close()
    for made in visitors:
        elsewhere = [url for url in made.requests if not url.startswith((made.address, "data:", "blob:"))]
        assert elsewhere == []
        assert made.faults == []
