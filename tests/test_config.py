import subprocess
import sys
from pathlib import Path

import pytest

from diffharmon import protocols
from diffharmon.config import CONFIG_FOLDER, composed
from diffharmon.config.choices import MULTIPLE
from diffharmon.config.kinds import KINDS
from diffharmon.errors import ConfigError


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


# The others are jobs of sweep=ablation, all of which are composed and validated in test_prepared_sweeps.py.
EXPERIMENTS = [("experiment", choice) for choice in ("demo", "fast", "painterly", "paper", "reference_quirks")]


@pytest.mark.parametrize(
    ("group", "choice"),
    [*((group, choice) for group in (*GROUPS, "metrics", "logger") for choice in choices(group)), *EXPERIMENTS],
)
def test_every_choice_composes_and_validates(group, choice, monkeypatch, tmp_path):
    for name in ("IHARMONY4_ROOT", "CCHARMONY_ROOT", "REALHM_ROOT", "REAL_COMPOSITES_ROOT"):
        monkeypatch.setenv(name, str(tmp_path))
    required = {
        ("dataset", "single"): ["dataset.image=a.png", "dataset.mask=b.png"],
        ("dataset", "cut_out"): ["dataset.foreground=a.png", "dataset.background=b.png"],
        ("dataset", "folder"): ["dataset.images=a", "dataset.masks=b"],
        ("dataset", "synthetic"): ["dataset.photos=a"],
        ("describer", "file"): ["describer.path=a.txt"],
        ("describer", "vlm"): ["describer.model=a"],
        ("evaluator", "reference"): ["evaluator.weights=a.pth"],
        ("evaluator", "vlm_judge"): ["evaluator.model=a"],
        ("method", "editor"): ["method.edits=a"],
        ("method", "external"): ["method.command=[cp,'{image}','{output}']"],
    }
    chosen = f"[{choice}]" if group in MULTIPLE else choice
    composed([f"{group}={chosen}", *required.get((group, choice), [])])


