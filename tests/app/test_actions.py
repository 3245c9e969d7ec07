"""What the page does, without a browser: results at the photo's depth, each visitor's for that visitor only."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from diffharmon.api.harmonizer import Harmonizer
from diffharmon.app.actions import Actions, Asked, Proposal
from diffharmon.app.command import parser
from diffharmon.app.limits import Limits
from diffharmon.app.visits import Visits
from diffharmon.app.watching import Cancelled, Follow, TooSlow
from diffharmon.app.wording import UNEXPECTED, plain
from diffharmon.errors import DoubtfulMask, InputError


def ignored(step, steps, stage):
    """Take progress and do nothing."""


@pytest.fixture(scope="module")
def actions(tmp_path_factory):
    root = tmp_path_factory.mktemp("visits")
    return Actions(Harmonizer(method="colour_map"), Visits(root, 2), Limits(results=2), ["method=colour_map"])


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A 16-bit photo with a dark square, and the mask of the square."""
    folder = tmp_path_factory.mktemp("photo")
    pixels = np.random.default_rng(0).integers(20000, 60000, (40, 56, 3)).astype(np.uint16)
    pixels[10:30, 10:30] //= 3
    cover = np.zeros((40, 56), np.uint8)
    cover[10:30, 10:30] = 255
    tifffile.imwrite(folder / "scan.tif", pixels, photometric="rgb")
    Image.fromarray(cover).save(folder / "cover.png")
    return str(folder / "scan.tif"), str(folder / "cover.png"), pixels, cover


def test_a_deep_photo_comes_back_deep_with_its_downloads(actions, photo):
    composite, mask, pixels, cover = photo
    visit = actions.visits.of("one")
    finished = actions.harmonize(visit, Asked(composite, mask), ignored)
    name, best = visit.folder.name, finished.record["best"]
    path, saved_as = actions.download(name, finished.number, best, "image")
    found = tifffile.imread(path) if path.suffix == ".tif" else np.asarray(images_of(path))
    assert saved_as == f"scan_harmonized{path.suffix}"
    assert found.dtype == np.uint16
    assert np.array_equal(found[cover == 0], pixels[cover == 0])
    assert (found[cover > 0] != pixels[cover > 0]).any()
    assert actions.download(name, finished.number, best, "lut")[0].read_text().startswith("TITLE")
    assert "method=colour_map" in actions.download(name, finished.number, best, "config")[0].read_text()
    words = shlex.split(finished.record["command"])
    assert words[:2] == ["diffharmon", "method=colour_map"]
    assert "dataset.mask=scan_mask.png" in words


def images_of(path):
    import cv2

    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def test_a_painted_mask_is_the_mask(actions, photo):
    layer = np.zeros((40, 56, 4), np.uint8)
    layer[10:30, 10:30, 3] = 140
    job = actions.job(Asked(photo[0], painting={"layers": [layer]}), actions.visits.of("painter").begin())
    assert np.array_equal(np.asarray(Image.open(job.mask)), photo[3])
    paints = {"layers": [layer]}
    for painted, counts in ((True, photo[3] > 0), (False, photo[3] == 0)):
        Image.fromarray(255 - photo[3]).save(Path(photo[0]).with_name("other.png"))
        other = str(Path(photo[0]).with_name("other.png"))
        folder = actions.visits.of("painter").begin()
        job = actions.job(Asked(photo[0], other, paints, painted=painted), folder)
        assert np.array_equal(np.asarray(Image.open(job.mask)) > 0, counts)
    with pytest.raises(InputError, match="paint over"):
        actions.job(Asked(photo[0], painting={"layers": []}), actions.visits.of("painter").begin())


def test_visitors_do_not_see_each_others_results(actions, photo):
    one, two = actions.visits.of("first"), actions.visits.of("second")
    finished = actions.harmonize(one, Asked(*photo[:2]), ignored)
    assert len(actions.history(one)) == 1
    assert actions.history(two) == []
    assert one.folder.name != two.folder.name
    for name in (two.folder.name, "..", "0" * 32):
        with pytest.raises(InputError):
            actions.download(name, finished.number, 0, "image")


def test_only_the_newest_results_are_kept(actions, photo):
    visit = actions.visits.of("many")
    made = [actions.harmonize(visit, Asked(*photo[:2]), ignored).number for _ in range(3)]
    assert [int(path.name) for path in visit.results()] == [made[2], made[1]]
    visit.clear(1)
    assert visit.results() == []


