import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torchmetrics.image import PeakSignalNoiseRatio

from diffharmon import metrics
from diffharmon.dataset.iharmony4 import IHarmony4
from diffharmon.errors import InputError
from diffharmon.images import to_uint8


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
    values = metrics.protocol("full").measure(real, real, mask)
    assert values["psnr"] == values["fpsnr"] == math.inf
    assert values["mse"] == values["fmse"] == values["ciede2000"] == 0
    assert values["ssim"] == values["fssim"] == 1


def test_empty_and_full_masks_are_refused(triple):
    output, real, mask = triple
    for measure in (metrics.fmse, metrics.fpsnr, metrics.fssim, metrics.ciede2000):
        with pytest.raises(InputError, match="foreground"):
            measure(output, real, mask * 0)
    with pytest.raises(InputError, match="empty"):
        metrics.protocol("full").measure(output, real, mask * 0.3)
    with pytest.raises(InputError, match="background"):
        metrics.background_mse(output, real, mask * 0 + 1)
    with pytest.raises(InputError, match="11 pixels"):
        metrics.ssim(output[:, :9], real[:, :9])
    with pytest.raises(InputError, match="one size, got 80 x 60, 70 x 60"):
        metrics.protocol("full").measure(output, real[..., :70], mask)


@pytest.mark.parametrize("name", ["full", "ihd256"])
def test_protocols_equal_an_independent_script(shared, name):
    root = shared / "data" / "iharmony4_sample"
    protocol = metrics.protocol(name)
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
        if name == "ihd256":
            opened = [picture.resize((256, 256), Image.Resampling.BICUBIC) for picture in opened]
        comp, real, mask = (np.asarray(picture) for picture in opened)
        inside = mask > 127
        squares = (comp.astype(float) - real) ** 2
        values = protocol.measure(composite.image, composite.real, composite.mask)
        assert values["mse"] == pytest.approx(squares.mean(), rel=1e-6)
        assert values["fmse"] == pytest.approx(squares[inside].mean(), rel=1e-6)
        assert values["psnr"] == pytest.approx(peak_signal_noise_ratio(real, comp), abs=1e-6)
        assert values["area"] == pytest.approx(inside.mean())
        assert tuple(values) == metrics.NAMES


def test_dataset_at_256_and_the_protocol_agree(shared):
    root = str(shared / "data" / "iharmony4_sample")
    full, small = IHarmony4(root, "HFlickr")[1], IHarmony4(root, "HFlickr", size=256)[1]
    first = metrics.protocol("ihd256").measure(full.image, full.real, full.mask)
    for name in ("ihd256", "full"):
        assert metrics.protocol(name).measure(small.image, small.real, small.mask) == first


def test_legacy_protocols_differ_as_they_must(triple):
    output, real, mask = triple
    plain = metrics.protocol("full").measure(output, real, mask)
    span = float(output.max() - output.min()) * 255
    prediction = metrics.protocol("full", peak_range="prediction").measure(output, real, mask)
    assert prediction["psnr"] == pytest.approx(10 * math.log10(span**2 / plain["mse"]))
    assert prediction["psnr"] < plain["psnr"]
    target = metrics.protocol("full", peak_range="target").measure(output, real, mask)
    highest = float(real.max()) * 255
    assert target["psnr"] == pytest.approx(10 * math.log10(highest**2 / (plain["mse"] + 1e-6)))
    pasted = metrics.protocol("full", paste_background=True).measure(output, real, mask)
    assert pasted["background_mse"] == 0
    assert pasted["fmse"] == plain["fmse"]
    # HDNet's formula: the whole frame's error by the foreground's share equals fMSE once the background is pasted.
    assert pasted["mse"] / pasted["area"] == pytest.approx(pasted["fmse"])
    faint = torch.where(mask > 0, mask, torch.full_like(mask, 0.2))
    soft = metrics.protocol("full", threshold=None).measure(output, real, faint)
    assert soft["fmse"] == pytest.approx(metrics.fmse(output, real, faint), rel=1e-6)
    assert metrics.protocol("full").measure(output, real, faint)["fmse"] == plain["fmse"]


def test_mask_threshold_is_above_127(triple):
    output, real, _ = triple
    levels = torch.full((1, 60, 80), 127 / 255)
    levels[:, :30] = 128 / 255
    assert metrics.protocol("full").measure(output, real, levels)["area"] == 0.5


def test_protocols_say_what_they_are():
    assert str(metrics.protocol("ihd256")).startswith("ihd256: 256 x 256 (PIL bicubic), rounded to 8 bits, mask > 127")
    legacy = metrics.protocol("full", peak_range="target", paste_background=True)
    assert legacy.name == "full,peak_range=target,paste_background=True"
    assert "ground-truth background" in str(legacy)
    with pytest.raises(InputError, match="ihd256, full"):
        metrics.protocol("ihd512")


def test_shell_gives_means_of_image_values(triple):
    output, real, mask = triple
    protocol = metrics.protocol("full")
    shell = metrics.HarmonizationMetrics(protocol)
    pairs = [(output, real, mask), (real * 0.5, real, mask)]
    rows = [protocol.measure(*pair) for pair in pairs]
    for pair in pairs:
        shell.update(*pair)
    means = shell.compute()
    for name in metrics.NAMES:
        assert float(means[name]) == pytest.approx(np.mean([row[name] for row in rows]))
    pooled = PeakSignalNoiseRatio(data_range=1.0)
    for first, second, _ in pairs:
        pooled.update(first, second)
    assert abs(float(means["psnr"]) - float(pooled.compute())) > 0.5
    shell.reset()
    shell.update(*pairs[0])
    assert float(shell.compute()["fmse"]) == pytest.approx(rows[0]["fmse"])
