"""The reader of light: its regions, its statistics, its network and the method that applies what it reads."""

import gc
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffharmon.clip_model import EMBEDDED
from diffharmon.condition.reader import reading, statistics
from diffharmon.condition.reader.network import ReaderNetwork
from diffharmon.condition.reader.reading import WEIGHTS as JOINT
from diffharmon.condition.reader.reading import LightReader, WordReader, view
from diffharmon.condition.reader.regions import REGIONS, regions
from diffharmon.errors import InputError, ModelError
from diffharmon.method.colour_map import ColourMap
from diffharmon.types import Composite, ignore
from diffharmon.types.light import LightChange


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    """A network of the right shape that was never trained: it follows the near background by its starting trust."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("reader")
    ReaderNetwork(size=64, hidden=16).save_pretrained(folder)
    return str(folder)


def composite(height: int = 96, width: int = 80, box: tuple[int, int, int, int] = (30, 60, 20, 50)) -> Composite:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, height, width, generator=generator) * 0.2 + 0.6
    mask = torch.zeros(1, height, width)
    mask[:, box[0] : box[1], box[2] : box[3]] = 1
    image = torch.where(mask > 0, image - 0.4, image)
    return Composite("dark", "test", image, mask)


def test_regions_divide_the_picture():
    mask = np.zeros((64, 64))
    mask[20:40, 24:44] = 1
    parts = dict(zip(REGIONS, regions(mask), strict=True))
    assert (parts["foreground"] == (mask > 0)).all()
    assert (parts["foreground"] ^ parts["near"] ^ parts["far"]).all()
    assert (parts["inner_edge"] <= parts["foreground"]).all()
    assert (parts["outer_edge"] <= parts["near"]).all()
    rows = np.nonzero(parts["near"][:, 32])[0]
    assert (rows.min(), rows.max()) == (15, 44)  # a quarter of 20 pixels on either side


def test_a_frame_that_is_near_all_over_has_its_whole_background_as_far():
    mask = np.ones((32, 32))
    mask[:2] = 0
    parts = dict(zip(REGIONS, regions(mask), strict=True))
    assert (parts["far"] == (mask == 0)).all()


def test_statistics_of_flat_regions_are_those_regions():
    mask = np.zeros((32, 32))
    mask[8:20, 8:20] = 1
    image = torch.where(torch.from_numpy(mask)[None] > 0, 0.2, 0.8).expand(3, -1, -1).float()
    measured = statistics.statistics(image, torch.from_numpy(regions(mask)))
    assert measured.shape == (statistics.COUNT,)
    difference = statistics.near_difference(measured[None])[0]
    assert difference[0] > 40  # L of grey 0.8 minus that of 0.2
    torch.testing.assert_close(difference[1:], torch.zeros(5), atol=5e-3, rtol=0)
    assert statistics.foreground_mean(measured[None])[0, 0].item() == pytest.approx(21.2, abs=0.2)


def test_an_untrained_reader_goes_a_part_of_the_way_to_the_near_background(weights):
    given = composite()
    found = LightReader(weights).read(given).change
    image, mask = view(given, 64)
    whole = statistics.near_difference(statistics.statistics(image, torch.from_numpy(regions(mask)))[None])[0, 0]
    assert 0.2 * whole < found.shift[0] < 0.8 * whole
    assert (found.deviation > 0).all()


def test_both_kinds_of_weights_are_told_apart(weights):
    given = composite()
    alone, joint = (LightReader(one).read(given) for one in (weights, JOINT))
    assert not torch.equal(alone.change.shift, joint.change.shift)


def test_readers_of_the_same_weights_read_a_composite_once(weights, monkeypatch):
    looked = []
    monkeypatch.setattr(reading, "view", lambda *given: looked.append(given) or view(*given))
    first, second = LightReader(weights), LightReader(weights)
    given = replace(composite(), mask=composite().mask.clone())  # neither mask was ever changed
    assert first.read(given) is second.read(replace(given, name="the same"))
    assert len(looked) == 1
    other = replace(given, mask=given.mask.flip(-1))
    assert not torch.equal(second.read(other).change.shift, first.read(given).change.shift)
    assert len(looked) == 3  # of one image only the last mask is remembered
    LightReader(JOINT).read(given)
    assert len(looked) == 4


def test_an_image_that_was_changed_in_place_is_read_again(weights):
    reader, given = LightReader(weights), composite()
    before = reader.read(given)
    given.image.add_(0.4 * given.mask)
    assert reader.read(given).change.shift[0] < before.change.shift[0] - 5
    given.mask.copy_(given.mask.flip(-1))
    assert reader.read(given) is not before


def test_what_was_read_is_forgotten_with_the_image(weights):
    reader, given = LightReader(weights), composite()
    reader.read(given)
    assert len(reader._shared.known) == 1
    del given
    gc.collect()
    assert len(reader._shared.known) == 0


def test_clip_reads_which_way_the_light_was_changed():
    rows, columns = torch.meshgrid(torch.linspace(0, 6, 128), torch.linspace(0, 6, 128), indexing="ij")
    scene = 0.55 + 0.12 * torch.stack([rows.sin(), (rows + columns).cos(), columns.sin()])
    foreground = composite(128, 128, (40, 88, 40, 88)).mask > 0
    darker, brighter = (torch.where(foreground, scene * factor, scene).clamp(0, 1) for factor in (0.5, 1.6))
    reader = WordReader(EMBEDDED)

    def lightness(image: torch.Tensor) -> float:
        views = reader.reading.embed(Composite("shown", "", image, foreground.float()), mirrored=False)
        return reader.change(views, image, foreground, torch.zeros(3)).shift[0].item()

    assert lightness(darker) > 5
    assert lightness(brighter) < -5


def test_a_reading_does_not_depend_on_the_mirror_or_the_size(weights):
    reader, given = LightReader(weights), composite(128, 128, (40, 80, 40, 88))
    mirrored = Composite("m", "test", given.image.flip(-1), given.mask.flip(-1))
    torch.testing.assert_close(reader.read(given).change.shift, reader.read(mirrored).change.shift, atol=0.5, rtol=0.1)
    doubled = Composite(
        "d",
        "test",
        given.image.repeat_interleave(2, 1).repeat_interleave(2, 2),
        given.mask.repeat_interleave(2, 1).repeat_interleave(2, 2),
    )
    torch.testing.assert_close(reader.read(given).change.shift, reader.read(doubled).change.shift, atol=0.05, rtol=0.05)


def test_a_small_foreground_is_looked_at_from_nearer():
    small = composite(400, 600, (100, 116, 300, 310))
    _, mask = view(small, 64)
    assert (mask > 0.5).mean() > 0.01
    assert (regions(mask)[0].sum()) > 20


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_a_mask_without_two_sides_is_an_error(weights, fill):
    given = composite()
    with pytest.raises(InputError, match="dark: the mask leaves no"):
        LightReader(weights).read(Composite("dark", "test", given.image, torch.full_like(given.mask, fill)))


def test_a_hair_of_a_foreground_is_read(weights):
    assert torch.isfinite(LightReader(weights).read(composite(300, 300, (10, 290, 150, 151))).change.shift).all()


def test_colour_map_keeps_the_background_and_goes_as_far_as_asked(weights):
    given = composite()
    results = [
        ColourMap(weights, strength=strength).harmonize(given, ignore).best.image for strength in (0.0, 0.5, 1.0)
    ]
    outside = (given.mask == 0).expand_as(given.image)
    assert all(torch.equal(result[outside], given.image[outside]) for result in results)
    means = [result[~outside].mean().item() for result in results]
    assert means[0] < means[1] < means[2]
    torch.testing.assert_close(results[0], given.image, atol=1e-4, rtol=0)


def test_settings_out_of_range_and_missing_weights_are_clear_errors(weights, tmp_path):
    with pytest.raises(InputError, match=r"method\.strength is 3"):
        ColourMap(weights, strength=3.0)
    with pytest.raises(ModelError, match="reader of light"):
        LightReader(str(tmp_path / "nothing"))


def test_the_change_is_a_value():
    first = LightChange.none()
    assert first.scaled(0.5) is not first
    assert torch.equal(first.shift, torch.zeros(3))
