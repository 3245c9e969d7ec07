import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from diffharmon import metrics
from diffharmon.columns import Column, ColumnGroup, ordered_keys
from diffharmon.dataset.iharmony4 import IHarmony4
from diffharmon.errors import InputError
from diffharmon.images import to_uint8
from diffharmon.metrics import MetricSet, PixelMetrics
from diffharmon.metrics.clip import ClipScores
from diffharmon.protocols import Metric, Sample
from diffharmon.types import Description


@pytest.fixture
def triple():
    generator = torch.Generator().manual_seed(0)
    real = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 11, generator=generator), (60, 80), mode="bicubic")[0]
    real = (real.clamp(0, 1) * 255).round() / 255
    mask = torch.zeros(1, 60, 80)
    mask[:, 20:45, 15:50] = 1
    noise = torch.randn(3, 60, 80, generator=generator) * 0.05
    output = ((real * 0.8 + noise).clamp(0, 1) * 255).round() / 255
    return output, real, mask


def array(image):
    return to_uint8(image).permute(1, 2, 0).numpy()


def test_whole_frame_metrics_equal_scikit_image(triple):
    output, real, _ = triple
    first, second = array(real), array(output)
    assert metrics.mse(output, real) == pytest.approx(mean_squared_error(first, second), rel=1e-6)
    assert metrics.psnr(output, real) == pytest.approx(peak_signal_noise_ratio(first, second), abs=1e-6)
    pixels = deltaE_ciede2000(rgb2lab(second / 255.0), rgb2lab(first / 255.0))
    assert metrics.ciede2000(output, real) == pytest.approx(pixels.mean(), rel=1e-5)


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
@pytest.mark.parametrize("where", ["everywhere", "inside", "corner", "nowhere"])
def test_ssim_equals_scikit_image(triple, window, where):
    output, real, mask = triple
    corner = torch.zeros_like(mask)
    corner[:, :3, 70:] = 1
    region = {"everywhere": mask * 0 + 1, "inside": mask, "corner": corner, "nowhere": mask * 0}[where]
    output = torch.where(region > 0, output, real)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False} if window == "gaussian" else {}
    value, full = structural_similarity(
        array(real), array(output), channel_axis=2, data_range=255, full=True, **options
    )
    assert metrics.ssim(output, real, window) == pytest.approx(value, abs=1e-7)
    assert metrics.fssim(output, real, mask, window) == pytest.approx(full[mask[0].numpy() > 0].mean(), abs=1e-7)


def test_foreground_metrics_equal_their_definition(triple):
    output, real, mask = triple
    inside = mask[0].numpy() > 0
    squares = (array(output).astype(float) - array(real)) ** 2
    assert metrics.fmse(output, real, mask) == pytest.approx(squares[inside].mean(), rel=1e-6)
    assert metrics.fpsnr(output, real, mask) == pytest.approx(10 * math.log10(255**2 / squares[inside].mean()))
    assert metrics.background_mse(output, real, mask) == pytest.approx(squares[~inside].mean(), rel=1e-6)
    share = inside.mean()
    parts = share * metrics.fmse(output, real, mask) + (1 - share) * metrics.background_mse(output, real, mask)
    assert metrics.mse(output, real) == pytest.approx(parts)
    colours = deltaE_ciede2000(rgb2lab(array(output) / 255.0), rgb2lab(array(real) / 255.0))
    assert metrics.ciede2000(output, real, mask) == pytest.approx(colours[inside].mean(), rel=1e-5)


def test_soft_masks_weigh(triple):
    output, real, mask = triple
    soft = mask * 0.25
    soft[:, 20:30] *= 4
    squares = (array(output).astype(float) - array(real)) ** 2
    weights = soft[0].numpy()[..., None]
    assert metrics.fmse(output, real, soft) == pytest.approx((weights * squares).sum() / (3 * weights.sum()), rel=1e-5)


def test_equal_images(triple):
    _, real, mask = triple
    values = PixelMetrics().compare(real, real, mask)
    assert values["psnr"] == values["fpsnr"] == math.inf
    assert values["mse"] == values["fmse"] == values["ciede2000"] == 0
    assert values["ssim"] == values["fssim"] == 1


