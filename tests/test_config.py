from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from diffharmon.config import CONFIG_FOLDER, build, composed, prepare_overrides, schema, validate
from diffharmon.config.choices import MULTIPLE
from diffharmon.embedding.negative_prompt import NegativePrompt
from diffharmon.embedding.null_text import NullText
from diffharmon.errors import ConfigError, ModelError
from diffharmon.method.diffusion import Diffusion
from diffharmon.types import Capabilities


def unchecked(*overrides):
    """Compose without validating."""
    with initialize_config_module("diffharmon.conf", version_base="1.3"):
        return compose("config", overrides=prepare_overrides(overrides))


def choices(group):
    return sorted(path.stem for path in (CONFIG_FOLDER / group).glob("*.yaml"))


def test_the_default_configuration_is_valid():
    composed([])


GROUPS = (
    "dataset",
    "describer",
    "backbone",
    "embedding",
    "structure",
    "recomposer",
    "evaluator",
    "method",
    "sampler",
    "trainer",
)


@pytest.mark.parametrize(
    ("group", "choice"),
    [(group, choice) for group in (*GROUPS, "metrics", "logger", "experiment") for choice in choices(group)],
)
def test_every_choice_composes_and_validates(group, choice, monkeypatch, tmp_path):
    monkeypatch.setenv("IHARMONY4_ROOT", str(tmp_path))
    required = {
        ("dataset", "single"): ["dataset.image=a.png", "dataset.mask=b.png"],
        ("dataset", "folder"): ["dataset.images=a", "dataset.masks=b"],
        ("dataset", "synthetic"): ["dataset.photos=a"],
        ("describer", "file"): ["describer.path=a.txt"],
        ("describer", "vlm"): ["describer.model=a"],
        ("method", "external"): ["method.command=[cp,'{image}','{output}']"],
    }
    chosen = f"[{choice}]" if group in MULTIPLE else choice
    composed([f"{group}={chosen}", *required.get((group, choice), [])])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "+embedding.text.learning_rat=1",
            r"embedding\.text\.learning_rat: unknown key; expected one of learning_rate",
        ),
        ("embedding.text.learning_rate=fast", r"embedding\.text\.learning_rate: Value 'fast'"),
        ("sampler.inversion=backwards", r"sampler\.inversion: expected one of auto, mirrored, .*got 'backwards'"),
        ("method.policy.iterations=many", r"method\.policy\.iterations"),
        ("backbone._target_=os.system", r"backbone\._target_: expected something inside diffharmon"),
        ("backbone._target_=diffharmon.backbone.Nothing", r"backbone\._target_: cannot import"),
        ("sampler.steps=null", r"sampler\.steps"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_full_key(override, message):
    with pytest.raises(ConfigError, match=message):
        composed(["embedding=[text_refine]", override])


def test_a_missing_value_is_refused_with_its_key():
    with pytest.raises(ConfigError, match=r"dataset\.image: a value is required"):
        composed(["dataset=single"])


def test_a_typo_in_an_experiment_file_is_refused(tmp_path):
    config = unchecked("embedding=[text_refine]")
    typo = OmegaConf.create({"embedding": {"text": {"lerning_rate": 1.0}}})
    OmegaConf.set_struct(config, False)
    with pytest.raises(ConfigError, match=r"embedding\.text\.lerning_rate"):
        validate(OmegaConf.merge(config, typo))


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


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("structure=paper", r"structure=\[cross_attention,self_attention,sobel,pidinet\]"),
        ("structure=sobel", r"structure=\[cross_attention,self_attention,sobel\]"),
        ("structure=none", r"structure=\[\]"),
        ("structure=null", r"structure=\[\]"),
        ("structure=[paper]", r"structure=\[cross_attention,self_attention,sobel,pidinet\]"),
        ("structure=[sobol]", r"structure=sobol: there is no such choice; did you mean sobel\?"),
        ("embedding=text", r"embedding=\[text_refine\]"),
        ("embedding=[negative_prompt,null_text]", r"both are embedding\.unconditional"),
        ("embedding.null=null", r"embedding\.null: unknown key; embedding\.unconditional is meant"),
        ("embedding.text=null", r"embedding\.text: expected settings, got null; ~embedding\.text leaves"),
        ("embedding.unconditional=negative_prompt", r"embedding=\[\.\.\.,negative_prompt\] chooses a part"),
        ("structure.sobel.weight=2", r"structure\.sobel: settings of a part that is not chosen"),
        ("structure.sobel=sobel", r"structure=\[\.\.\.,sobel\]"),
        ("structure.anchor=anchor", r"structure\.anchor: unknown key; sampler\.direct_inversion is meant"),
        ("structure.anchor.carry=0.5", r"sampler\.direct_inversion is meant"),
        ("structure=anchor", r"structure=\[cross_attention,self_attention\]"),
        ("backbone.steps=4", r"backbone\.steps: unknown key; sampler\.steps is meant"),
        ("backbone.inversion=level", r"sampler\.inversion is meant"),
        ("+embedding=text_refine", r"embedding=\[text_refine\]"),
        ("logger=csv", r"logger=\[csv\]"),
        ("logger=wandb_csv", r"logger=\[wandb,csv\]"),
        ("logger=many", r"logger=\[wandb,tensorboard,csv\]"),
        ("backbone=tinny", r"backbone=tinny: there is no such choice; did you mean tiny\?"),
    ],
)
def test_former_and_mistyped_choices_are_refused_with_the_right_one(override, message):
    with pytest.raises(ConfigError, match=message):
        composed([override])


