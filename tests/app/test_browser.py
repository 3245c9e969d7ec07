"""The page in a real browser, as a desktop and a phone show it. ``--basetemp`` keeps the screenshots."""

import io
import re
import shlex
import time

import numpy as np
import pytest
from PIL import Image

from diffharmon import images
from diffharmon.dataset.demo import Demo

pytestmark = pytest.mark.slow
SIZE = (200, 300)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A photo, another of other colours, their mask, and files that the page refuses."""
    folder, demo = tmp_path_factory.mktemp("files"), Demo()[0]
    photo, cover = (images.resize(part, SIZE) for part in (demo.image, demo.mask))
    images.write_image(folder / "cup.png", photo)
    images.write_image(folder / "green.png", photo.flip(0).roll(1, 0))
    images.write_image(folder / "cover.png", cover)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    Image.fromarray(np.zeros((900, 1000, 3), np.uint8)).save(folder / "wide.png")
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    Image.fromarray(noise).save(folder / "heavy.png")
    return folder


@pytest.fixture(scope="module")
def served(serve_page):
    """The page with the shipped model, few steps and small limits."""
    return serve_page("sampler.steps=2", "--megabytes", "1", "--megapixels", "0.6", "--results", "3")


def downloaded(visitor, kind):
    with visitor.page.expect_download() as started:
        visitor.page.locator(f"#links a[data-kind={kind}]").click()
    return started.value.suggested_filename, started.value.path().read_bytes()


@pytest.mark.parametrize("screen", ["desktop", "phone"])
def test_from_a_photo_to_the_downloads(visitor, served, files, tmp_path, screen):
    one = visitor(served.address, screen)
    page = one.page

    def looked_at(name):
        page.wait_for_timeout(700)
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        one.fits()

    looked_at("start")
    one.drop("photo", files / "cup.png")
    page.wait_for_selector("#painting canvas")
    one.paint()
    looked_at("painted")
    page.locator("#propose").click()
    page.wait_for_selector("#foreground .token")
    looked_at("words")
    read = page.locator("#foreground .token").all_inner_texts()
    painted = one.run()
    one.fits()
    assert all(word.strip().split(":")[0] in painted for word in read)
    name, cover = downloaded(one, "mask")
    covered = np.asarray(Image.open(io.BytesIO(cover)))
    assert (name, covered.shape) == ("cup_mask.png", SIZE)
    assert 0.01 < (covered > 127).mean() < 0.4
    # Words that were read for another mask would say what is not so.
    page.get_by_role("tab", name="Drop a mask").click()
    one.drop("mask", files / "cover.png")
    page.wait_for_selector("#foreground .token", state="detached")
    looked_at("mask")
    one.run()
    assert downloaded(one, "mask")[1] == (files / "cover.png").read_bytes()
    looked_at("result")

    page.locator("#slider").scroll_into_view_if_needed()
    box = page.locator("#slider img").first.bounding_box()
    before = page.locator("#slider").screenshot()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 5, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    page.wait_for_timeout(500)
    assert page.locator("#slider").screenshot() != before

    assert page.locator("#variants button.thumbnail-item").count() == 3
    page.locator("#variants button.thumbnail-item").nth(1).click()
    page.wait_for_function("document.querySelector('#status').innerText.includes('Variant 2 of 3')")
    name, data = downloaded(one, "image")
    assert name == "cup_harmonized.png" or re.fullmatch(r"cup_2_harmonized\.png", name)
    found, given = (np.asarray(Image.open(source)) for source in (io.BytesIO(data), files / "cup.png"))
    outside = np.asarray(Image.open(files / "cover.png")) <= 16
    assert np.array_equal(found[outside], given[outside])
    assert (found[~outside] != given[~outside]).any()
    assert downloaded(one, "lut")[1].startswith(b"TITLE")
    assert downloaded(one, "layers")[1].startswith(b"8BPS")
    assert b"diffharmon" in downloaded(one, "config")[1]

    page.get_by_text("Where each word looks").click()
    page.wait_for_timeout(1000)
    page.get_by_text("Results of this visit").click()
    looked_at("opened")
    history = page.locator("#history button.thumbnail-item")
    assert history.count() == 2
    history.nth(1).click()
    page.wait_for_function("(text) => document.querySelector('#status').innerText === text", arg=painted)
    page.locator("#forget").click()
    page.wait_for_selector("#links a", state="detached")
    assert not page.locator("#history").is_visible()
    looked_at("forgotten")


def test_what_is_wrong_is_said(visitor, served, files, tmp_path):
    one = visitor(served.address)
    page = one.page

    def said():
        toast = page.locator(".toast-body").first
        toast.wait_for()
        text = toast.inner_text()
        page.screenshot(path=tmp_path / f"said_{len(list(tmp_path.iterdir()))}.png")
        page.locator(".toast-close").first.click()
        toast.wait_for(state="detached")
        return " ".join(text.split())

    page.locator("#go").click()
    assert "Drop a photo first" in said()
    one.drop("photo", files / "broken.jpg")
    assert "broken.jpg cannot be read" in said()
    one.drop("photo", files / "wide.png")
    assert "this page allows 0.6" in said()
    one.drop("photo", files / "cup.png")
    page.wait_for_selector("#painting canvas")
    page.wait_for_timeout(1500)
    page.locator("#go").click()
    assert "Paint over the pasted object" in said()
    page.get_by_role("tab", name="Drop a mask").click()
    one.drop("mask", files / "green.png")
    assert "green.png leaves in doubt which channel is the mask" in said()


def test_a_file_that_is_too_large_is_refused_in_words(visitor, served, files, tmp_path):
    one = visitor(served.address)
    one.drop("photo", files / "heavy.png")
    one.page.wait_for_timeout(3000)
    one.page.screenshot(path=tmp_path / "heavy.png", full_page=True)
    assert "1.0 Mb" in one.page.locator("body").inner_text()
    one.faults.clear()  # the browser itself reports the refusal


def test_two_visitors_at_once_do_not_see_each_others_photos(visitor, served, files):
    pair = {"cup.png": visitor(served.address), "green.png": visitor(served.address)}
    for name, one in pair.items():
        one.drop("photo", files / name)
        one.page.get_by_role("tab", name="Drop a mask").click()
        one.drop("mask", files / "cover.png")
        one.page.wait_for_timeout(1500)
    for one in pair.values():
        one.page.locator("#go").click()
    outside, links = np.asarray(Image.open(files / "cover.png")) <= 16, []
    for name, one in pair.items():
        one.page.wait_for_selector("#links a", timeout=300_000)
        found = np.asarray(Image.open(io.BytesIO(downloaded(one, "image")[1])))
        assert np.array_equal(found[outside], np.asarray(Image.open(files / name))[outside])
        one.page.get_by_text("Results of this visit").click()
        one.page.wait_for_selector("#history button.thumbnail-item")
        assert one.page.locator("#history button.thumbnail-item").count() == 1
        links.append(one.page.locator("#links a[data-kind=image]").get_attribute("href").split("/")[1])
    first, second = pair.values()
    assert links[0] != links[1]
    assert not any(links[0] in url for url in second.requests)
    shown = [{url for url in one.requests if "/file=" in url} for one in (first, second)]
    assert shown[0]
    assert not shown[0] & shown[1]


def masked(one, files):
    """Drop the photo and its mask."""
    one.drop("photo", files / "cup.png")
    one.page.get_by_role("tab", name="Drop a mask").click()
    one.drop("mask", files / "cover.png")
    one.page.wait_for_timeout(1500)


def test_a_stopped_run_leaves_no_result_and_the_page_ready(visitor, served, files, tmp_path):
    one = visitor(served.address)
    page = one.page
    masked(one, files)

    def begin_and_stop():
        page.locator("#go").click()
        page.wait_for_function(
            "/Inverting|Changing/.test(document.querySelector('#slider').innerText)", timeout=120_000
        )
        page.locator("#stop").click()

    def said(text):
        page.wait_for_function(
            "(text) => document.querySelector('#notice').innerText.trim() === text", arg=text, timeout=30_000
        )

    begin_and_stop()
    # Pressed at once, while what was stopped is still at its last step.
    begun = time.monotonic()
    status = one.run()
    seconds = time.monotonic() - begun
    said("")
    page.screenshot(path=tmp_path / "ran.png", full_page=True)
    page.get_by_text("Results of this visit").click()
    page.wait_for_selector("#history button.thumbnail-item")
    assert page.locator("#history button.thumbnail-item").count() == 1
    # Again, and wait for as long as a whole run takes.
    shown = page.locator("#links a[data-kind=image]").get_attribute("href")
    begin_and_stop()
    said("Stopped.")
    page.wait_for_timeout(1000 * seconds + 2000)
    page.screenshot(path=tmp_path / "stopped.png", full_page=True)
    said("Stopped.")
    assert page.locator("#status").inner_text() == status
    assert page.locator("#links a[data-kind=image]").get_attribute("href") == shown
    assert page.locator("#history button.thumbnail-item").count() == 1
    assert page.locator(".toast-body").count() == 0
    # With nothing that runs.
    page.locator("#stop").click()
    said("Stopped.")


def test_what_waits_for_the_model_is_stopped_too_and_a_double_press_makes_one_result(visitor, served, files, tmp_path):
    first, second = visitor(served.address), visitor(served.address)
    for one in (first, second):
        masked(one, files)
    first.page.locator("#go").click()
    second.page.locator("#go").click()  # waits
    second.page.locator("#stop").click()
    for _ in range(2):  # a double press
        second.page.locator("#go").click()
    status = second.run()
    assert "Stopped" not in status
    second.page.wait_for_timeout(5000)
    second.page.screenshot(path=tmp_path / "waited.png", full_page=True)
    second.page.get_by_text("Results of this visit").click()
    second.page.wait_for_selector("#history button.thumbnail-item")
    assert second.page.locator("#history button.thumbnail-item").count() == 1
    second.run()  # with the result before one's eyes the same press asks for another
    second.page.wait_for_function("document.querySelectorAll('#history button.thumbnail-item').length === 2")
    first.page.wait_for_selector("#links a[data-kind=image]", timeout=120_000)  # whose turn it was first is not sure


def test_chosen_words_are_those_of_the_command(visitor, served, files, tmp_path):
    one = visitor(served.address)
    page = one.page
    masked(one, files)
    chosen = {"foreground": ["dim", "warm"], "background": ["bright"]}
    for side, words in chosen.items():
        for word in words:
            page.locator(f"#{side} input").click()
            page.locator(f"#{side} input").fill(word)
            page.locator(f"[role=option][aria-label='{word}']:visible").click(timeout=10_000)
        page.keyboard.press("Escape")
    page.screenshot(path=tmp_path / "chosen.png", full_page=True)
    tokens = {side: page.locator(f"#{side} .token").all_inner_texts() for side in chosen}
    assert {side: [word.strip() for word in words] for side, words in tokens.items()} == chosen
    status = one.run()
    page.screenshot(path=tmp_path / "result.png", full_page=True)
    assert "dim warm → bright" in status
    command = re.search(r"# (diffharmon .*)", downloaded(one, "config")[1].decode())[1]
    words = shlex.split(command)
    assert "describer=fixed" in words
    assert "describer.foreground='dim warm'" in words
    assert "describer.background=bright" in words