def test_empty_and_full_masks_are_refused(triple):
    output, real, mask = triple
    for measure in (metrics.fmse, metrics.fpsnr, metrics.fssim, metrics.ciede2000):
        with pytest.raises(InputError, match="foreground"):
            measure(output, real, mask * 0)
    with pytest.raises(InputError, match="empty"):
        PixelMetrics().compare(output, real, mask * 0.3)
    with pytest.raises(InputError, match="background"):
        metrics.background_mse(output, real, mask * 0 + 1)
    with pytest.raises(InputError, match="11 pixels"):
        metrics.ssim(output[:, :9], real[:, :9])
    with pytest.raises(InputError, match="one size, got 80 x 60, 70 x 60"):
        PixelMetrics().compare(output, real[..., :70], mask)


@pytest.mark.parametrize("size", [None, 256])
def test_protocols_equal_an_independent_script(shared, size):
    root = shared / "data" / "iharmony4_sample"
    dataset = IHarmony4(str(root))
    for index in range(len(dataset)):
        composite = dataset[index]
        stem, folder = composite.name, root / composite.source
        files = [
            folder / "composite_images" / f"{stem}.jpg",
            folder / "real_images" / f"{stem.rsplit('_', 2)[0]}.jpg",
            folder / "masks" / f"{stem.rsplit('_', 1)[0]}.png",
        ]
        opened = [Image.open(path).convert(mode) for path, mode in zip(files, ("RGB", "RGB", "L"), strict=True)]
        if size is not None:
            opened = [picture.resize((256, 256), Image.Resampling.BICUBIC) for picture in opened]
        comp, real, mask = (np.asarray(picture) for picture in opened)
        inside = mask > 127
        squares = (comp.astype(float) - real) ** 2
        values = PixelMetrics(size=size).measure(Sample(composite, composite.image, Description("", (), ())))
        assert values["mse"] == pytest.approx(squares.mean(), rel=1e-6)
        assert values["fmse"] == pytest.approx(squares[inside].mean(), rel=1e-6)
        assert values["psnr"] == pytest.approx(peak_signal_noise_ratio(real, comp), abs=1e-6)
        assert values["area"] == pytest.approx(inside.mean())
        assert set(values) == {column.key for column in PixelMetrics.columns}


def test_dataset_at_256_and_the_protocol_agree(shared):
    root = str(shared / "data" / "iharmony4_sample")
    full, small = IHarmony4(root, "HFlickr")[1], IHarmony4(root, "HFlickr", size=256)[1]
    first = PixelMetrics(size=256).compare(full.image, full.real, full.mask)
    for size in (256, None):
        assert PixelMetrics(size=size).compare(small.image, small.real, small.mask) == first


def test_legacy_protocols_differ_as_they_must(triple):
    output, real, mask = triple
    plain = PixelMetrics().compare(output, real, mask)
    span = float(output.max() - output.min()) * 255
    prediction = PixelMetrics(peak_range="prediction").compare(output, real, mask)
    assert prediction["psnr"] == pytest.approx(10 * math.log10(span**2 / plain["mse"]))
    assert prediction["psnr"] < plain["psnr"]
    target = PixelMetrics(peak_range="target").compare(output, real, mask)
    highest = float(real.max()) * 255
    assert target["psnr"] == pytest.approx(10 * math.log10(highest**2 / (plain["mse"] + 1e-6)))
    pasted = PixelMetrics(paste_background=True).compare(output, real, mask)
    assert pasted["background_mse"] == 0
    assert pasted["fmse"] == plain["fmse"]
    # HDNet's formula: the whole frame's error by the foreground's share equals fMSE once the background is pasted.
    assert pasted["mse"] / pasted["area"] == pytest.approx(pasted["fmse"])
    faint = torch.where(mask > 0, mask, torch.full_like(mask, 0.2))
    soft = PixelMetrics(threshold=None).compare(output, real, faint)
    assert soft["fmse"] == pytest.approx(metrics.fmse(output, real, faint), rel=1e-6)
    assert PixelMetrics().compare(output, real, faint)["fmse"] == plain["fmse"]


