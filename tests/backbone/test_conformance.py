"""What every family of backbones has to do, whatever its network: a new one is a row in ``toys.FAMILIES``."""

import time
from contextlib import ExitStack, nullcontext
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from toys import FAMILIES

from diffharmon.attention.site import find_sites
from diffharmon.errors import ConfigError, InputError, ModelError
from diffharmon.protocols import Backbone
from diffharmon.types import AttentionRule, Conditioning, Description, Guidance, TokenEdit

REPLACE = (AttentionRule("cross", "replace"), AttentionRule("self", "replace"))
RECORD = AttentionRule("cross", "record")
PROMPTS = ("cat dim", "cat bright", "dog warm")


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Write a family's toy once for all tests."""
    return cache(lambda family: family.write(tmp_path_factory.mktemp(family.name)))


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def toy(request, write):
    """The family, its folder and the loaded toy, with inputs: three texts, three latents, a time."""
    family = request.param
    start = time.process_time()
    folder = write(family)
    backbone = family.load(folder)
    seconds = time.process_time() - start
    torch.manual_seed(0)
    with torch.no_grad():
        text = backbone.embed(PROMPTS)
        cells = backbone.encode(torch.rand(1, 3, *backbone.canvas_size(64, 64))).shape[1:]
    schedule = family.sampler.schedule(backbone)
    return SimpleNamespace(
        family=family, folder=folder, backbone=backbone, text=text, latents=torch.randn(3, *cells), seconds=seconds,
        schedule=schedule, time=schedule.timesteps[2],
    )  # fmt: skip


def predict(toy, rules=(), sources=(), latents=None, text=None):
    with torch.no_grad(), toy.backbone.attention(rules, sources) as store:
        given = toy.backbone.predict(
            toy.latents if latents is None else latents, toy.time, toy.text if text is None else text
        )
        return given, store


def test_it_is_a_backbone_that_is_built_in_a_moment(toy):
    assert isinstance(toy.backbone, Backbone)
    assert not any(parameter.requires_grad for parameter in toy.backbone.parameters())
    assert not toy.backbone.training
    assert toy.seconds < 5  # under one on an idle machine


def test_inverting_undoes_denoising_exactly_for_a_fixed_output(toy):
    latent, output = toy.latents[:1], toy.latents[1:2]
    for step in range(len(toy.schedule.timesteps)):
        there = toy.schedule.invert(latent, output, step)
        torch.testing.assert_close(toy.schedule.denoise(there, output, step), latent, atol=1e-5, rtol=1e-5)
        assert (there - latent).abs().max() > 1e-3


