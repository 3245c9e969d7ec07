import pytest
import torch
from diffusers import AutoencoderKL

from diffharmon.backbone.offload import stream
from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.backbone.tokens import edited_tokens, embedding_layer, tokenize, word_positions
from diffharmon.errors import ConfigError, InputError, ModelError
from diffharmon.types import Description, TokenEdit

TIME = torch.tensor(401)


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


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_latents_in_single_and_stays_close(pipeline_folder, backbone, dtype):
    half = StableDiffusion(str(pipeline_folder), size=64, dtype=dtype)
    latent = torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        text = backbone.embed(["cat bright"])
        given, expected = half.predict(latent, TIME, text), backbone.predict(latent, TIME, text)
    assert given.dtype == torch.float32
    assert (given - expected).norm() / expected.norm() < 0.05


def test_gradient_checkpointing_changes_no_gradient(pipeline_folder, backbone):
    spare = StableDiffusion(str(pipeline_folder), size=64, gradient_checkpointing=True)
    latent = torch.randn(1, 4, 16, 16)
    gradients = []
    for model in (backbone, spare):
        text = model.embed(["cat bright"]).detach()
        text.tokens.requires_grad_()
        gradients.append(torch.autograd.grad(model.predict(latent, TIME, text).square().sum(), [text.tokens])[0])
    torch.testing.assert_close(*gradients)


def test_checkpointing_the_decoder_keeps_less_and_changes_no_gradient(pipeline_folder, backbone):
    spare = StableDiffusion(str(pipeline_folder), size=64, gradient_checkpointing=True)
    gradients, kept = [], []
    for model in (backbone, spare):
        sizes = {}

        def keep(tensor, sizes=sizes):
            sizes[tensor.data_ptr()] = tensor.nbytes
            return tensor

        latent = torch.linspace(-1, 1, 1024).reshape(1, 4, 16, 16).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model.decode(latent).square().sum()
            kept.append(sum(sizes.values()))
            gradients.append(torch.autograd.grad(loss, [latent])[0])
    torch.testing.assert_close(*gradients)
    assert kept[1] < kept[0] / 2


@pytest.mark.parametrize(("offload", "names"), [("text", ["text_encoder"]), ("all", ["network", "text_encoder"])])
def test_streamed_weights_give_the_same_and_stay_off_the_device(pipeline_folder, backbone, offload, names):
    model = StableDiffusion(str(pipeline_folder), size=64, offload=offload)
    parts = [getattr(model, name) for name in names]
    for part in parts:
        stream(part, torch.device("cpu"))
        assert all(p.device.type == "meta" for p in part.parameters()), "weights come for a call only"
    vectors = backbone.input_embeddings("cat bright", [2]).detach() * 2
    found = []
    for one in (backbone, model):
        given = vectors.clone().requires_grad_()
        text = one.embed(["cat bright"], [TokenEdit((2,), given)])
        output = one.predict(torch.ones(1, 4, 16, 16), TIME, text)
        found += [output.detach(), torch.autograd.grad(output.square().sum(), [given])[0]]
    torch.testing.assert_close(found[:2], found[2:])
    model.to("cpu")
    assert all(p.device.type == "cpu" for p in model.parameters()), "on the CPU nothing is streamed"
    model.to("meta")  # a device that is no CPU
    assert model.device.type == "meta"
    for name, layer in (("network", model.network.conv_in), ("text_encoder", embedding_layer(model.text_encoder))):
        layer = getattr(layer, "token_embedding", layer)
        hook = getattr(layer, "_hf_hook", None)
        assert (hook is not None) == (name in names)
        if hook is not None:
            assert (hook.execution_device.type, hook.weights_map["weight"].device.type) == ("meta", "cpu")


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
    plain = backbone.embed(["cat bright"]).tokens.detach()
    vectors = backbone.input_embeddings("cat bright", [2]).detach().clone().requires_grad_()
    same = backbone.embed(["cat bright"], [TokenEdit((2,), vectors)]).tokens
    torch.testing.assert_close(same.detach(), plain)
    other = backbone.embed(["cat bright"], [TokenEdit((2,), -vectors)]).tokens
    assert torch.equal(other[0, :2], plain[0, :2])  # causal: what stands before does not see it
    assert (other[0, 2] - plain[0, 2]).abs().max() > 1e-3
    (gradient,) = torch.autograd.grad(other.sum(), [vectors])
    assert gradient.abs().max() > 0
    torch.testing.assert_close(backbone.embed(["cat bright"]).tokens, plain)
    layer = embedding_layer(backbone.text_encoder)
    with pytest.raises(RuntimeError, match="planned"), edited_tokens(backbone.text_encoder, [None]):
        raise RuntimeError("planned")
    assert not layer._forward_hooks


@pytest.mark.parametrize("size", [0, 4, 60])
def test_a_size_that_does_not_fit_is_refused_before_weights_load(pipeline_folder, tmp_path, size):
    for part in ("unet", "vae", "text_encoder"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text((pipeline_folder / part / "config.json").read_text())
    with pytest.raises(ConfigError, match="multiple of 8"):
        StableDiffusion(str(tmp_path), size=size)


def test_a_square_canvas_is_the_same_for_every_photo(backbone):
    assert {backbone.canvas_size(*size) for size in ((480, 640), (9, 3000), (64, 64))} == {(64, 64)}


@pytest.mark.parametrize(
    ("photo", "canvas"), [((64, 64), (64, 64)), ((400, 600), (56, 80)), ((600, 400), (80, 56)), ((10, 9000), (8, 1920))]
)
def test_a_fitted_canvas_keeps_the_aspect_at_about_the_same_area(pipeline_folder, photo, canvas):
    fitting = StableDiffusion(str(pipeline_folder), size=64, canvas="fit")
    assert fitting.canvas_size(*photo) == canvas
    height, width = canvas
    image = torch.rand(1, 3, height, width)
    if height * width < 8000:
        with torch.no_grad():
            latent = fitting.encode(image)
            assert latent.shape == (1, 4, height // fitting.cell, width // fitting.cell)
            text = fitting.embed(["cat dim"])
            assert fitting.predict(latent, TIME, text).shape == latent.shape
            assert fitting.decode(latent).shape == image.shape


def test_a_missing_model_says_what_was_tried_and_what_works(tmp_path):
    for path in ("nobody/no-such-model", str(tmp_path)):
        with pytest.raises(ModelError) as caught:
            StableDiffusion(path)
        message = str(caught.value)
        assert path in message
        assert "backbone=tiny" in message
        assert "hf download" in message