def test_mask_threshold_is_above_127(triple):
    output, real, _ = triple
    levels = torch.full((1, 60, 80), 127 / 255)
    levels[:, :30] = 128 / 255
    assert PixelMetrics().compare(output, real, levels)["area"] == 0.5


def test_a_statement_names_everything_that_changes_numbers():
    assert PixelMetrics(size=256).statement.startswith("256 x 256 (PIL bicubic), rounded to 8 bits, mask > 127")
    variants = [
        {"size": 512},
        {"size": 512, "filter": "box"},
        {"threshold": None},
        {"peak_range": "target"},
        {"paste_background": True},
    ]
    assert len({PixelMetrics(**variant).statement for variant in [{}, *variants]}) == len(variants) + 1


def test_without_ground_truth_nothing_is_compared(composite):
    assert PixelMetrics().measure(Sample(composite.blind(), composite.image, Description("", (), ()))) == {}


class Lightness:
    """A metric as a user would write it: no baseline, a key that the pixel metrics have too."""

    statement = "mean of all values"
    columns = (Column("psnr", "lightness"),)

    def measure(self, sample):
        return {"psnr": float(sample.result.mean())}


def test_metrics_of_one_key_stand_side_by_side_in_a_row(composite):
    """The first keeps its keys plain, so that a run with one protocol reads as ever."""
    chosen = MetricSet({"ihd256": PixelMetrics(size=256), "full": PixelMetrics(), "mine": Lightness()})
    result = (composite.image * 0.5 + composite.real * 0.5).clamp(0, 1)
    row = chosen.measure(Sample(composite, result, Description("", (), ())))
    small = PixelMetrics(size=256).compare(result, composite.real, composite.mask)
    full = PixelMetrics().compare(result, composite.real, composite.mask)
    before = PixelMetrics().compare(composite.image, composite.real, composite.mask)
    assert {key: row[key] for key in small} == small
    assert {key: row[f"full_{key}"] for key in full} == full
    assert row["composite_full_fmse"] == before["fmse"] != full["fmse"]
    assert row["mine_psnr"] == pytest.approx(float(result.mean()))
    assert "composite_mine_psnr" not in row
    assert "composite_area" not in row
    assert "composite_full_area" not in row


def test_a_metric_cannot_take_the_runners_own_keys_and_measures_only_its_columns(composite):
    class Other(Lightness):
        columns = (Column("score", "score"), Column("seed", "seed"))

        def measure(self, sample):
            return {"score": 1.0, "other": 2.0}

    chosen = MetricSet({"other": Other()})
    assert [chosen.groups[0].key(column) for column in Other.columns] == ["other_score", "other_seed"]
    with pytest.raises(InputError, match=r"metrics\.other measured other; expected .* columns score, seed"):
        chosen.measure(Sample(composite, composite.image, Description("", (), ())))


def test_every_metric_of_the_configuration_fulfils_the_protocol():
    for metric in (PixelMetrics(), ClipScores(), Lightness()):
        assert isinstance(metric, Metric)
        keys = [column.key for column in metric.columns]
        assert len(set(keys)) == len(keys)


def test_columns_survive_the_record():
    groups = MetricSet({"ihd256": PixelMetrics(size=256), "clip": ClipScores(), "full": PixelMetrics()}).groups
    assert tuple(ColumnGroup.from_json(json.loads(json.dumps(group.to_json()))) for group in groups) == groups
    assert [group.prefix for group in groups] == ["", "", "full_"]
    keys = ordered_keys(groups, [{"new": 1}])
    assert len(set(keys)) == len(keys)
    assert keys[:6] == ["name", "source", "status", "config_hash", "seed", "psnr"]
    assert keys[-2:] == ["error", "new"]
    with pytest.raises(ValueError, match="expected direction 'higher'"):
        Column("x", "x", is_main=True)