def test_an_image_comes_back_with_its_size_and_range(toy):
    image = torch.rand(2, 3, *toy.backbone.canvas_size(64, 64))
    with torch.no_grad():
        latent = toy.backbone.encode(image)
        sampled = [toy.backbone.encode(image, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
        decoded = toy.backbone.decode(latent)
    assert latent.shape[-2:] == tuple(side // toy.backbone.cell for side in image.shape[-2:])
    assert torch.equal(latent, toy.backbone.encode(image))
    assert torch.equal(sampled[0], sampled[1])
    assert decoded.shape == image.shape
    assert decoded.dtype == latent.dtype == torch.float32


def test_rows_of_a_batch_do_not_see_each_other(toy):
    whole, _ = predict(toy)
    for row in range(3):
        alone, _ = predict(toy, latents=toy.latents[row, None], text=toy.text[row])
        torch.testing.assert_close(whole[row, None], alone, atol=1e-5, rtol=1e-4)
    assert (whole[0] - predict(toy, text=toy.backbone.embed(PROMPTS[::-1]))[0][0]).abs().max() > 1e-6


def test_texts_embed_alike_alone_and_together(toy):
    for row, prompt in enumerate(PROMPTS):
        for name, values in toy.backbone.embed([prompt]).tensors().items():
            together = toy.text.tensors()[name]
            if values is not None:
                torch.testing.assert_close(together[row, None], values, atol=1e-5, rtol=1e-4)


def test_neutral_rules_equal_the_stock_processors(toy):
    ruled, _ = predict(toy, (*REPLACE, RECORD), (0, 1, 2))
    torch.testing.assert_close(ruled, predict(toy)[0], atol=1e-5, rtol=1e-4)


def test_replacing_changes_only_the_rows_it_names(toy):
    before = predict(toy)[0]
    for rule in REPLACE:
        changed = predict(toy, [rule], (0, 0, 2))[0]
        torch.testing.assert_close(changed[[0, 2]], before[[0, 2]], atol=1e-5, rtol=1e-4)
        assert (changed[1] - before[1]).abs().max() > 1e-5


def test_replaced_attention_of_equal_values_is_the_sources(toy):
    """Values of all layers are tied to the first row's, so outputs can differ by the attention maps alone.

    Text tokens in one sequence with the image keep their own queries and keys: there both rows have one text.
    """
    network = toy.backbone.network
    joint = any(site.kind == "joint" for site in find_sites(network.attn_processors))
    text = toy.text[0].expand(2) if joint else toy.text.map(lambda values: values[:2])
    layers = {name.removesuffix(".processor") for name in network.attn_processors}
    outputs = []

    def tie(module, args, values):
        return values[[0, 0]]

    def keep(module, args, output):
        outputs.append(output[0] if isinstance(output, tuple) else output)

    with ExitStack() as stack:
        for name, module in network.named_modules():
            if name in layers:
                stack.callback(module.register_forward_hook(keep).remove)
            elif name.endswith((".to_v", ".add_v_proj")):
                stack.callback(module.register_forward_hook(tie).remove)
        predict(toy, REPLACE, (0, 0), toy.latents[:2], text)
        ruled = list(outputs)
        outputs.clear()
        predict(toy, (), (), toy.latents[:2], text)
    assert len(ruled) == len(layers)
    for output in ruled:
        torch.testing.assert_close(output[1], output[0], atol=1e-5, rtol=1e-4)
    assert any((output[1] - output[0]).abs().max() > 1e-4 for output in outputs)


def fail_under_rules(backbone, before):
    now = backbone.network.attn_processors
    with backbone.attention(REPLACE, (0, 0)):
        inside = backbone.network.attn_processors
        if all(inside[name] is not now[name] for name in before):
            raise RuntimeError("planned")


def test_processors_are_the_same_objects_again_after_an_error(toy):
    before = dict(toy.backbone.network.attn_processors)
    with pytest.raises(RuntimeError, match="planned"):
        fail_under_rules(toy.backbone, before)
    after = toy.backbone.network.attn_processors
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)


def test_word_maps_are_shares_of_the_texts_attention(toy):
    canvas = (toy.latents.shape[-2], toy.latents.shape[-1])
    maps = predict(toy, [RECORD])[1].maps(canvas)
    assert maps.shape[0] == 3
    assert maps.shape[-1] == toy.text.tokens.shape[1]
    total = maps.sum(dim=-1)
    if any(site.kind == "joint" for site in find_sites(toy.backbone.network.attn_processors)):
        assert 0 < total.min() <= total.max() < 1
    else:
        torch.testing.assert_close(total, torch.ones_like(total))


def test_gradients_reach_the_words_or_the_family_says_that_they_do_not(toy):
    if not toy.backbone.capabilities.gradients_to_text:
        return
    description = Description("cat", ("dim",), ("bright", "warm"))
    positions = toy.backbone.words(description).background_positions
    plain = toy.backbone.input_embeddings(description.background_prompt, positions).detach()
    vectors = plain.clone().requires_grad_()
    text = toy.backbone.embed([description.background_prompt], [TokenEdit(positions, vectors)])
    for name, values in toy.backbone.embed([description.background_prompt]).tensors().items():
        if values is not None:
            torch.testing.assert_close(text.tensors()[name], values, atol=1e-5, rtol=1e-4)
    canvas = (toy.latents.shape[-2], toy.latents.shape[-1])
    with toy.backbone.attention([RECORD]) as store:
        toy.backbone.predict(toy.latents[:1], toy.time, text)
        loss = store.maps(canvas)[..., list(positions)].square().sum()
    (gradient,) = torch.autograd.grad(loss, [vectors])
    assert (gradient.abs().amax(dim=1) > 0).all()  # every token of every encoder


def test_words_stand_where_the_tokens_say(toy):
    spans = toy.backbone.words(Description("cat dog", ("dim", "cat"), ("bright",)))
    assert set(spans.foreground) == {"dim", "cat"}
    assert all(0 <= place < toy.text.tokens.shape[1] for place in spans.foreground_positions)
    before, after = (toy.backbone.embed([f"cat dog {word}"]).tokens[0] for word in ("bright", "dim"))
    changed = (before - after).abs().amax(dim=1) > 1e-6
    assert changed[list(spans.background["bright"])].all()


def test_a_backbone_that_remembers_edits_as_one_that_does_not(toy):
    """What the source branch attended with in the inversion is what the edited branch follows."""
    description, sampler = Description("cat", ("dim",), ("bright", "warm")), toy.family.sampler
    with torch.no_grad():
        texts = toy.backbone.embed([description.foreground_prompt, description.background_prompt, ""])
        latent = toy.backbone.encode(torch.rand(1, 3, *toy.backbone.canvas_size(64, 64)))
    steps = len(toy.schedule.timesteps)
    conditioning = Conditioning(*(text.expand(steps) for text in texts), description, toy.backbone.words(description))
    edits = []
    for backbone in (toy.backbone, toy.backbone.remembering(10**8)):
        keeping = nullcontext() if backbone is toy.backbone else backbone.keeping(REPLACE, conditioning.foreground)
        with keeping:
            trajectory = sampler.invert(backbone, latent, conditioning, Guidance(1.0))
        edits.append(sampler.edit(backbone, trajectory, conditioning, Guidance(1.0), REPLACE))
    torch.testing.assert_close(edits[1], edits[0], atol=1e-4, rtol=1e-4)
    assert (edits[0][1] - edits[0][0]).abs().max() > 1e-4


def test_a_canvas_that_is_not_square_works(toy):
    backbone = toy.family.load(toy.folder, canvas="fit")
    height, width = backbone.canvas_size(300, 200)
    assert height > width
    assert not height % backbone.resolution_multiple
    assert not width % backbone.resolution_multiple
    with torch.no_grad(), backbone.attention([RECORD]) as store:
        latent = backbone.encode(torch.rand(1, 3, height, width))
        assert backbone.predict(latent, toy.time, toy.text[0]).shape == latent.shape
        rows, columns = store.maps((latent.shape[-2], latent.shape[-1])).shape[1:3]
        assert backbone.decode(latent).shape == (1, 3, height, width)
    assert rows * width == columns * height


def test_bfloat16_is_close_and_latents_stay_single(toy):
    half = toy.family.load(toy.folder, dtype="bfloat16")
    with torch.no_grad():
        given = half.predict(toy.latents, toy.time, half.embed(PROMPTS))
    assert given.dtype == torch.float32
    assert (given - predict(toy)[0]).norm() / predict(toy)[0].norm() < 1e-2


def test_what_does_not_fit_is_refused(toy, tmp_path):
    with pytest.raises(InputError, match="expected at most"):
        toy.backbone.embed(["cat " * 600])
    with pytest.raises(ConfigError, match="size: expected a multiple of"):
        toy.family.load(toy.folder, size=63)
    with pytest.raises(ModelError, match="backbone=tiny"):
        toy.family.load(tmp_path)
    with (
        pytest.raises(ValueError, match="matches no layer"),
        toy.backbone.attention([AttentionRule("other", "record")]),
    ):
        pass


@pytest.mark.parametrize("stranger", FAMILIES, ids=lambda family: family.name)
def test_models_of_other_families_are_refused_by_name(toy, stranger, write):
    if stranger.target != toy.family.target:
        with pytest.raises(ModelError, match="expected"):
            toy.family.load(write(stranger))
