"""Images harmonized together give what each gives alone, whatever the model, the sampler and the rest of the batch."""

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from toys import FAMILIES

from diffharmon.config import build, composed
from diffharmon.embedding.null_text import NullText
from diffharmon.embedding.text_refine import TextRefine
from diffharmon.embedding.text_train import TextTrain
from diffharmon.errors import InputError
from diffharmon.evaluator.none import NoEvaluator
from diffharmon.evaluator.reader import Reader
from diffharmon.method.batch import harmonize_all, one_by_one, side_by_side
from diffharmon.method.colour_map import ColourMap
from diffharmon.method.diffusion import Diffusion
from diffharmon.method.policy import Policy
from diffharmon.recomposer.paste import Paste
from diffharmon.run.module import Stages
from diffharmon.sampler.ddim import DDIM
from diffharmon.sampler.flow_edit import FlowEdit
from diffharmon.sampler.uni_inversion import UniInversion
from diffharmon.structure.attention import CrossAttention, SelfAttention
from diffharmon.structure.edges import EdgeLoss
from diffharmon.structure.sobel import Sobel
from diffharmon.types import Description, Watcher, ignore

RULES = {"cross_attention": CrossAttention(), "self_attention": SelfAttention(end=0.6)}
CLOSE = 5e-5  # what rounding becomes in the toys, whose decoders are random; in the model that ships it is below 1e-5


class ByName:
    """Describes each image in words of its own; one of that name cannot be described."""

    WORDS = (("dim cold", "bright"), ("dim", "warm"), ("cold", "bright warm"))

    def __init__(self, refused=""):
        self.refused = refused

    def describe(self, composite, previous=()):
        if composite.name == self.refused:
            raise InputError("planned")
        front, back = self.WORDS["abcd".index(composite.name) % 3]
        return Description("cat", tuple(front.split()), tuple(back.split()), "test", user_provided=True)


@pytest.fixture
def photos(composite):
    """Three photos: brighter, and mirrored."""
    looks = (composite.image, 1 - composite.image * 0.8, composite.image.flip(-1).sqrt())
    return [replace(composite.blind(), name=name, image=image) for name, image in zip("abc", looks, strict=True)]


def assemble(backbone, sampler, **changes):
    parts = {
        "describer": ByName(), "embedding": {}, "structure": RULES, "recomposer": Paste(),
        "evaluator": NoEvaluator(), "policy": Policy(iterations=1, ties="last"), "guidance": 2.5,
    }  # fmt: skip
    return Diffusion(backbone=backbone, sampler=sampler, **{**parts, **changes})


def compare(method, photos, close=CLOSE, watchers=None, same_calls=True):
    """Harmonize together and one after the other; returns both after comparing them."""
    watch_alone, watch_together = watchers or ([ignore] * len(photos),) * 2
    alone = one_by_one(method, photos, watch_alone)
    together = harmonize_all(method, photos, watch_together)
    for photo, one, other in zip(photos, alone, together, strict=True):
        if isinstance(other, Exception):
            assert type(one) is type(other)
            assert str(one) == str(other)
            continue
        assert (one.reason, len(one.attempts)) == (other.reason, len(other.attempts))
        for attempt, again in zip(one.attempts, other.attempts, strict=True):
            torch.testing.assert_close(again.image, attempt.image, atol=close, rtol=0)
            assert again.words.keys() == attempt.words.keys()
            for name, values in attempt.words.items():
                torch.testing.assert_close(again.words[name], values, atol=close, rtol=0)
        calls = [{stage: cost.network_samples for stage, cost in made.costs.items()} for made in (one, other)]
        assert not same_calls or calls[0] == calls[1], "an image is charged its own samples"
        changed = max((attempt.image - photo.image).abs().max() for attempt in one.attempts)
        assert changed > 1e-4, "nothing was changed"
    return alone, together


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    return cache(lambda family: family.write(tmp_path_factory.mktemp(family.name)))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_of_models_edits_a_batch_as_one_at_a_time(family, write, photos):
    backbone = family.load(write(family))
    guidance = 2.5 if backbone.capabilities.unconditional else 1.0
    method = assemble(backbone, replace(family.sampler, steps=3), guidance=guidance, inversion_guidance=1.0)
    compare(method, photos[:2])