def test_a_double_press_makes_one_result(actions, photo):
    visit = actions.visits.of("nervous")
    first = actions.harmonize(visit, Asked(*photo[:2], strength=1.0, newest=-1), ignored)
    # Pressed before the visitor had it, then afterwards, then another before that one was there.
    again = actions.harmonize(visit, Asked(*photo[:2], strength=1.0, newest=-1), ignored)
    assert again.folder == first.folder
    later = actions.harmonize(visit, Asked(*photo[:2], strength=1.0, newest=first.number), ignored)
    other = actions.harmonize(visit, Asked(*photo[:2], strength=0.5, newest=first.number), ignored)
    assert len({one.folder for one in (first, later, other)}) == 3
    assert len(visit.runs()) == len(visit.results())


def test_work_ends_when_it_is_unwanted_or_slow(actions, photo):
    with pytest.raises(Cancelled):
        Follow(ignored, lambda: True, 60.0).check()
    with pytest.raises(TooSlow, match="longer than"):
        Follow(ignored, lambda: False, -1.0).check()
    visit = actions.visits.of("stopper")
    assert not visit.stop(5)  # nothing runs
    # What waited for the model when it was stopped never begins; what was asked for afterwards does.
    assert [visit.stopped(pressed) for pressed in (4, 5, 6)] == [True, True, False]
    for pressed, stop in ((10, visit.stop), (20, visit.clear)):
        running = []

        def step(*_, stop=stop, pressed=pressed, running=running):
            running.append(stop(pressed))

        with pytest.raises(Cancelled):
            actions.harmonize(visit, Asked(*photo[:2], pressed=pressed), step)
        assert running == ([True] if stop == visit.stop else [None])
    begun = []
    with pytest.raises(Cancelled):
        actions.harmonize(visit, Asked(*photo[:2], pressed=20), lambda *_: begun.append(1))
    with pytest.raises(Cancelled):
        actions.propose(visit, Asked(*photo[:2], pressed=20))
    assert (begun, visit.runs(), actions.history(visit)) == ([], [], [])


def test_what_fails_after_stop_says_stopped_and_no_error(actions, photo):
    visit = actions.visits.of("late")

    def fail(*_):
        visit.stop(7)
        raise InputError("no memory")

    with pytest.raises(Cancelled):
        actions.harmonize(visit, Asked(*photo[:2], pressed=7), fail)
    with pytest.raises(InputError, match="no memory"):
        actions.harmonize(visit, Asked(*photo[:2], pressed=8), fail)


def test_errors_are_words_without_the_pages_folders():
    folder = Path("/srv/page/visits")
    assert plain(InputError(f"{folder}/ab/0001/uploads/cat.png is damaged"), [folder]) == "cat.png is damaged"
    assert plain(InputError("drop a photo first"), []) == "Drop a photo first"
    refused = DoubtfulMask("cover.png leaves in doubt which channel is the mask", "set dataset.mask_channel to red")
    assert plain(refused, []) == (
        "cover.png leaves in doubt which channel is the mask; a mask is white on the object and black elsewhere"
    )
    large = "a.png is too large: dataset.max_megapixels allows 60"
    assert plain(InputError(large), []) == "a.png is too large: this page allows 60"
    assert plain(KeyError("x"), []) == UNEXPECTED


def test_words_for_one_side_are_refused_and_an_unchanged_proposal_is_left_to_the_describer():
    with pytest.raises(InputError, match="of the scene"):
        Asked("a.png", foreground=["dim"]).words()
    asked = Asked("a.png", foreground=["dim"], background=["bright"], proposal=Proposal(["dim"], ["bright"], "photo"))
    assert asked.words("photo") == {}
    assert asked.words("another photo") == {"foreground": ["dim"], "background": ["bright"]}
    assert Asked("a.png", foreground=["dim"], background=["warm"]).words()["background"] == ["warm"]


def test_the_command_takes_overrides_and_limits():
    options = parser().parse_args(["backbone=tiny", "--megapixels", "12", "trainer=cpu"][:3])
    assert (options.overrides, options.megapixels, options.host) == (["backbone=tiny"], 12.0, "127.0.0.1")
    with pytest.raises(SystemExit):
        parser().parse_args(["--seconds", "0"])
