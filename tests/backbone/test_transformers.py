"""Families whose transformer attends to image and text jointly, against diffusers' own pipelines."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, StableDiffusion3Pipeline
from toys import write_flux, write_sd3

from diffharmon.backbone.flow_compatibility import flow_settings
from diffharmon.backbone.flux import Flux
from diffharmon.backbone.stable_diffusion_3 import StableDiffusion3
from diffharmon.embedding.text_refine import TextRefine
from diffharmon.errors import ModelError
from diffharmon.sampler.flow import FlowEuler, FlowSchedule
from diffharmon.types import Conditioning, Description, WordSpans

PROMPT = "cat bright"


@pytest.fixture(scope="module")
def sd3(tmp_path_factory):
    return write_sd3(tmp_path_factory.mktemp("sd3"))


@pytest.fixture(scope="module")
def flux(tmp_path_factory):
    return write_flux(tmp_path_factory.mktemp("flux"))


@torch.no_grad()
def sampled(model, start, steps=3, guidance=1.0):
    """Sample from noise by our own schedule and predictions."""
    schedule, latent = FlowEuler(steps).schedule(model), start
    text, empty = (model.embed([prompt]) for prompt in (PROMPT, ""))
    for step, timestep in enumerate(schedule.timesteps):
        output = model.predict(latent, timestep, text)
        if guidance != 1:
            output = output + (guidance - 1) * (output - model.predict(latent, timestep, empty))
        latent = schedule.denoise(latent, output, step)
    return latent


@pytest.mark.parametrize("t5", [True, False])
def test_guided_sampling_of_sd3_equals_the_diffusers_pipeline(sd3, t5):
    model = StableDiffusion3(str(sd3), size=64, t5=t5)
    pipeline = StableDiffusion3Pipeline.from_pretrained(sd3, **({} if t5 else {"text_encoder_3": None}))
    pipeline.set_progress_bar_config(disable=True)
    start = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    theirs = pipeline(
        PROMPT,
        latents=start,
        num_inference_steps=3,
        guidance_scale=2.0,
        output_type="latent",
        height=64,
        width=64,
        max_sequence_length=model.t5_tokens,
    ).images
    torch.testing.assert_close(sampled(model, start, guidance=2.0), theirs, atol=1e-4, rtol=1e-4)


def test_sampling_of_flux_equals_the_diffusers_pipeline(flux):
    model = Flux(str(flux), size=64, canvas="square", embedded_guidance=3.5)
    pipeline = FluxPipeline.from_pretrained(flux)
    pipeline.set_progress_bar_config(disable=True)
    start = torch.randn(1, 4, 24, 16, generator=torch.Generator().manual_seed(3))
    scheduler = {**pipeline.scheduler.config, "_class_name": "FlowMatchEulerDiscreteScheduler"}
    model.noise_schedule = flow_settings("m", scheduler, "trailing", 12 * 8)  # of this canvas
    theirs = pipeline(
        PROMPT,
        latents=FluxPipeline._pack_latents(start, 1, 4, 24, 16),
        num_inference_steps=3,
        guidance_scale=3.5,
        output_type="latent",
        height=96,
        width=64,
        max_sequence_length=model.tokens,
    ).images
    ours = FluxPipeline._pack_latents(sampled(model, start), 1, 4, 24, 16)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_noise_levels_are_those_of_the_diffusers_scheduler():
    theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(5)
    settings = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    ours = FlowSchedule(flow_settings("m", settings, "linspace"), 5, torch.device("cpu"))
    torch.testing.assert_close(torch.tensor(ours.levels), theirs.sigmas)
    torch.testing.assert_close(ours.timesteps, theirs.timesteps)


def test_words_of_sd3_are_fused_within_each_text_encoders_part(sd3):
    model = StableDiffusion3(str(sd3), size=64)
    description = Description("cat", ("dim",), ("warm", "cold"))
    spans = model.words(description)
    with torch.no_grad():
        texts = list(model.embed([description.foreground_prompt, description.background_prompt, ""]))
        conditioning = Conditioning(*texts, description, spans)
        refine = TextRefine()
        fused = refine.encode(model, conditioning, refine.initial_words(model, conditioning), fuse=True).tokens[1]
    places, plain = spans.background_positions, texts[1].tokens[0]
    for first, end in spans.parts:
        inside = [place for place in places if first <= place < end]
        assert len(inside) >= 2
        for place in inside:
            torch.testing.assert_close(fused[place], plain[inside].mean(dim=0), atol=1e-5, rtol=1e-4)
    others = [place for place in range(len(plain)) if place not in places]
    torch.testing.assert_close(fused[others], plain[others], atol=1e-5, rtol=1e-4)


def test_positions_are_told_apart_by_part():
    spans = WordSpans({}, {"warm": (2, 14)}, ((0, 12), (12, 36)))
    assert spans.by_part((2, 14, 15)) == [[0], [1, 2]]
    assert spans.by_part((13,)) == [[0]]
    assert WordSpans({}, {}).by_part((2, 14)) == [[0, 1]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"_class_name": "DDIMScheduler"}, "does not belong to a rectified flow"),
        ({"use_karras_sigmas": True}, "use_karras_sigmas=True"),
        ({"shift": 0}, "expected a positive number"),
    ],
)
def test_noise_levels_of_other_models_are_refused(settings, message):
    theirs = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    assert flow_settings("m", theirs, "linspace")["shift"] == 3.0
    with pytest.raises(ModelError, match=message):
        flow_settings("m", {**theirs, **settings}, "linspace")
