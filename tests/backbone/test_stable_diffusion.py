import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.backbone.tokens import edited_tokens, embedding_layer, tokenize, word_positions
from diffharmon.errors import ConfigError, InputError, ModelError
from diffharmon.types import Description, TokenEdit


@pytest.fixture(params=["pipeline_folder", "velocity_folder"])
def folder(request):
    return request.getfixturevalue(request.param)


def test_inverting_undoes_denoising_exactly_for_fixed_noise(pipeline_folder):
    backbone = StableDiffusion(str(pipeline_folder), size=64, steps=7)
    latent, noise = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    for step in range(7):
        back = backbone.denoise(backbone.invert(latent, noise, step), noise, step)
        torch.testing.assert_close(back, latent, atol=1e-4, rtol=1e-4)


def test_the_shifted_inversion_of_the_reference_does_not(pipeline_folder):
    backbone = StableDiffusion(str(pipeline_folder), size=64, steps=7, inversion="shifted")
    assert len(backbone.timesteps) == 6
    latent, noise = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    back = backbone.denoise(backbone.invert(latent, noise, 3), noise, 3)
    assert (back - latent).norm() / latent.norm() > 0.01


def test_sampling_equals_the_diffusers_pipeline(folder):
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    backbone = StableDiffusion(str(folder), size=64, steps=4)
    pipeline.scheduler = backbone.scheduler
    pipeline.set_progress_bar_config(disable=True)
    start = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    theirs = pipeline(
        "cat bright",
        latents=start,
        num_inference_steps=4,
        guidance_scale=1.0,
        output_type="latent",
        height=64,
        width=64,
    ).images
    latent = start
    with torch.no_grad():
        text = backbone.embed(["cat bright"])
        for step in range(4):
            latent = backbone.denoise(latent, backbone.predict(latent, step, text), step)
    torch.testing.assert_close(latent, theirs, atol=1e-4, rtol=1e-4)


def test_encode_and_decode_work_on_the_unit_range(pipeline_folder, backbone):
    vae = AutoencoderKL.from_pretrained(pipeline_folder, subfolder="vae")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = vae.encode(image * 2 - 1).latent_dist.mode() * vae.config.scaling_factor
        torch.testing.assert_close(backbone.encode(image), expected)
        decoded = vae.decode(expected / vae.config.scaling_factor).sample / 2 + 0.5
        torch.testing.assert_close(backbone.decode(expected), decoded)
        seeded = [backbone.encode(image, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.equal(seeded[0], seeded[2])


def test_estimate_is_the_clean_latent_behind_known_noise(backbone):
    clean, noise = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    level = backbone.scheduler.alphas_cumprod[backbone.timesteps[1]]
    noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
    torch.testing.assert_close(backbone.estimate(noisy, noise, 1), clean, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_latents_in_single_and_stays_close(pipeline_folder, backbone, dtype):
    half = StableDiffusion(str(pipeline_folder), size=64, steps=5, dtype=dtype)
    latent = torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        text = backbone.embed(["cat bright"])
        given, expected = half.predict(latent, 2, text), backbone.predict(latent, 2, text)
    assert given.dtype == torch.float32
    assert (given - expected).norm() / expected.norm() < 0.05


def test_gradient_checkpointing_changes_no_gradient(pipeline_folder, backbone):
    spare = StableDiffusion(str(pipeline_folder), size=64, steps=5, gradient_checkpointing=True)
    latent = torch.randn(1, 4, 16, 16)
    gradients = []
    for model in (backbone, spare):
        text = model.embed(["cat bright"]).detach().requires_grad_()
        gradients.append(torch.autograd.grad(model.predict(latent, 2, text).square().sum(), [text])[0])
    torch.testing.assert_close(*gradients)


def test_parameters_are_frozen_and_the_model_evaluates(backbone):
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not backbone.training


def test_words_are_found_by_the_tokens_they_became(backbone):
    spans = backbone.words(Description("cat", ("dim", "zu"), ("bright",)))
    assert spans.foreground == {"dim": (2,), "zu": (3, 4)}
    assert spans.foreground_positions == (2, 3, 4)
    assert spans.background == {"bright": (2,)}


def test_an_object_of_two_words_does_not_count_as_condition(backbone):
    spans = backbone.words(Description("dog cat", ("cat",), ("bright", "bright")))
    assert spans.foreground == {"cat": (3,)}
    assert spans.background == {"bright": (3, 4)}


def test_a_prompt_that_does_not_fit_is_refused_not_cut(backbone):
    with pytest.raises(InputError, match="expected at most 12"):
        backbone.embed(["cat " * 20])
    assert tokenize(backbone.tokenizer, ["cat"]).shape == (1, 12)
    assert word_positions(backbone.tokenizer, "cat warm", 3) == {"warm": (2,)}


def test_edited_tokens_reach_the_output_with_gradient_and_leave_no_trace(backbone):
    plain = backbone.embed(["cat bright"]).detach()
    vectors = backbone.input_embeddings("cat bright", [2]).detach().clone().requires_grad_()
    same = backbone.embed(["cat bright"], [TokenEdit((2,), vectors)])
    torch.testing.assert_close(same.detach(), plain)
    other = backbone.embed(["cat bright"], [TokenEdit((2,), -vectors)])
    assert torch.equal(other[0, :2], plain[0, :2])  # causal: what stands before does not see it
    assert (other[0, 2] - plain[0, 2]).abs().max() > 1e-3
    (gradient,) = torch.autograd.grad(other.sum(), [vectors])
    assert gradient.abs().max() > 0
    torch.testing.assert_close(backbone.embed(["cat bright"]), plain)
    layer = embedding_layer(backbone.text_encoder)
    with pytest.raises(RuntimeError, match="planned"), edited_tokens(backbone.text_encoder, [None]):
        raise RuntimeError("planned")
    assert not layer._forward_hooks


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 60}, "multiple of 8"),
        ({"steps": 0}, "expected 1 to 1000"),
        ({"steps": 1, "inversion": "shifted"}, "expected 2"),
    ],
)
def test_settings_that_do_not_fit_are_refused(pipeline_folder, settings, message):
    with pytest.raises(ConfigError, match=message):
        StableDiffusion(str(pipeline_folder), **{"size": 64, "steps": 5, **settings})


def test_a_missing_model_says_what_was_tried_and_what_works(tmp_path):
    for path in ("nobody/no-such-model", str(tmp_path)):
        with pytest.raises(ModelError) as caught:
            StableDiffusion(path)
        message = str(caught.value)
        assert path in message
        assert "backbone=tiny" in message
        assert "hf download" in message