REFUSED = {
    # unknown keys, at the top level and inside
    "sede=3": r"sede: unknown key; did you mean seed\?",
    "recomposr.strength=1": r"recomposr: unknown key; did you mean recomposer\?",
    "recomposer.strenght=1": r"recomposer\.strenght: unknown key; did you mean strength\?",
    "+embedding.text.learning_rat=1": r"embedding\.text\.learning_rat: unknown key; did you mean learning_rate\?",
    "method.policy.iteration=3": r"method\.policy\.iteration: .*did you mean iterations\?",
    "backbone.recommended.gidance=2": r"backbone\.recommended\.gidance: .*did you mean guidance\?",
    "evaluator.recommended.skip=1": r"evaluator\.recommended\.skip: unknown key",
    "structure.sobel.detector.epsilo=1": r"structure\.sobel\.detector\.epsilo: .*epsilon\?",
    "metrics.full.sise=256": r"metrics\.full\.sise: .*size\?",
    "trainer.precison=16": r"trainer\.precison: .*precision\?",
    "judge.enough=0.5": r"judge\.enough: unknown key; evaluator\.recommended\.skip_above is meant",
    "prior.guidance=2": r"prior: unknown key; backbone\.recommended is meant",
    "threads=2": r"threads: unknown key; trainer\.threads is meant",
    # settings of parts that are not chosen
    "describer.vocabulary=all": r"describer\.vocabulary: unknown key",
    "structure.pidinet.weight=1": r"structure\.pidinet: settings of a part that is not chosen",
    "logger.csv.filename=a.csv": r"logger\.csv: settings of a part that is not chosen",
    # wrong types
    "seed=abc": r"seed: expected a whole number, got 'abc'",
    "seed=1.5": r"seed: expected a whole number, got 1\.5",
    "name=[a]": r"name: expected text",
    "embedding.text.learning_rate=fast": r"embedding\.text\.learning_rate: expected a number, got 'fast'",
    "sampler.steps=null": r"sampler\.steps: expected a whole number, got null",
    "sampler.inversion=backwards": r"sampler\.inversion: expected one of auto, mirrored, .*got 'backwards'",
    "backbone.size=null": r"backbone\.size: expected a whole number, got null",
    "backbone.dtype=float8": r"backbone\.dtype: expected one of float32, bfloat16, float16, got 'float8'",
    "embedding.text.fuse=1": r"embedding\.text\.fuse: expected true or false, got 1",
    "method.words=two": r"method\.words: expected a whole number or null, got 'two'",
    "method.policy=3": r"method\.policy: expected a component",
    "method.policy.ties=middle": r"method\.policy\.ties: expected one of first, last, got 'middle'",
    "structure.sobel.detector=sobel": r"structure\.sobel\.detector: expected a component .*got 'sobel'",
    # out of range
    "seed=-1": r"seed: expected a whole number, at least 0, got -1",
    "recomposer.strength=3": r"recomposer\.strength: expected a number, at least 0 and at most 2, got 3\.0",
    "recomposer.radius=0": r"recomposer\.radius: .*more than 0",
    "recomposer.strength=nan": r"recomposer\.strength: expected a number, got nan",
    "method.policy.iterations=0": r"method\.policy\.iterations: .*at least 1, got 0",
    "structure.sobel.weight=-1": r"structure\.sobel\.weight: .*at least 0",
    "describer.words=4": r"describer\.words: .*at most 3, got 4",
    "metrics.full.size=8": r"metrics\.full\.size: .*at least 11 and at most 16384, got 8",
    "backbone.recommended.target_correction=2": r"target_correction: .*at most 1",
    "structure.cross_attention.end=1.1": r"structure\.cross_attention\.end: .*at most 1",
    "sampler.steps=0": r"sampler\.steps: .*at least 1",
    "backbone.steps=4": r"backbone\.steps: unknown key; sampler\.steps is meant",
    "trainer.threads=0": r"trainer\.threads: .*at least 1",
    # beyond what any machine can do, or a number can hold
    "trainer.threads=1000000": r"trainer\.threads: .*at most 1024",
    "backbone.size=8192000": r"backbone\.size: .*at most 4096",
    "sampler.steps=2000000000": r"sampler\.steps: .*at most 1000",
    "method.guidance=inf": r"method\.guidance: .*at most 1000",
    "seed=99999999999999999999": r"seed: expected a whole number of at most 64 bits",
    # lists
    "embedding.text.places=down": r"embedding\.text\.places: expected a list of text or null, got 'down'",
    "embedding.text.places=[down,[up]]": r"embedding\.text\.places\[1\]: expected text",
    "embedding.text.places=[]": r"embedding\.text\.places: .*length at least 1",
    "structure.cross_attention.places=[top]": r"cross_attention\.places\[0\]: expected one of down, mid, up, got 'top'",
    "structure.cross_attention.depths=[1.0]": r"cross_attention\.depths: .*length at least 2",
    "structure.cross_attention.depths=[0,2]": r"cross_attention\.depths\[1\]: .*at most 1",
    "describer.objects=[cat,null]": r"describer\.objects\[1\]: expected text, got null",
    # interpolation
    "recomposer.strength=${sede}": r"recomposer\.strength: .*'sede' not found; did you mean seed\?",
    "method.guidance=${backbone.recommended.gidance}": r"method\.guidance: .*did you mean guidance\?",
    "recomposer.strength=${name}": r"recomposer\.strength: expected a number, got 'diffharmon'",
    "method.policy.iterations=${seed}": r"method\.policy\.iterations: .*at least 1, got 0",
    "embedding.text.places=[down,${seed.x}]": r"embedding\.text\.places",
    # classes
    "backbone._target_=diffharmon.backbone.Nothing": r"backbone\._target_: cannot import",
    "backbone._target_=3": r"backbone\._target_: expected module\.Class, got 3",
    "evaluator._target_=os.getcwd": r"evaluator\._target_: expected a class, os\.getcwd is a builtin_function",
    "evaluator._target_=diffharmon.evaluator.clip.look_at": r"expected a class, .*look_at is a function",
    "evaluator._target_=diffharmon.describer.clip.Clip": r"evaluator\._target_: .*kind Evaluator, .*no score\(\)",
    "structure.sobel.detector._target_=diffharmon.method.identity.Identity": r"detector\._target_: .*EdgeDetector",
    "trainer.default_root_dir={_target_:pathlib.Path}": r"trainer\.default_root_dir: expected a value",
    "method._target_=lightning.Trainer": r"method\.\w+: unknown key",
    "trainer._target_=diffharmon.method.identity.Identity": r"trainer\.\w+: unknown key",
}


