"""Sweeps by the command itself, with every launcher: the same rows, a run of its own for every job, failures alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.errors import MissingConfigException

from diffharmon import images
from diffharmon.config.folders import job_folder
from diffharmon.files import ASSETS
from diffharmon.report.runs import collect

# Jobs 0 and 1 fail when their model is loaded, after the logger has begun; jobs 2 and 3 must not notice.
SWEEP = (
    "-m",
    "experiment=demo",
    "name=study",
    "evaluator=none",
    "trainer=cpu",
    "logger=[wandb,csv]",
    "logger.wandb.save_images=false",
    f"backbone.path=/no/such/model,{ASSETS / 'tiny'}",
    "sampler.steps=2,3",
)
LAUNCHERS = {
    "parallel": "hydra_plugins.hydra_joblib_launcher",
    "slurm_local": "hydra_plugins.hydra_submitit_launcher",
    "ray_local": "hydra_plugins.hydra_ray_launcher",
}


def wandb_records(job):
    (run,) = job.glob("wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def basic(tmp_path_factory, run_command):
    folder = tmp_path_factory.mktemp("basic")
    return folder, run_command(folder, *SWEEP)


BASELINE = ("-m", "metrics=[full]", "trainer=cpu", "logger=[csv]")


def test_each_of_two_jobs_has_a_run_of_its_own(tmp_path, call_command, jobs_of):
    done = call_command(tmp_path, *BASELINE, "dataset=mini", "dataset.limit=2", "method=identity,reinhard")
    assert done.returncode == 0, done.stderr
    rows = jobs_of(tmp_path)
    assert {job: len(of_job) for job, of_job in rows.items()} == {"0": 2, "1": 2}
    assert all(row["fpsnr"] == row["composite_fpsnr"] for row in rows["0"]), "the identity"
    assert all(row["fpsnr"] != row["composite_fpsnr"] for row in rows["1"])
    for job, method in (("0", "Identity"), ("1", "ColorTransfer")):
        record = json.loads((tmp_path / job / "run.json").read_text())
        assert record["config"]["method"]["_target_"].endswith(method)
        assert {row["config_hash"] for row in rows[job]} == {record["config_hash"]}
        assert len((tmp_path / job / "results.csv").read_text().splitlines()) >= 3


def test_a_job_that_fails_first_does_not_spoil_the_second(tmp_path, call_command, jobs_of, composite):
    for name in ("image", "mask"):
        images.write_image(tmp_path / f"{name}.png", getattr(composite, name))
    photos = f"dataset.image={tmp_path / 'missing.png'},{tmp_path / 'image.png'}"
    single = ("dataset=single", photos, f"dataset.mask={tmp_path / 'mask.png'}", "method=identity")
    done = call_command(tmp_path / "sweep", *BASELINE, *single)
    assert done.returncode == 2
    assert "missing.png does not exist" in done.stderr
    assert {job: [row["status"] for row in rows] for job, rows in jobs_of(tmp_path / "sweep").items()} == {"1": ["ok"]}


@pytest.mark.slow
def test_one_failed_job_does_not_spoil_the_others(basic, jobs_of):
    folder, done = basic
    assert done.returncode == 2, done.stderr
    assert "/no/such/model" in done.stderr
    assert "Traceback" not in done.stderr
    rows = jobs_of(folder)
    assert sorted(rows) == ["2", "3"]
    assert [row["status"] for job in rows.values() for row in job] == ["ok", "ok"]
    assert rows["2"][0]["network_calls"] < rows["3"][0]["network_calls"]
    collection = collect([folder])
    assert [run.label.split()[-1] for run in collection.runs] == ["sampler.steps=2", "sampler.steps=3"]
    assert len(collection.without_rows) == 2


@pytest.mark.slow
def test_every_job_has_its_own_wandb_run_of_one_group(basic):
    folder, _ = basic
    runs, codes, errors = [], [], []
    for number in "0123":
        records = wandb_records(folder / number)
        runs += [record["run"] for record in records if record["type"] == "run"][:1]
        codes += [record["exit"].get("exit_code", 0) for record in records if record["type"] == "exit"]
        summaries = [record["summary"].get("update", {}) for record in records if record["type"] == "summary"]
        errors.append(" ".join(str(update["error"]) for update in summaries if "error" in update))
    assert len({run["run_id"] for run in runs}) == 4
    assert {run["run_group"] for run in runs} == {f"study/{folder.name}"}, "the sweep"
    assert {run["job_type"] for run in runs} == {"diffusion"}, "the chosen method"
    assert [bool(error) for error in errors] == [True, True, False, False]
    assert codes == [1, 1, 0, 0], "a failed job is a failed run"
    assert "sampler.steps=3" in runs[3]["display_name"]
    assert (folder / "2" / "results.csv").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_gives_the_rows_of_the_basic_one(basic, launcher, tmp_path, run_command, jobs_of):
    pytest.importorskip(LAUNCHERS[launcher], reason=f"the plugin of hydra/launcher={launcher} is not installed")
    done = run_command(tmp_path, *SWEEP, f"hydra/launcher={launcher}")
    assert done.returncode == 2, done.stderr
    assert jobs_of(tmp_path) == jobs_of(basic[0])
    ids = {path.name for number in "0123" for path in (tmp_path / number).glob("wandb/offline-run-*")}
    assert len({name.rpartition("-")[2] for name in ids}) == 4


@pytest.mark.slow
def test_optuna_looks_for_the_largest_result(tmp_path, run_command, jobs_of):
    pytest.importorskip(
        "hydra_plugins.hydra_optuna_sweeper", reason="the plugin of hydra/sweeper=tune is not installed"
    )
    pytest.importorskip("optuna", reason="the extra optuna is not installed")
    for seed in (0, 1):
        done = run_command(
            tmp_path,
            *("-m", "experiment=demo", "evaluator=none", "trainer=cpu", "sampler.steps=2", "hydra/sweeper=tune"),
            *("recomposer.strength=interval(0.0, 1.0)", "hydra.sweeper.n_trials=3"),
            f"hydra.sweeper.sampler.seed={seed}",
        )
        assert done.returncode == 0, done.stderr
        assert len(jobs_of(tmp_path)) == 3 * (seed + 1), "the second sweep continues the first"
        best = max(row["fpsnr"] for job in jobs_of(tmp_path).values() for row in job)
        text = (tmp_path / "optimization_results.yaml").read_text()
        assert float(text.partition("best_value: ")[2].split()[0]) == pytest.approx(best)


def test_a_continued_study_never_meets_the_folders_of_before():
    tuned = [job_folder(0, [f"recomposer.strength={value}"], "x.optuna.Sweeper") for value in (0.1, 0.2, 0.1)]
    assert tuned[0] == tuned[2] != tuned[1]
    assert job_folder(3, ["seed=1"], "hydra._internal.core_plugins.basic_sweeper.BasicSweeper") == "3"


@pytest.mark.parametrize(
    ("choice", "plugin", "expected"),
    [
        ("launcher=parallel", "hydra_joblib_launcher", {"n_jobs": 2}),
        ("launcher=slurm", "hydra_submitit_launcher", {"gpus_per_node": 1, "name": "study"}),
        ("launcher=slurm_local", "hydra_submitit_launcher", {"cpus_per_task": 1}),
        ("launcher=ray_local", "hydra_ray_launcher", {}),
        ("sweeper=tune", "hydra_optuna_sweeper", {"direction": "maximize", "study_name": "study"}),
    ],
)
def test_every_choice_extends_its_plugin_or_says_which_is_missing(choice, plugin, expected):
    kind, name = choice.split("=")
    overrides = [f"hydra/{choice}", "name=study"]
    installed = any((Path(folder) / "hydra_plugins" / plugin).is_dir() for folder in sys.path)
    with initialize_config_module("diffharmon.conf", version_base="1.3"):
        if not installed:
            with pytest.raises(MissingConfigException, match=f"hydra/{kind}/{name}|{plugin.split('_')[1]}"):
                compose("config", overrides=overrides, return_hydra_config=True)
            return
        config = compose("config", overrides=overrides, return_hydra_config=True)
        node = config.hydra[kind]
        assert plugin in node._target_
        assert {key: node[key] for key in expected} == expected
        if kind == "launcher":
            assert int(config.hydra.job.env_set.OMP_NUM_THREADS) == (4 if name == "slurm" else 1)
