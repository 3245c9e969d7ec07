"""The page as a browser shows it: nothing from outside, sliders, sorting, filters."""

import json
import re
import shutil
import subprocess
from base64 import b64decode
from io import BytesIO

import pytest
from PIL import Image

from diffharmon.report.command import main

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=4000")

ACTIONS = """
const find = (selector) => [...document.querySelectorAll(selector)];
const table = document.querySelector("#runs + .wide table, #runs ~ .wide table");
const column = () => [...table.tBodies[0].rows].map((row) => row.cells[5].textContent);
const seen = { errors: window.failures, first: find(".card").map((c) => c.querySelector(".name").textContent) };
table.tHead.rows[0].cells[5].click();
seen.ascending = column();
table.tHead.rows[0].cells[5].click();
seen.descending = column();
const choose = (id, value) => {
  const control = document.getElementById(id);
  control.value = value;
  control.dispatchEvent(new Event(id === "text" ? "input" : "change"));
};
choose("order", "best");
seen.best = find(".card").map((card) => card.querySelector(".name").textContent);
choose("run", "structure=none");
choose("text", "photo_7");
seen.filtered = find(".card").map((card) => card.textContent);
const range = document.querySelector(".slider input");
range.value = 20;
range.dispatchEvent(new Event("input"));
seen.cut = document.querySelector(".slider").style.getPropertyValue("--cut");
const result = document.querySelector(".slider .over").src;
choose("show", "real");
seen.real = document.querySelector(".slider .over").src !== result;
seen.sources = find(".slider img").map((image) => image.src);
const output = document.createElement("pre");
output.id = "seen";
output.textContent = JSON.stringify(seen);
document.body.append(output);
"""


@pytest.fixture(scope="session")
def page(sweep, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    main([str(sweep), "--output", str(folder)])
    return folder / "report.html"


def browse(page, tmp_path, *options):
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_page_asks_for_nothing_outside_itself(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"""(?:src|href|action)\s*=\s*["']?([^"'\s>]+)""", text) + re.findall(r"url\(([^)]*)", text)
    assert targets
    assert all(target.startswith(("#", "data:")) for target in targets), targets
    assert "@import" not in text
    assert "fetch(" not in text
    assert "XMLHttpRequest" not in text
    assert text.count("<script") == text.count("</script>") == 2


def test_a_page_without_pictures_has_no_gallery(sweep, tmp_path):
    main([str(sweep / "2"), "--output", str(tmp_path / "out")])
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert 'id="cards"' not in text
    assert "Failed images (2)" in text


def test_the_gallery_is_bounded(sweep, tmp_path):
    main([str(sweep / "0"), "--output", str(tmp_path / "out"), "--gallery", "3"])
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert text.count('"reason": ') == 3
    assert max(map(len, re.findall(r'data:image/jpeg;base64,[^"]*', text))) < 60_000


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian package chromium)")
def test_a_browser_draws_sorts_filters_and_slides(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    watch = "<script>window.failures = []; addEventListener('error', (e) => window.failures.push(e.message));</script>"
    text = text.replace("<head>", f"<head>{watch}", 1).replace("</body>", f"<script>{ACTIONS}</script></body>")
    tried = page.with_name("tried.html")
    tried.write_text(text, encoding="utf-8")
    dump = browse(tried, tmp_path, "--dump-dom")
    seen = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', dump, flags=re.S)[1])
    assert seen["errors"] == []
    assert len(seen["first"]) == 24
    gains = [float(re.search(r"([+-]?[\d.]+) fPSNR", text)[1]) for text in seen["first"]]
    assert gains == sorted(gains), "worst first"
    assert seen["best"][0] == seen["first"][-1]
    assert (seen["ascending"], seen["descending"]) == (["20", "200", "200"], ["200", "200", "20"])
    assert len(seen["filtered"]) == 1
    assert "photo_7" in seen["filtered"][0]
    assert seen["cut"] == "20%"
    assert seen["real"]
    assert len(seen["sources"]) == 2
    for source in seen["sources"]:
        with Image.open(BytesIO(b64decode(source.removeprefix("data:image/jpeg;base64,")))) as image:
            assert max(image.size) > 200


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian package chromium)")
def test_a_browser_paints_the_page(page, tmp_path):
    browse(page, tmp_path, f"--screenshot={tmp_path / 'page.png'}", "--window-size=1280,1600")
    with Image.open(tmp_path / "page.png") as image:
        assert image.size == (1280, 1600)
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50
