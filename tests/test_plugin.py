"""A package outside of this one plugs in by its own configuration folder: one class and one YAML file a part."""

import json
from pathlib import Path

import pytest
from toys import write_diffusion_transformer

from diffharmon import results
from diffharmon.config import composed
from diffharmon.errors import ConfigError

PLUGIN = Path(__file__).parent / "plugin"
PARTS = (
    "describer=brightness",
    "evaluator=mean",
    "recomposer=blend",
    "metrics=[full,shift]",
    "structure=[cross_attention,differences]",
)


def test_parts_of_another_package_run_through_the_command(tmp_path, call_command, monkeypatch):
    monkeypatch.syspath_prepend(str(PLUGIN))
    quick = ("embedding=[null_text]", "method.guidance=2", "sampler.steps=2", "trainer=cpu")
    updates = "embedding.unconditional.updates_every=1"
    done = call_command(tmp_path, "--config-dir", str(PLUGIN / "conf"), *PARTS, *quick, updates)
    assert done.returncode == 0, done.stderr
    (row,) = results.read_rows(tmp_path)
    assert row["shift"] != 0
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["config"]["describer"] == {
        "_target_": "outside.describer.Brightness",
        "object": "object",
        "margin": 0.02,
    }
    assert [group["name"] for group in record["columns"]] == ["full", "shift"]
    assert "shift ↓" in done.stdout + done.stderr


def test_a_family_of_backbones_of_another_package_harmonizes(tmp_path, call_command, monkeypatch):
    """The class, its YAML and a row of ``toys.FAMILIES`` are all that a family needs."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    folder = write_diffusion_transformer(tmp_path / "toy")
    backbone = ("backbone=diffusion_transformer", f"backbone.path={folder}")
    search, parts = f"hydra.searchpath=[{PLUGIN / 'conf'}]", "embedding=[text_refine]"
    quick = ("sampler.steps=2", "method.guidance=2", "trainer=cpu", "experiment=demo")
    done = call_command(tmp_path / "run", search, *backbone, parts, *quick, "metrics=[full]", "output=minimal")
    assert done.returncode == 0, done.stderr
    (row,) = results.read_rows(tmp_path / "run")
    assert row["status"] == "ok"
    assert row["fpsnr"] != row["composite_fpsnr"]


@pytest.fixture
def outside(monkeypatch):
    """Compose with the other package importable and its configurations found, as ``hydra.searchpath`` does it."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    return lambda *overrides: composed([f"hydra.searchpath=[{PLUGIN / 'conf'}]", *PARTS, *overrides])


def test_a_search_path_finds_them_too(outside):
    assert outside().evaluator.parts[1]._target_ == "diffharmon.evaluator.none.NoEvaluator"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recomposer.share=2", r"recomposer\.share: expected a number, at least 0 and at most 1, got 2\.0"),
        ("recomposer.shar=1", r"recomposer\.shar: unknown key; did you mean share\?"),
        ("describer.margin=much", r"describer\.margin: expected a number"),
        (
            "describer._target_=outside.describer.describe_nothing",
            r"describer\._target_: expected a class",
        ),
        ("describer._target_=outside.describer.Nobody", r"describer\._target_: cannot import"),
        ("describer._target_=nowhere.describer.Brightness", r"describer\._target_: cannot import 'nowhere"),
        (
            "recomposer._target_=outside.metric.Shift",
            r"recomposer\._target_: .*kind Recomposer, outside",
        ),
        ("structure.differences.detector._target_=outside.metric.Shift", r"detector\._target_: .*EdgeDetector"),
        ("evaluator.parts=[{_target_: outside.metric.Shift}]", r"evaluator\.parts\[0\]\._target_: .*kind Evaluator"),
        ("evaluator.parts=[mean]", r"evaluator\.parts\[0\]: expected a component .*got 'mean'"),
        (
            "evaluator.parts=[{_target_: outside.evaluator.Mean, parts: [{_target_: outside.recomposer.Blend}]}]",
            r"evaluator\.parts\[0\]\.parts\[0\]\._target_: .*kind Evaluator, .*has no score\(\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_as_in_this_package(outside, override, message):
    with pytest.raises(ConfigError, match=message):
        outside(override)
