"""One call with the embedded model: every kind of picture comes back as it came, and the settings of a call count."""

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from diffharmon import Harmonizer, images
from diffharmon.api.pictures import Loaded
from diffharmon.api.result import result_of
from diffharmon.dataset.demo import Demo
from diffharmon.errors import ConfigError, InputError
from diffharmon.metrics.pixels import fpsnr
from diffharmon.types import Attempt, Description, Outcome, Score

WORDS = {"object": "cup", "foreground": "dim cool", "background": "bright warm"}


@pytest.fixture(scope="module")
def harmonizer():
    return Harmonizer(backbone="tiny", sampler__steps=4)


@pytest.fixture(scope="module")
def demo():
    return Demo()[0]


@pytest.fixture(scope="module")
def files(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("call")
    images.write_image(folder / "cup.png", demo.image)
    images.write_image(folder / "cup_mask.png", demo.mask)
    return folder / "cup.png", folder / "cup_mask.png"


@pytest.fixture(scope="module")
def result(harmonizer, files):
    """The demo, harmonized once for all that is asked of it."""
    return harmonizer(*files, **WORDS)


def test_words_harmonize_the_demo(result, demo):
    assert fpsnr(result.harmonized, demo.real, demo.mask) > fpsnr(demo.image, demo.real, demo.mask) + 3
    assert result.words.background == ("bright", "warm")
    assert any(variant.harmonized is result.harmonized for variant in result.variants)
    assert isinstance(result.image, Image.Image)
    shown = result._repr_html_()
    assert shown.count("data:image/jpeg") == 2
    assert "dim cool" in shown
    assert len(repr(result)) < 600  # words and score, not pixels


def test_every_kind_of_picture_comes_back_as_it_came(harmonizer, files, result):
    picture, mask = (Image.open(path) for path in files)
    array, cover = np.asarray(picture), np.asarray(mask)
    wanted = np.asarray(result.image)
    assert np.array_equal(np.asarray(harmonizer(picture, mask, **WORDS).image), wanted)
    found = harmonizer(array, cover, **WORDS).image
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, wanted)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1).float() / 255
    found = harmonizer(tensor, cover > 127, **WORDS).image
    assert isinstance(found, torch.Tensor)
    assert np.array_equal(images.to_uint8(found).permute(1, 2, 0).numpy(), wanted)
    deep = harmonizer(array.astype(np.uint16) * 257, cover, **WORDS).image
    assert deep.dtype == np.uint16
    assert np.array_equal(deep[cover == 0], array[cover == 0].astype(np.uint16) * 257)


def test_strength_belongs_to_the_call(harmonizer, files, result):
    half, none, full = (*(harmonizer(*files, **WORDS, strength=value) for value in (0.5, 0.0)), result)
    assert torch.equal(none.harmonized, none.composite.image)
    change = full.harmonized - full.composite.image
    assert (half.harmonized - half.composite.image).abs().mean() < 0.7 * change.abs().mean()


def test_a_cut_out_over_a_background_is_a_composite(harmonizer, demo):
    array = images.to_uint8(demo.image).permute(1, 2, 0).numpy()
    cover = images.to_uint8(demo.mask)[0].numpy()
    rows, columns = np.nonzero(cover)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    cut_out = Image.fromarray(np.dstack([array[box], cover[box]]))
    place = (int(columns.min()), int(rows.min()))
    result = harmonizer(foreground=cut_out, background=array, position=place)
    assert torch.allclose(result.composite.image, demo.image, atol=1 / 255)
    assert np.array_equal(result.image[cover == 0], array[cover == 0])
    with pytest.raises(InputError, match="empty"):
        harmonizer(foreground=cut_out, background=array, position=(5000, 0))
    with pytest.raises(InputError, match="alpha"):
        harmonizer(foreground=array, background=array)


