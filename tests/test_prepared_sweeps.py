"""The sweeps in ``conf/sweep``: every job of each composes and validates, and one runs by its name alone."""

import json

import pytest
from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from diffharmon.config import composed
from diffharmon.config.choices import choices_of

# What section 6 of the paper's description separates, and where it is swept.
PARTS = {
    "text refinement": "no_refine",
    "regularizer": "no_regularizer",
    "self-attention": "no_self_attention",
    "part of the steps": "half_self_attention",
    "edges": "no_edges",
    "Sobel edges": "sobel_edges",
    "learned edges": "learned_edges",
    "several words": "single_word",
    "fusion": "no_fusion",
    "generic text": "generic_text",
    "evaluator": "no_evaluator",
    "new descriptions": "no_restart",
    "iterations": "one_iteration",
    "null-text": "no_null",
    "guidance": "no_guidance",
    "style train": "train_style",
}


def jobs(sweep):
    """The overrides of each job, as Hydra's own sweeper makes them."""
    with initialize_config_module("diffharmon.conf", version_base="1.3"):
        config = compose("config", overrides=[f"sweep={sweep}"], return_hydra_config=True)
    assert str(config.hydra.mode) == "RunMode.MULTIRUN"
    assert config.name == sweep
    parameters = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
    return BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(parameters), None)[0]


@pytest.mark.parametrize("sweep", choices_of("sweep"))
def test_every_job_of_every_sweep_composes(sweep):
    made = jobs(sweep)
    assert len(made) > 2
    configs = []
    for overrides in made:
        given = [f"sweep={sweep}", *(override.lstrip("+") for override in overrides)]
        config = composed([*given, "backbone=tiny"])
        assert config.name == sweep
        configs.append(json.dumps(dict(config), default=str))
    assert len(set(configs)) == len(made), "no job repeats another"


def test_the_ablation_takes_every_separable_part_out_once():
    experiments = [overrides[0].removeprefix("experiment=") for overrides in jobs("ablation")]
    assert experiments[0] == "paper"
    assert set(PARTS.values()) <= set(experiments)
    assert set(choices_of("experiment")) - set(experiments) == {"demo", "fast", "painterly", "reference_quirks"}
    assert len(experiments) == len(set(experiments))


def test_a_prepared_sweep_runs_by_its_name(tmp_path, toy_settings, call_command, jobs_of):
    done = call_command(
        tmp_path / "unused",
        *("sweep=recomposers", "dataset=demo", *toy_settings, "sampler.steps=2"),
        *("metrics=[full]", "trainer=cpu", f"hydra.sweep.dir={tmp_path / 'sweep'}"),
    )
    assert done.returncode == 0, done.stderr
    rows = jobs_of(tmp_path / "sweep")
    assert sorted(rows) == ["0", "1", "2"]
    assert len({row["fpsnr"] for job in rows.values() for row in job}) == 3
    assert "recomposer=paste" in done.stdout, "the table of the sweep"
