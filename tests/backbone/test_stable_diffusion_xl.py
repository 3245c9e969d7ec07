import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from toys import write_sdxl

from diffharmon.backbone.canvas import bucket
from diffharmon.backbone.compatibility import check_sdxl_parts
from diffharmon.backbone.stable_diffusion_xl import StableDiffusionXL
from diffharmon.errors import ModelError
from diffharmon.sampler.ddim import DDIM

# The resolutions of the SDXL paper's appendix I with at least as many rows as columns, and the widest row of each.
PUBLISHED = {
    (2048, 512), (1984, 512), (1920, 512), (1856, 512), (1792, 576), (1728, 576), (1664, 576), (1600, 640),
    (1536, 640), (1472, 704), (1408, 704), (1344, 704), (1344, 768), (1280, 768), (1216, 832), (1152, 832),
    (1152, 896), (1088, 896), (1088, 960), (1024, 960), (1024, 1024),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sdxl(tmp_path_factory.mktemp("sdxl"))


@pytest.fixture(scope="module")
def model(folder):
    return StableDiffusionXL(str(folder), size=64)


@pytest.mark.parametrize("zeros", [True, False])
def test_guided_sampling_equals_the_diffusers_pipeline(folder, model, zeros):
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, force_zeros_for_empty_prompt=zeros)
    schedule = DDIM(steps=3).schedule(model)
    pipeline.scheduler = schedule.scheduler
    pipeline.set_progress_bar_config(disable=True)
    start = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    theirs = pipeline(
        "cat bright",
        latents=start,
        num_inference_steps=3,
        guidance_scale=2.0,
        output_type="latent",
        height=64,
        width=64,
    ).images
    model.zeros_for_empty, before = zeros, model.zeros_for_empty
    latent = start
    with torch.no_grad():
        text, empty = (model.embed([prompt]) for prompt in ("cat bright", ""))
        model.zeros_for_empty = before
        for step, timestep in enumerate(schedule.timesteps):
            said, unsaid = (model.predict(latent, timestep, each) for each in (text, empty))
            latent = schedule.denoise(latent, unsaid + 2 * (said - unsaid), step)
    torch.testing.assert_close(latent, theirs, atol=1e-4, rtol=1e-4)


def test_canvases_are_the_published_resolutions():
    found = {bucket(2**10 + 8 * stretch, 2**10, 1024, 32) for stretch in range(500)}
    assert found <= PUBLISHED
    assert {(1024, 1024), (1216, 832), (1344, 768), (2048, 512)} <= found
    assert bucket(300, 450, 1024, 32) == (832, 1216)
    assert bucket(10, 9000, 1024, 32) == (512, 2048)


@pytest.mark.parametrize(
    ("unet", "message"),
    [
        ({"cross_attention_dim": 1280}, "an SDXL refiner"),
        ({"addition_embed_type": None}, "no SDXL model"),
        ({"cross_attention_dim": 768}, "width 768 and the text encoder gives 2048"),
        ({"in_channels": 9}, "inpainting"),
    ],
)
def test_models_of_another_kind_are_named(unet, message):
    parts = {"in_channels": 4, "out_channels": 4, "cross_attention_dim": 2048, "addition_embed_type": "text_time"}
    texts = [{"hidden_size": 768}, {"hidden_size": 1280}]
    check_sdxl_parts("m", parts, {}, texts)
    with pytest.raises(ModelError, match=message):
        check_sdxl_parts("m", {**parts, **unet}, {}, texts)
