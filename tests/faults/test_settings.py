"""Sixty bad settings through the command: each is one line that names its key, before any library of a run loads."""

import pytest

# Overrides that no run can have; what stands in front of the first = or inside it has to be named.
BAD = (
    # numbers that are none, or out of range
    "seed=abc", "seed=-1", "seed=1e3", "seed=null", "seed=[1]", "seed={a:1}", "seed=99999999999999999999",
    "sampler.steps=0", "sampler.steps=-5", "sampler.steps=2.5", "sampler.steps=many", "sampler.steps=1e9",
    "backbone.size=0", "backbone.size=8192000", "backbone.size=true", "backbone.size=big",
    "method.guidance=nan", "method.guidance=inf", "method.guidance=-1", "method.guidance=high",
    "recomposer.strength=3", "recomposer.strength=-0.1", "recomposer.strength=-inf", "recomposer.radius=0",
    "trainer.threads=abc", "trainer.threads=0", "trainer.threads=1000000",
    "method.policy.iterations=0", "method.policy.patience=none", "method.policy.restarts=-1",
    "method.descriptions=0", "method.words=0", "dataset.limit=0", "dataset.limit=some",
    # words that are none of the choices
    "backbone.dtype=float8", "sampler.inversion=backwards", "method.policy.ties=middle",
    "method.policy.redescribe=maybe", "backbone.dtype=null", "trainer.accelerator=[cpu]",
    # keys that do not exist, misspelled or of former versions
    "sede=3", "recompser.strength=1", "recomposer.strenght=1", "backbone_steps=50", "judge.enough=abc", "threads=2",
    "prior.guidance=2", "method.policy.iteration=3", "+nothing.at.all=1", "structure.pidinet.weight=1",
    "metrics.full.sise=256", "logger.csv.filename=a.csv", "embedding.text.lerning_rate=1",
    # choices that do not exist, or are none
    "backbone=tinny", "method=none_such", "dataset=3", "recomposer=null", "structure=sobel", "metrics=full",
    "evaluator=clip_score", "logger=[csv,paper]", "experiment=papre", "embedding=[null]", "~dataset",
    # classes, interpolations and Hydra's grammar
    "backbone._target_=os.system", "method._target_=3", "evaluator._target_=diffharmon.describer.clip.Clip",
    "recomposer.strength=${sede}", "dataset.image=photo (1).png", "dataset.image='photo", "=3", "seed", "seed=1,2",
    "trainer.default_root_dir={_target_:subprocess.Popen,args:[true]}", "name=[a]", "name={b:c}",
)  # fmt: skip

# What only the import of a class shows.
SHOWN_BY_IMPORT = (
    "evaluator._target_=diffharmon.describer.clip.Clip",
    "trainer.default_root_dir={_target_:subprocess.Popen,args:[true]}",
)


def key_of(override):
    return override.lstrip("+~").partition("=")[0].split(".")[0]


@pytest.mark.slow
@pytest.mark.parametrize("override", BAD)
def test_a_bad_setting_is_one_line_before_anything_loads(tmp_path, fresh_command, tally, override):
    done = fresh_command(override, f"hydra.run.dir={tmp_path / 'run'}")
    assert tally("settings", done.outcome(key_of(override))), done.error
    if override not in SHOWN_BY_IMPORT:
        assert not done.torch
        assert fresh_command.import_cpu + done.cpu < 1.5, "seconds of CPU time, imports included"
