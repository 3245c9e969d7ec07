"""Every choice of the config group against its constructor."""

import inspect
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from diffharmon.config import build, load_target, prepare_overrides, validate
from diffharmon.protocols import Describer

FOLDER = Path(__file__).parents[2] / "conf" / "describer"
CHOICES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
NEEDED = {
    "file": ["describer.path=words.jsonl"],
    "vlm": ["describer.model=some/model"],
    "fixed": ["describer.object=cat", "describer.foreground=dim cool", "describer.background=[bright,warm]"],
}


def composed(*overrides):
    with initialize_config_module("diffharmon.conf", version_base="1.3"):
        return compose("describe", prepare_overrides(overrides))


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_fits_its_class_and_gets_the_other_defaults_from_it(choice):
    config = composed(f"describer={choice}", *NEEDED.get(choice, []))
    validate(config)
    target = load_target(config.describer._target_, "describer")
    assert set(inspect.signature(target).parameters) - {"fallback"} <= set(config.describer)
    assert hasattr(target, "describe")


@pytest.mark.parametrize("choice", ["fixed", "gemini", "google_genai", "vlm"])
def test_a_choice_builds_without_key_network_or_model(choice, monkeypatch):
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(build(composed(f"describer={choice}", *NEEDED.get(choice, [])).describer), Describer)


def test_words_come_from_the_command_line():
    description = build(composed("describer=fixed", *NEEDED["fixed"]).describer).description
    assert description.foreground == ("dim", "cool")
    assert description.background == ("bright", "warm")


def test_lines_without_names_follow_the_folder_of_the_dataset(tmp_path):
    (tmp_path / "b.png").touch()
    (tmp_path / "a.png").touch()
    (tmp_path / "caption.txt").write_text("cat dim,cat bright\ndog icy,dog hot\n")
    overrides = ["dataset=folder", f"dataset.images={tmp_path}", "dataset.masks=masks"]
    file = build(composed(*overrides, "describer=file", f"describer.path={tmp_path}/caption.txt").describer)
    assert file.descriptions["b"][0].object == "dog"
    (tmp_path / "one.txt").write_text("cat dim,cat bright\n")
    overrides = ["dataset=single", f"dataset.image={tmp_path}/b.png", "dataset.mask=mask.png"]
    file = build(composed(*overrides, "describer=file", f"describer.path={tmp_path}/one.txt").describer)
    assert file.descriptions["b"][0].object == "cat"


def test_no_configuration_holds_a_key(monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", "planted")
    for choice in CHOICES:
        config = composed(f"describer={choice}", *NEEDED.get(choice, []))
        assert "planted" not in OmegaConf.to_yaml(config, resolve=True)
