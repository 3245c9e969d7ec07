"""On an accelerator: the same results as on the CPU, half precision close to them, weights where they should be."""

from dataclasses import replace

import pytest
import torch

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.config import build, composed
from diffharmon.method.batch import harmonize_all, one_by_one
from diffharmon.types import ignore

pytestmark = pytest.mark.gpu

PAPER = (
    *("embedding=[text_refine,null_text]", "structure=[cross_attention,self_attention,sobel]", "sampler.steps=3"),
    *("method.guidance=2.5", "sampler.direct_inversion=false", "embedding.text.divisor=8", "recomposer=paste"),
)


@pytest.fixture(scope="module")
def device():
    if not torch.accelerator.is_available():
        pytest.skip("no accelerator is here")
    return torch.accelerator.current_accelerator()


def harmonized(composite, settings, device):
    method = build(composed([*settings]).method).to(device)
    return method.harmonize(composite.blind().to(device), ignore).best.image.cpu()


@pytest.mark.parametrize("settings", [("sampler.steps=3",), PAPER], ids=["default", "paper"])
@pytest.mark.parametrize("spared", [(), ("backbone.gradient_checkpointing=true", "backbone.offload=text"),
                                    ("backbone.gradient_checkpointing=true", "backbone.offload=all")])  # fmt: skip
def test_results_are_those_of_the_cpu(composite, toy_settings, device, settings, spared):
    expected = harmonized(composite, [*toy_settings, *settings], torch.device("cpu"))
    found = harmonized(composite, [*toy_settings, *settings, *spared], device)
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)


@pytest.mark.parametrize("settings", [("sampler.steps=3",), PAPER], ids=["default", "paper"])
def test_images_in_the_same_calls_give_what_each_gives_alone(composite, toy_settings, device, settings):
    method = build(composed([*toy_settings, *settings]).method).to(device)
    photo = composite.blind().to(device)
    photos = [photo, replace(photo, name="other", image=1 - photo.image)]
    together = harmonize_all(method, photos, [ignore, ignore])
    for alone, outcome in zip(one_by_one(method, photos, [ignore, ignore]), together, strict=True):
        torch.testing.assert_close(outcome.best.image, alone.best.image, atol=5e-3, rtol=0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_close(pipeline_folder, backbone, device, dtype):
    half = StableDiffusion(str(pipeline_folder), size=64, dtype=dtype).to(device)
    latent = torch.linspace(-1, 1, 1024).reshape(1, 4, 16, 16)
    with torch.no_grad():
        expected = backbone.predict(latent, torch.tensor(401), backbone.embed(["cat bright"]))
        text = half.embed(["cat bright"])
        found = half.predict(latent.to(device), torch.tensor(401, device=device), text).cpu()
    assert (found - expected).norm() / expected.norm() < 0.05


def test_streamed_weights_do_not_stay_on_the_device(pipeline_folder, device):
    model = StableDiffusion(str(pipeline_folder), size=64, offload="all").to(device)
    with torch.no_grad():
        model.predict(torch.ones(1, 4, 16, 16, device=device), torch.tensor(401, device=device), model.embed(["cat"]))
    assert {p.device.type for p in model.network.parameters()} == {"meta"}
    assert {p.device.type for p in model.vae.parameters()} == {device.type}
