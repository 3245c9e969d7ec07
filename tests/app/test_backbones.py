"""The page with every kind of method: on any backbone, and the command that it records gives the same result."""

import shlex

import numpy as np
import pytest
from PIL import Image
from toys import write_sdxl

from diffharmon.api.harmonizer import Harmonizer
from diffharmon.app.actions import Actions, Asked
from diffharmon.app.limits import Limits
from diffharmon.app.visits import Visits

SIDE = 64
NAME = "it's mein Käse (1), a=b.png"


def built(actions):
    """Build the page; gradio takes seconds to import, which only these tests shall wait for."""
    from diffharmon.app.page import Page

    page = Page(actions)
    page.build()
    return page


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A photo whose name needs quotes in a shell and in a configuration, and a mask."""
    folder = tmp_path_factory.mktemp("photo")
    pixels = np.random.default_rng(0).integers(60, 200, (SIDE, SIDE, 3)).astype(np.uint8)
    cover = np.zeros((SIDE, SIDE), np.uint8)
    cover[16:48, 20:50] = 255
    Image.fromarray(pixels).save(folder / NAME)
    Image.fromarray(cover).save(folder / "cover.png")
    return str(folder / NAME), str(folder / "cover.png")


@pytest.mark.parametrize("choice", ["sd15", "sdxl"])
def test_the_page_works_on_any_backbone_and_its_command_repeats_the_result(
    choice, pipeline_folder, photo, tmp_path, monkeypatch, call_command
):
    folder = write_sdxl(tmp_path / "sdxl") if choice == "sdxl" else pipeline_folder
    overrides = [f"backbone={choice}", f"backbone.path={folder}", f"backbone.size={SIDE}", "sampler.steps=2"]
    overrides += ["evaluator=none", "describer=clip", "describer.words=2", "trainer=cpu"]
    actions = Actions(Harmonizer(*overrides), Visits(tmp_path / "visits", 3), Limits(), overrides)
    built(actions)
    asked = Asked(*photo, object="cat", foreground=["dim:0.5", "cold"], background=["bright"], strength=0.8, seed=3)
    visit = actions.visits.of("one")
    finished = actions.harmonize(visit, asked, lambda *_: None)
    assert finished.record["attention"]
    best = finished.record["best"]
    made = actions.download(visit.folder.name, finished.number, best, "image")[0].read_bytes()
    assert finished.lut_error(best)
    monkeypatch.chdir(finished.folder / "uploads")
    done = call_command(tmp_path / "run", *shlex.split(finished.record["command"])[1:], "metrics=[]")
    assert done.returncode == 0, done.stderr
    (again,) = (tmp_path / "run" / "images").glob("*/harmonized.png")
    assert again.read_bytes() == made
    assert made != (finished.folder / "uploads" / NAME).read_bytes()


def test_a_method_without_words_has_a_page_too(tmp_path):
    actions = Actions(Harmonizer(method="reinhard"), Visits(tmp_path, 3), Limits())
    page = built(actions)
    assert not page.foreground.visible
    assert not page.object.visible
