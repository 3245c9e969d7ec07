"""The page in a real browser, as a desktop and as a phone show it: no error, no request, nothing cut."""

import shutil
from pathlib import Path

import pytest

from diffharmon.report.command import main

sync_api = pytest.importorskip("playwright.sync_api", reason="the extra dev brings playwright")
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
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian package chromium)"),
]


@pytest.fixture(scope="module")
def page_file(sweep, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    main([str(sweep), "--output", str(folder), "--rows", "run", "--published", "iharmony4"])
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=SCREENS)
def opened(request, browser, page_file):
    """The page on one screen; what it logged, raised or asked for is checked when the test is done."""
    context = browser.new_context(**SCREENS[request.param])
    page, faults, requests = context.new_page(), [], []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: requests.append(asked.url))
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert faults == []
    assert [url for url in requests if not url.startswith("data:")] == [page_file.as_uri()]


def texts(page, selector):
    return page.locator(selector).all_inner_texts()


def test_nothing_is_wider_than_the_screen_or_cut(opened):
    page = opened
    page.evaluate("document.querySelectorAll('select').forEach((one) => one.add(new Option('x'.repeat(80)), 0))")
    page.evaluate("document.querySelectorAll('select').forEach((one) => { one.selectedIndex = 0; })")
    # Not `innerWidth`: a phone's grows with what is too wide.
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    cut = page.evaluate(
        """[...document.querySelectorAll("svg.plot")].flatMap((plot) => {
          const frame = plot.getBoundingClientRect();
          return [...plot.querySelectorAll("text")].filter((text) => {
            const box = text.getBoundingClientRect();
            return box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1;
          }).map((text) => text.textContent);
        })"""
    )
    assert cut == []
    assert page.locator("svg.plot").count() >= 2


def test_tables_sort_by_a_click_and_by_the_keyboard(opened):
    table = opened.locator("#runs ~ div table").first
    heading = table.locator("thead th").nth(5)
    heading.click()
    column = "tbody tr td:nth-child(6)"
    assert table.locator(column).all_inner_texts() == ["20", "200", "200"]
    heading.focus()
    heading.press("Enter")
    assert table.locator(column).all_inner_texts() == ["200", "200", "20"]
    assert heading.get_attribute("aria-sort") == "descending"


def test_two_runs_stand_against_each_other(opened):
    page = opened
    page.locator("#run").select_option("structure=paper")
    page.locator("#left").select_option("structure=none")
    card = page.locator(".card").first
    assert card.locator(".tag").all_inner_texts() == ["structure=none", "structure=paper"]
    sources = card.locator("img").evaluate_all("(images) => images.map((image) => image.src)")
    assert all(source.startswith("data:image/jpeg") for source in sources)
    slider = card.locator("input[type=range]")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowLeft")
    assert card.locator(".slider").evaluate("(box) => box.style.getPropertyValue('--cut')") == "40%"
    page.locator("#left").select_option("")
    assert card.locator(".tag").all_inner_texts() == ["composite", "result"]


def test_images_by_runs_as_worst_middle_and_best_or_by_name(opened):
    page = opened
    page.locator("#rank").select_option("structure=paper")
    page.locator("#each").select_option("1")
    assert texts(page, "#matrix .detail") == ["worst", "middle", "best"]
    heads = texts(page, "#matrix th")
    assert heads == ["image", "composite", "structure=none", "structure=paper", "real photo"]
    gains = [float(text.split()[0]) for text in texts(page, "#matrix td:nth-child(4) .gain")]
    assert gains == sorted(gains)
    page.locator("#names").fill("photo_7")
    assert texts(page, "#matrix strong") == ["photo_7"]
    assert page.locator("#matrix img").count() == 4
    loaded = "(images) => Promise.all(images.map((image) => image.decode().then(() => image.naturalWidth)))"
    assert min(page.locator("#matrix img").evaluate_all(loaded)) > 50


def test_a_gain_of_nothing_is_not_green(opened):
    shown = opened.evaluate(
        "[0, 0.001, -0.001, 0.2, -0.2].map((value) => gain({ gain: value, metric: 'dB' }).className)"
    )
    assert shown == ["gain", "gain", "gain", "gain up", "gain down"]