SAMPLERS = {
    "corrected": (DDIM(3, target_correction=1.0), 1.0),
    "not_direct": (DDIM(3, direct_inversion=False), 2.5),
    "uni_inversion": (UniInversion(3), 2.5),
    "flowedit": (FlowEdit(4), 2.5),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_edits_a_batch_as_one_at_a_time(name, backbone, photos):
    sampler, guidance = SAMPLERS[name]
    compare(assemble(backbone, sampler, guidance=guidance), photos[:2])


EMBEDDINGS = {
    "text_train": {"text": TextTrain(divisor=8, updates=2, batch=2)},
    "paper": {"text": TextRefine(divisor=8), "unconditional": NullText(2.5, learning_rate=1e-4)},
}


class Gradients(Watcher):
    """Notes the gradients of an optimizer."""

    def __init__(self):
        self.seen = []

    def __call__(self, event):
        self.seen += [value for name, value in event.values.items() if name.startswith("gradient")]


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_every_optimizer_refines_a_batch_as_one_at_a_time(name, backbone, photos):
    """Adam divides a gradient by its own size, so rounding turns one that is nearly zero: a low rate hides that."""
    structure = {**RULES, "edges": EdgeLoss(Sobel())} if name == "paper" else RULES
    sampler = DDIM(2, direct_inversion=False)
    method = assemble(backbone, sampler, embedding=EMBEDDINGS[name], structure=structure)
    alone, together = ([Gradients(), Gradients()] for _ in range(2))
    compare(method, photos[:2], watchers=(alone, together))
    for one, other in zip(alone, together, strict=True):
        assert len(one.seen) == len(other.seen)
        assert name != "paper" or len(one.seen) == 2 * 2 * 3 + 2
        for gradient, again in zip(one.seen, other.seen, strict=True):
            torch.testing.assert_close(again, gradient, rtol=1e-3, atol=float(gradient.abs().max()) * 1e-3)


@pytest.mark.slow
def test_an_optimizer_that_stops_early_for_one_image_does_not_for_the_others(backbone, photos):
    losses = {"a": [], "b": []}

    class Noting(Watcher):
        def __init__(self, name):
            self.name = name

        def __call__(self, event):
            if event.stage == "unconditional" and "loss" in event.values:
                losses[self.name].append(float(event.values["loss"]))

    def stopping(loss):
        optimizer = {"unconditional": NullText(2.5, updates_every=1, stop_below=loss, learning_rate=1e-4)}
        return assemble(backbone, DDIM(3, direct_inversion=False), embedding=optimizer)

    watchers = [Noting("a"), Noting("b")]
    one_by_one(stopping(0.0), photos[:2], watchers)
    between = sum(max(values) for values in losses.values()) / 2
    losses |= {"a": [], "b": []}
    compare(stopping(between), photos[:2], watchers=(watchers, [ignore, ignore]))
    assert len(losses["a"]) != len(losses["b"]), "both stopped alike, so this shows nothing"


@pytest.mark.slow
def test_checkpointed_layers_see_the_rules_of_all_rows_again(pipeline_folder, photos):
    family = FAMILIES[0]
    backbone = family.load(pipeline_folder, gradient_checkpointing=True)
    compare(assemble(backbone, DDIM(2), embedding={"text": TextRefine(divisor=8)}), photos[:2])


def test_network_calls_are_shared(backbone, photos):
    method, calls = assemble(backbone, DDIM(2)), []
    handle = backbone.network.register_forward_pre_hook(lambda module, args, kwargs: calls.append(1), with_kwargs=True)
    with handle:
        _, together = compare(method, photos)
    own = sum(cost.network_calls for cost in together[0].costs.values())
    assert len(calls) == 4 * own, "three images alone, then all of them in the calls of one"


def test_one_bad_image_leaves_the_others_as_they_are(backbone, photos):
    vanishing = replace(photos[0], name="d", mask=torch.zeros_like(photos[0].mask))
    damaged = replace(photos[1], image=photos[1].image * torch.nan)
    method = assemble(backbone, DDIM(2), describer=ByName(refused="c"))
    alone, together = compare(method, [photos[0], vanishing, damaged, photos[2]])
    assert [isinstance(outcome, Exception) for outcome in together] == [False, True, True, True]
    assert "not finite" in str(together[2])
    first, _ = compare(method, photos[:2])
    assert torch.equal(first[0].best.image, alone[0].best.image)


def test_a_call_that_fails_for_all_is_made_for_each(backbone, photos, monkeypatch):
    predict = type(backbone).predict

    def refuse(self, latent, timestep, text):
        if len(latent) > 3:
            raise torch.OutOfMemoryError("planned")
        return predict(self, latent, timestep, text)

    method = assemble(backbone, DDIM(2))
    expected = one_by_one(method, photos, [ignore] * 3)
    monkeypatch.setattr(type(backbone), "predict", refuse)
    for one, other in zip(expected, harmonize_all(method, photos, [ignore] * 3), strict=True):
        torch.testing.assert_close(other.best.image, one.best.image, atol=CLOSE, rtol=0)


class Offers:
    """Offers other words each time it is asked."""

    def describe(self, composite, previous=()):
        background = ("bright", "warm", "cold")[len(previous)]
        return Description("cat", ("dim",), (background,), "test", user_provided=True)


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_descriptions_of_an_image_are_tried_side_by_side(guidance, backbone, photos):
    """One iteration: the next starts from 8-bit colours of the result, where rounding may turn a level."""
    method = assemble(backbone, DDIM(3), describer=Offers(), descriptions=3, inversion_guidance=guidance)
    calls = []
    handle = backbone.network.register_forward_pre_hook(lambda module, args, kwargs: calls.append(1), with_kwargs=True)
    with handle:
        alone, together = compare(method, photos[:1], same_calls=False)
    tried = [attempt.description.background for attempt in together[0].attempts[1:]]
    assert tried == [("bright",), ("warm",), ("cold",)]
    assert [outcome[0].costs["inversion"].network_samples for outcome in (alone, together)] == [3, 3]
    assert len(calls) == (3 + 3 * 3 + 1) + (3 + 3 + 1), "inversion, edits and words; then the edits in shared calls"


def test_a_description_that_fails_fails_in_its_stage(backbone, photos, monkeypatch):
    class Refuses(NullText):
        def refine(self, backbone, inversion, conditioning, observe):
            raise InputError(f"planned for {conditioning.description.background[0]}")

    stages = Stages(ignore)
    method = assemble(backbone, DDIM(2), describer=Offers(), descriptions=2, embedding={"unconditional": Refuses(2.5)})
    (outcome,) = harmonize_all(method, photos[:1], [stages])
    assert str(outcome) == "planned for bright"
    assert stages.current == "unconditional"


def test_images_of_several_sizes_share_what_fits(pipeline_folder, photos):
    backbone = FAMILIES[0].load(pipeline_folder, canvas="fit")
    wide = replace(photos[1], image=photos[1].image[:, :24], mask=photos[1].mask[:, :24])
    compare(assemble(backbone, DDIM(2)), [photos[0], wide, photos[2]])


def test_processors_and_method_are_as_they_were(backbone, photos):
    before, method = dict(backbone.network.attn_processors), assemble(backbone, DDIM(2))
    harmonize_all(method, photos, [ignore] * 3)
    assert all(backbone.network.attn_processors[name] is processor for name, processor in before.items())
    assert method.backbone is backbone
    assert "backbone" in dict(method.named_children())


def test_the_model_that_ships_agrees_within_a_hundred_thousandth():
    words = [
        "describer=fixed",
        "describer.object=cup",
        "describer.foreground=dim",
        "describer.background=[bright,warm]",
    ]
    config = composed(["dataset=mini", "sampler.steps=2", "evaluator=none", "method.word_maps=false", *words])
    dataset, method = build(config.dataset), build(config.method)
    compare(method, [dataset[index].blind() for index in (0, 7)], close=1e-5)


def test_networks_that_read_and_judge_are_called_for_all_images_at_once(photos):
    method, judge, calls = ColourMap(), Reader(), Counter()
    counted = {"JointNetwork": 1, "DeepTrunk": 3, "Stem": 1, "CLIPVisionModel": 2}
    scores = []

    def map_and_score(composite, observe):
        outcome = method.harmonize(composite, observe)
        scores.append(judge.score(outcome.best.image, composite.mask, outcome.best.description).value)
        return outcome

    with register_module_forward_pre_hook(lambda module, given: calls.update([type(module).__name__])):
        side_by_side(map_and_score, photos, [ignore] * 3)
    assert {name: calls[name] for name in counted} == {name: 2 * times for name, times in counted.items()}
    together, alone = scores[:], []
    for photo in photos:
        scores.clear()
        map_and_score(photo, ignore)
        alone += scores
    assert together == pytest.approx(alone, abs=1e-5)
    compare(method, photos, close=1e-5)