def test_a_single_name_in_an_experiment_file_is_refused(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /structure: sobel\n"
    )
    with pytest.raises(ConfigError, match=r"structure=sobel: expected a list"):
        composed([f"hydra.searchpath=[{tmp_path}]", "experiment=mine"])


def test_what_a_choice_recommends_is_overridden_in_one_place():
    config = composed(["experiment=paper", "backbone=sd2_base", "backbone.recommended.guidance=4"])
    assert config.embedding.unconditional.guidance == config.method.guidance == 4.0
    assert config.embedding.text.divisor == config.backbone.recommended.attention_divisor == 32
    assert config.method.policy.skip_above is None
    assert composed([]).method.policy.skip_above == composed([]).evaluator.recommended.skip_above
    assert composed(["evaluator=none"]).method.descriptions == 1


def test_a_composed_configuration_holds_the_defaults_that_no_file_lists():
    config = composed(["backbone=sd15", "structure=[self_attention]"])
    assert (config.backbone.size, config.trainer.threads) == (512, None)
    assert config.structure.self_attention.depths == [0.0, 1.0]


def test_whole_numbers_become_what_the_constructor_declares():
    config = composed(["method.guidance=3"])
    assert isinstance(config.method.guidance, float)
    assert isinstance(config.sampler.steps, int)


def test_schemas_keep_what_the_constructor_declares():
    fields = schema(NullText).__dataclass_fields__
    assert set(fields) == set(NullText.__init__.__annotations__) - {"return"}
    assert fields["learning_rate"].default == 0.1


ABLATIONS = sorted(set(choices("experiment")) - {"demo", "fast"})


@pytest.mark.parametrize("experiment", ABLATIONS)
def test_every_experiment_builds_with_a_toy_backbone(experiment, pipeline_folder, toy_pidinet, monkeypatch):
    monkeypatch.setenv("PIDINET_WEIGHTS", str(toy_pidinet))
    config = composed(
        [
            f"experiment={experiment}",
            "describer=fixed",
            "describer.object=cat",
            "describer.foreground=dim",
            "describer.background=bright",
            "evaluator=none",
            f"backbone.path={pipeline_folder}",
            "backbone.size=64",
        ]
    )
    method = build(config.method)
    assert isinstance(method, Diffusion)
    assert method.guidance == 2.5


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


def test_the_configuration_folder_is_the_one_beside_the_package():
    assert (CONFIG_FOLDER / "config.yaml").is_file()
    assert not list(Path(CONFIG_FOLDER).rglob("*.py"))[1:]
