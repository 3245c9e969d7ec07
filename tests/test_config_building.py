"""What a valid configuration becomes: its values after composing, and the parts that are built from it."""

import re

import pytest

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.config import CONFIG_FOLDER, build, composed
from diffharmon.config.signatures import declared_parameters, parameters_of
from diffharmon.describer.gemini import Gemini
from diffharmon.embedding.negative_prompt import NegativePrompt
from diffharmon.embedding.null_text import NullText
from diffharmon.errors import ConfigError, ModelError
from diffharmon.logger.wandb import Wandb
from diffharmon.method.diffusion import Diffusion
from diffharmon.method.policy import Policy
from diffharmon.reference.edges import ReferenceEdgeLoss
from diffharmon.run.module import PredictTrainer
from diffharmon.sampler.ddim import DDIM
from diffharmon.types import Capabilities, Guidance


def choices(group):
    return sorted(path.stem for path in (CONFIG_FOLDER / group).glob("*.yaml"))


def test_reading_the_source_finds_what_the_class_itself_declares():
    for target in (
        StableDiffusion,
        DDIM,
        Diffusion,
        NullText,
        Policy,
        ReferenceEdgeLoss,
        PredictTrainer,
        Gemini,
        Wandb,
    ):
        read = declared_parameters(f"{target.__module__}.{target.__name__}")
        own = parameters_of(target)
        assert read is not None
        assert set(read) == set(own)
        for name, parameter in own.items():
            assert read[name].required == parameter.required
            if not re.search("COMPONENT|UNKNOWN", str(read[name].annotation)):
                assert read[name].annotation == parameter.annotation, name


def test_parts_are_a_list_and_each_can_be_left_out():
    config = composed(["embedding=[negative_prompt]", "structure=[self_attention,sobel]", "~structure.sobel"])
    assert [type(part) for part in build(config.embedding).values()] == [NegativePrompt]
    assert list(config.structure) == ["self_attention"]
    assert not composed(["embedding=[]", "structure=[]", "logger=[]"]).structure
    assert list(composed(["logger=[wandb,csv]"]).logger) == ["wandb", "csv"]
    assert set(composed(["+structure=[sobel]"]).structure) == {"cross_attention", "self_attention", "sobel"}
    guided = composed(["embedding=[text_refine,null_text]", "method.guidance=3"])
    assert build(guided.embedding)["unconditional"].guidance == 3


def test_the_prompts_are_refined_before_the_unconditional_embedding_in_whatever_order_they_are_chosen():
    method = build(composed(["method.guidance=2", "embedding=[null_text,text_refine]"]).method)
    assert list(method.embedding) == ["text", "unconditional"]


def test_what_a_choice_recommends_is_overridden_in_one_place():
    config = composed(["experiment=paper", "backbone=sd2_base", "backbone.recommended.guidance=4"])
    assert config.embedding.unconditional.guidance == config.method.guidance == 4.0
    assert config.embedding.text.divisor == config.backbone.recommended.attention_divisor == 32
    assert config.method.policy.skip_above is None
    assert composed([]).method.policy.skip_above == composed([]).evaluator.recommended.skip_above
    assert composed(["evaluator=none"]).method.descriptions == 1


def test_odds_of_scores_that_are_no_probabilities_are_refused_before_loading():
    asked = ["evaluator.recommended.min_odds_gain=3", "backbone.path=/nowhere"]
    for evaluator, name in (("none", "NoEvaluator"), ("clip", "Clip"), ("prior", "Prior")):
        with pytest.raises(ConfigError, match=rf"policy\.min_odds_gain: odds are .* which {name}'s score is not"):
            build(composed([f"evaluator={evaluator}", *asked]).method)
    assert build(composed(["evaluator=classifier", asked[0]]).method).policy.min_odds_gain == 3


def test_a_composed_configuration_holds_the_defaults_that_no_file_lists():
    config = composed(["backbone=sd15", "structure=[self_attention]"])
    assert (config.backbone.size, config.trainer.threads) == (512, None)
    assert config.structure.self_attention.depths == [0.0, 1.0]


def test_whole_numbers_become_what_the_constructor_declares():
    config = composed(["method.guidance=3"])
    assert isinstance(config.method.guidance, float)
    assert isinstance(config.sampler.steps, int)


ABLATIONS = sorted(set(choices("experiment")) - {"demo", "fast"})


@pytest.mark.parametrize("experiment", ABLATIONS)
def test_every_experiment_builds_with_a_toy_backbone(experiment, toy_settings, toy_pidinet, monkeypatch):
    monkeypatch.setenv("PIDINET_WEIGHTS", str(toy_pidinet))
    config = composed([f"experiment={experiment}", *toy_settings])
    method = build(config.method)
    assert isinstance(method, Diffusion)
    assert method.guidance == Guidance(1.0 if experiment == "no_guidance" else 2.5)


@pytest.mark.parametrize(
    ("lacking", "overrides", "message"),
    [
        ("unconditional", ["method.guidance=2.5"], r"method\.guidance: guidance other than 1 needs .* empty prompt"),
        ("unconditional", ["method.inversion_guidance=0"], r"method\.inversion_guidance"),
        (
            "unconditional",
            ["embedding=[null_text]", "embedding.unconditional.guidance=2.5"],
            r"embedding\.unconditional: NullText needs",
        ),
        (
            "negative_prompt",
            ["embedding=[negative_prompt]"],
            r"embedding\.unconditional: NegativePrompt .* negative prompt",
        ),
        ("gradients_to_text", ["embedding=[text_refine]"], r"embedding\.text: TextRefine needs .* gradients"),
        ("variance_preserving", [], r"sampler: DDIM needs .*; StableDiffusion does not"),
    ],
)
def test_a_part_that_needs_what_the_backbone_lacks_is_refused_before_weights_load(
    lacking, overrides, message, monkeypatch
):
    monkeypatch.setattr(StableDiffusion, "capabilities", Capabilities(**{lacking: False}))
    config = composed(["backbone.path=/nowhere/at/all", "evaluator=none", *overrides])
    with pytest.raises(ConfigError, match=message):
        build(config.method)


def test_a_model_that_is_missing_is_one_clear_error(tmp_path):
    with pytest.raises(ModelError, match="backbone=tiny"):
        build(composed([f"backbone.path={tmp_path / 'nowhere'}"]).backbone)
