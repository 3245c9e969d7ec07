"""The model shipped with diffharmon does what the method is for: it brings a composite nearer to the real photo."""

import pytest
import torch

from diffharmon import images
from diffharmon.config import build, composed
from diffharmon.metrics.pixels import fpsnr, psnr
from diffharmon.types import ignore


@pytest.fixture(scope="module")
def gain():
    """Harmonize the demo composite with some settings and return the foreground PSNR gained, in dB."""

    def measure(values):
        config = composed(["experiment=demo"], values)
        composite = build(config.dataset)[0]
        best = build(config.method).harmonize(composite.blind(), ignore).best.image
        rounded = images.from_uint8(images.to_uint8(best))
        before, after = (fpsnr(image, composite.real, composite.mask) for image in (composite.image, rounded))
        return after - before

    return measure


def test_the_demo_gains_more_than_five_decibels(gain):
    assert gain({}) > 5


def test_the_opposite_words_make_the_demo_worse(gain):
    assert gain({"describer.foreground": ["bright", "warm"], "describer.background": ["dim", "cool"]}) < 0


def test_the_autoencoder_gives_the_demo_back():
    config = composed(["experiment=demo"])
    backbone = build(config.backbone)
    photo = images.resize(build(config.dataset)[0].image, (backbone.size, backbone.size))
    with torch.no_grad():
        again = backbone.decode(backbone.encode(photo[None]))[0].clamp(0, 1)
    assert psnr(again, photo) > 20