def test_results_are_saved_and_made_a_lookup_table(result, tmp_path):
    saved = np.asarray(Image.open(result.save(tmp_path / "result.png")))
    assert np.array_equal(saved, np.asarray(result.image))
    lut = result.lut()
    inside = result.composite.mask[0] > 0.5
    found = lut.apply(result.composite.image[:, inside].T.double().numpy())
    error = np.sqrt(((found - result.harmonized[:, inside].T.numpy()) ** 2).mean())
    assert error == pytest.approx(lut.error, rel=1e-3)
    assert lut.error < 0.03


def test_threads_take_turns_and_get_the_same(harmonizer, files, result):
    results = {}

    def run(number):
        results[number] = harmonizer(*files, **WORDS).harmonized

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], result.harmonized), "also as one alone"


def test_what_does_not_fit_is_refused(harmonizer, files):
    with pytest.raises(InputError, match="background is missing"):
        harmonizer(*files, foreground="dim")
    with pytest.raises(InputError, match="expected a composite and its mask"):
        harmonizer()
    with pytest.raises(InputError, match="expected the foreground mask"):
        harmonizer(files[0])
    with pytest.raises(InputError, match=r"got shape \(3, 5\)"):
        harmonizer(np.zeros((3, 5), np.uint8), files[1])
    with pytest.raises(InputError, match="in \\[0, 1\\]"):
        harmonizer(np.full((40, 40, 3), 2.0), files[1])
    with pytest.raises(ConfigError, match="backbone"):
        Harmonizer(backbone="huge")
    with pytest.raises(ConfigError, match="words"):
        Harmonizer(method="reinhard")(*files, **WORDS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("strength", -0.1), ("strength", 3.0), ("strength", float("nan")), ("variants", 0), ("variants", 9), ("seed", -1)],
)
def test_arguments_out_of_range_are_refused_as_settings_are(harmonizer, files, name, value):
    with pytest.raises(ConfigError, match=f"^{name}: expected"):
        harmonizer(*files, **WORDS, **{name: value})


def test_the_words_that_would_be_used_are_told_beforehand(harmonizer, files):
    proposed = harmonizer.describe(*files)
    assert proposed == harmonizer(*files).words
    assert proposed.foreground
    assert harmonizer.takes == {"words", "object", "strength", "seed", "variants"}
    assert harmonizer(*files, object="mug").words == replace(proposed, object="mug")
    simple = Harmonizer(method="reinhard")
    assert simple.takes == {"strength"}
    with pytest.raises(ConfigError, match="words"):
        simple.describe(*files)
    with pytest.raises(ConfigError, match="object: neither"):
        simple(*files, object="mug")


def test_it_works_inside_another_hydra_program_and_leaves_it_as_it_was(files):
    with initialize_config_module("diffharmon.conf", version_base="1.3", job_name="theirs"):
        threads, theirs = torch.get_num_threads(), GlobalHydra.instance().hydra
        with torch.inference_mode():
            Harmonizer(method="colour_map")(*files)
        assert GlobalHydra.instance().hydra is theirs
        assert compose("describe").describer
        assert torch.get_num_threads() == threads


def test_the_trainer_says_where_it_computes(monkeypatch):
    assert Harmonizer(method="identity", trainer="cpu").device == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"trainer.accelerator=mps: this machine has none"):
        Harmonizer(method="identity", trainer="mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Harmonizer(method="identity").device == torch.device("cuda")


def test_a_method_that_works_on_a_smaller_copy_returns_that(demo):
    small = torch.zeros(3, 32, 48)
    best = Attempt(0, small, Score(1.0), Description("cup", ("dim",), ("bright",)), number=0)
    result = result_of(Outcome(best, (best,), "done"), demo, Loaded(images.picture_of(demo.image), "numpy"))
    assert result.image.shape == (32, 48, 3)
    assert result.composite.mask.shape == (1, 32, 48)


def test_other_methods_take_a_strength(files):
    result = Harmonizer(method="reinhard")(*files, strength=0.0)
    assert torch.allclose(result.harmonized, result.composite.image, atol=1e-3)


def test_importing_the_package_stays_quick():
    code = "import sys, diffharmon; print(any(name in sys.modules for name in ('torch', 'numpy', 'hydra')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
