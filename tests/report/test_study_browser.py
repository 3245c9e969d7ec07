"""A person goes through a study in a real browser, on a desktop and on a phone, and the report reads the answers."""

import json
import shutil

import pytest

from diffharmon.preference.answers import read_sessions
from diffharmon.study.command import main

sync_api = pytest.importorskip("playwright.sync_api", reason="the extra dev brings playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian package chromium)"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def greener(page):
    """Which side is spoiled, by the mean colour; empty where neither is."""
    return page.evaluate(
        """[...document.querySelectorAll(".pair img")].map((image) => {
          const canvas = new OffscreenCanvas(96, 72), context = canvas.getContext("2d");
          context.drawImage(image, 0, 0, 96, 72);
          const data = context.getImageData(38, 28, 24, 24).data;
          let green = 0;
          for (let i = 0; i < data.length; i += 4) green += data[i + 1] - data[i];
          return green / (data.length / 4);
        })"""
    )


@pytest.mark.parametrize("screen", SCREENS)
def test_a_person_answers_and_saves(browser, sweep, tmp_path, screen):
    main(
        [str(sweep / "0"), str(sweep / "1"), "--output", str(tmp_path / "study.html"), "--trials", "6", "--catch", "2"]
    )
    context = browser.new_context(**SCREENS[screen], accept_downloads=True)
    page, faults, requests = context.new_page(), [], []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: requests.append(asked.url))
    page.goto((tmp_path / "study.html").as_uri())
    assert "8" in page.locator("#count").inner_text()
    page.locator("#begin").click()
    for number in range(8):
        assert page.locator("#place").inner_text() == f"{number + 1} of 8"
        page.locator(".pair img").evaluate_all("(images) => Promise.all(images.map((image) => image.decode()))")
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        lowest = page.locator(".tie").bounding_box()
        assert lowest["y"] + lowest["height"] <= page.viewport_size["height"], "all choices are seen without scrolling"
        first, second = greener(page)
        if abs(first - second) > 15:
            page.locator(".choice").nth(0 if first < second else 1).click()
        elif number == 3 and screen == "desktop":
            page.keyboard.press("ArrowDown")
        else:
            page.locator(".choice").nth(number % 2).click()
    page.wait_for_selector("#end:not([hidden])")
    with page.expect_download() as download:
        page.locator("#save").click()
    saved = tmp_path / "answers.json"
    download.value.save_as(saved)
    context.close()
    assert faults == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
    assert set(json.loads(saved.read_text())) == {"format", "judge", "answers"}
    (session,) = read_sessions([saved])
    assert len(session.answers) == 8
    assert sum(bool(answer.catch) for answer in session.answers) == 2
    assert session.is_attentive
    assert {answer.left for answer in session.answers} <= {"structure=none", "structure=paper"}
