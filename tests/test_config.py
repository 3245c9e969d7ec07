from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from diffharmon.config import CONFIG_FOLDER, build, expand_parts, schema, validate
from diffharmon.embedding.negative_prompt import NegativePrompt
from diffharmon.embedding.null_text import NullText
from diffharmon.errors import ConfigError, ModelError
from diffharmon.method.diffusion import Diffusion


def composed(*overrides):
    """Compose without validating."""
    with initialize_config_module("diffharmon.conf", version_base="1.3"):
        config = compose("config", overrides=list(overrides))
    expand_parts(config)
    return config


def choices(group):
    return sorted(path.stem for path in (CONFIG_FOLDER / group).glob("*.yaml"))


def test_the_default_configuration_is_valid():
    validate(composed())


GROUPS = ("dataset", "describer", "backbone", "embedding", "structure", "recomposer", "evaluator", "method", "trainer")


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
    validate(composed(f"{group}={choice}", *required.get((group, choice), [])))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "+embedding.text.learning_rat=1",
            r"embedding\.text\.learning_rat: unknown key; expected one of learning_rate",
        ),
        ("embedding.text.learning_rate=fast", r"embedding\.text\.learning_rate: Value 'fast'"),
        ("backbone.inversion=backwards", r"backbone\.inversion: expected one of mirrored, .*got 'backwards'"),
        ("embedding.null=nothing", r"embedding\.null: expected null or one of .*negative_prompt"),
        ("method.policy.iterations=many", r"method\.policy\.iterations"),
        ("backbone._target_=os.system", r"backbone\._target_: expected something inside diffharmon"),
        ("backbone._target_=diffharmon.backbone.Nothing", r"backbone\._target_: cannot import"),
        ("backbone.steps=null", r"backbone\.steps"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_full_key(override, message):
    with pytest.raises(ConfigError, match=message):
        validate(composed("embedding=paper", override))


def test_a_missing_value_is_refused_with_its_key():
    with pytest.raises(ConfigError, match=r"dataset\.image: a value is required"):
        validate(composed("dataset=single"))


def test_a_typo_in_an_experiment_file_is_refused(tmp_path):
    config = composed("embedding=paper")
    typo = OmegaConf.create({"embedding": {"text": {"lerning_rate": 1.0}}})
    OmegaConf.set_struct(config, False)
    with pytest.raises(ConfigError, match=r"embedding\.text\.lerning_rate"):
        validate(OmegaConf.merge(config, typo))


def test_a_slot_takes_a_name_settings_or_null():
    named = composed("embedding=paper", "embedding.null=negative_prompt", "embedding.text=null")
    validate(named)
    assert isinstance(build(named.embedding)["null"], NegativePrompt)
    assert build(named.embedding)["text"] is None
    assert (
        build(composed("embedding=paper", "method.guidance=3.0", "backbone=sd2_base").embedding["null"]).guidance == 3
    )
    assert composed("structure.anchor=anchor").structure.anchor._target_.endswith("Anchor")


def test_whole_numbers_become_what_the_constructor_declares():
    config = composed("method.guidance=3")
    validate(config)
    assert isinstance(config.method.guidance, float)
    assert isinstance(config.backbone.steps, int)


def test_schemas_keep_what_the_constructor_declares():
    fields = schema(NullText).__dataclass_fields__
    assert set(fields) == set(NullText.__init__.__annotations__) - {"return"}
    assert fields["learning_rate"].default == 0.1


ABLATIONS = sorted(set(choices("experiment")) - {"demo", "fast"})


@pytest.mark.parametrize("experiment", ABLATIONS)
def test_every_experiment_builds_with_a_toy_backbone(experiment, pipeline_folder, toy_pidinet, monkeypatch):
    monkeypatch.setenv("PIDINET_WEIGHTS", str(toy_pidinet))
    config = composed(
        f"experiment={experiment}",
        "describer=fixed",
        "describer.object=cat",
        "describer.foreground=dim",
        "describer.background=bright",
        "evaluator=none",
        f"backbone.path={pipeline_folder}",
        "backbone.size=64",
    )
    validate(config)
    method = build(config.method)
    assert isinstance(method, Diffusion)
    assert method.guidance == 2.5


def test_a_model_that_is_missing_is_one_clear_error(tmp_path):
    with pytest.raises(ModelError, match="backbone=tiny"):
        build(composed(f"backbone.path={tmp_path / 'nowhere'}").backbone)


def test_the_configuration_folder_is_the_one_beside_the_package():
    assert (CONFIG_FOLDER / "config.yaml").is_file()
    assert not list(Path(CONFIG_FOLDER).rglob("*.py"))[1:]