@pytest.mark.parametrize(("override", "message"), REFUSED.items(), ids=list(REFUSED))
def test_what_does_not_fit_is_refused_with_its_full_key(override, message):
    structure = ["structure=[cross_attention,sobel]"]
    with pytest.raises(ConfigError, match=message):
        composed(["describer=clip", "embedding=[text_refine]", *structure, override])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sede: 3", r"sede: unknown key; did you mean seed\?"),
        ("seed: abc", r"seed: expected a whole number"),
        ("embedding: {text: {lerning_rate: 1.0}}", r"embedding\.text: settings of a part that is not chosen"),
        ("recomposer: {strenght: 1.0}", r"recomposer\.strenght: .*strength\?"),
        ("recomposer: {strength: 3}", r"recomposer\.strength: .*at most 2, got 3\.0"),
        ("recomposer: null", r"recomposer: expected one of detail, feather, paste, got nothing"),
        ("method: {policy: {iterations: [1, 2]}}", r"method\.policy\.iterations: expected a whole number"),
        ("backbone: {recommended: 3}", r"backbone\.recommended: expected a mapping, got 3"),
        ("describer: {objects: [cat, {a: 1}]}", r"describer\.objects\[1\]: expected text"),
        ("trainer: {devices: {a: 1}}", r"trainer\.devices: expected "),
        ("structure: {sobel: {weight: 1}}", r"structure\.sobel: settings of a part that is not chosen"),
        ("recomposer: {strength: '${oc.env:NO_SUCH_VARIABLE}'}", r"recomposer\.strength: .*NO_SUCH_VARIABLE"),
    ],
)
def test_what_does_not_fit_in_an_experiment_file_is_refused(content, message, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{content}\n")
    with pytest.raises(ConfigError, match=message):
        composed([f"hydra.searchpath=[{tmp_path}]", "describer=clip", "experiment=mine"])


def test_every_config_group_is_a_kind():
    folders = {path.name for path in CONFIG_FOLDER.iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert folders == {*KINDS, "trainer", "output", "experiment", "hydra", "sweep", "training"}
    assert all(hasattr(protocols, name) for name in KINDS.values())


@pytest.mark.parametrize("override", ["recomposer=null", "recomposer=3", "recomposer=[paste]"])
def test_a_group_of_one_choice_takes_a_name(override):
    with pytest.raises(ConfigError, match=r"recomposer=.*: expected one of detail, feather, paste"):
        composed([override])


def test_a_value_from_the_environment_gets_the_declared_type(monkeypatch):
    monkeypatch.setenv("STRENGTH", "0.5")
    assert composed(["recomposer.strength=${oc.env:STRENGTH}"]).recomposer.strength == 0.5


@pytest.mark.parametrize(
    ("arguments", "code", "output"),
    [
        (("seed=abc",), 2, "error: seed: expected a whole number, got 'abc'\n"),
        (("recomposer.strength=3",), 2, "error: recomposer.strength: expected a number, at least 0"),
        (("--cfg", "job"), 0, "diffharmon.recomposer.detail.Detail"),
        (("--help",), 0, "recomposer: detail, feather, paste"),
        (("--version",), 0, "diffharmon"),
    ],
)
def test_the_command_needs_no_torch_to_refuse_or_to_show_a_setting(arguments, code, output, tmp_path):
    program = (
        "import sys; from diffharmon import run\n"
        "try: run.main()\n"
        "finally: sys.exit('torch was imported') if 'torch' in sys.modules else None"
    )
    place = () if arguments[0].startswith("--") else (f"hydra.run.dir={tmp_path}",)
    done = subprocess.run([sys.executable, "-c", program, *arguments, *place], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert output in (done.stderr if code else done.stdout)


def test_a_missing_value_is_refused_with_its_key():
    with pytest.raises(ConfigError, match=r"dataset\.image: a value is required"):
        composed(["dataset=single"])


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
        ("structure.anchor.carry=0.5", r"sampler\.target_correction is meant"),
        ("structure=anchor", r"structure=\[cross_attention,self_attention\]"),
        ("backbone.steps=4", r"backbone\.steps: unknown key; sampler\.steps is meant"),
        ("backbone.inversion=level", r"sampler\.inversion is meant"),
        ("+embedding=text_refine", r"embedding=\[text_refine\]"),
        ("logger=csv", r"logger=\[csv\]"),
        ("logger=wandb_csv", r"logger=\[wandb,csv\]"),
        ("logger=many", r"logger=\[wandb,tensorboard,csv\]"),
        ("evaluator=clip_score", r"evaluator=clip_score: there is no such choice; clip is meant"),
        ("clip_score=none", r"clip_score: unknown key; metrics=\[\.\.\.,clip\] is meant"),
        (
            "prior.anchor_carry=1",
            r"prior\.anchor_carry: unknown key; backbone\.recommended\.target_correction is meant",
        ),
        ("embedding=[null]", r"embedding=\[None\]: expected names, such as"),
        ("=3", r"=3: expected key=value, the key is missing"),
        ("~dataset", r"dataset: expected one of .*demo, .*got nothing"),
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


def test_the_configuration_folder_is_the_one_beside_the_package():
    assert (CONFIG_FOLDER / "config.yaml").is_file()
    assert not list(Path(CONFIG_FOLDER).rglob("*.py"))[1:]
