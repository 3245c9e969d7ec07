"""Each logger writes a toy run, and the files are read back by the tools of the logger's own project."""

import csv
import json
import subprocess
import sys

import pytest
import torch
from omegaconf import OmegaConf

from diffharmon.columns import ordered_keys
from diffharmon.config import build, composed
from diffharmon.logger.csv import Csv
from diffharmon.logger.wandb import REDACTED, Wandb, redact
from diffharmon.panels import comparison_parts
from diffharmon.protocols import Logger

KEY = "planted-key-0123456789"


@pytest.fixture(autouse=True)
def wandb_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    for name in ("DATA_DIR", "CACHE_DIR", "CONFIG_DIR", "ARTIFACT_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / "elsewhere"))


def built(choice, folder, *overrides):
    config = composed([f"logger=[{choice}]", "name=study", *overrides])
    resolved = OmegaConf.to_container(config, resolve=True)
    return build(config.logger[choice], folder=folder, config=resolved)


def panel(value=0.5):
    composite = torch.full((3, 40, 60), 0.25)
    mask = torch.zeros(1, 40, 60)
    mask[:, 10:30, 10:30] = 1
    return comparison_parts(composite, torch.full((3, 40, 60), value), mask, torch.full((3, 40, 60), 0.75))


ROWS = (
    {"name": "a", "source": "HCOCO", "config_hash": "c0", "status": "ok", "seed": 3, "psnr": 31.5, "reason": "done"},
    {"name": "b", "source": "HCOCO", "config_hash": "c0", "status": "error", "error": "InputError: empty, mask"},
    {"name": "c", "source": "HFlickr", "config_hash": "c0", "status": "ok", "seed": 3, "psnr": 28.5, "new": 1.0},
)


def told(logger, failed=False):
    try:
        for row in ROWS:
            if row["status"] == "ok":
                logger.image(row["name"], panel(), row)
        logger.summary(ROWS, {"psnr": 30.0})
    finally:
        logger.close(failed)


def records(run_folder):
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def offline_runs(folder):
    return sorted(folder.glob("wandb/offline-run-*"))


def found(value, key):
    """All values of a key anywhere in nested JSON."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from found(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from found(inner, key)


def test_csv_has_the_same_columns_before_and_after_the_end(tmp_path):
    logger = built("csv", tmp_path)
    assert isinstance(logger, Logger)
    logger.image("a", panel(), ROWS[0])
    first = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["name"] for row in first] == ["a"], "a row is on disk as soon as its image is done"
    Csv(folder=tmp_path).image("c", panel(), ROWS[2])  # started again after an interruption
    again = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["name"] for row in again] == ["a", "c"]
    logger.summary(ROWS, {})
    logger.close()
    lines = list(csv.reader((tmp_path / "results.csv").open()))
    assert lines[0] == ordered_keys((), ROWS)
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [(row["name"], row["psnr"], row["error"]) for row in rows] == [
        ("a", "31.5", ""),
        ("b", "", "InputError: empty, mask"),
        ("c", "28.5", ""),
    ]


def test_wandb_offline_run_holds_panel_table_summary_group_and_no_key(tmp_path):
    config = {"name": "study", "describer": {"note": f"key {KEY}"}, "seed": 3}
    logger = Wandb(folder=tmp_path, config=config)
    told(logger)
    runs = offline_runs(tmp_path)
    assert len(runs) == 1
    media = runs[0] / "files"
    tables = [json.loads(path.read_text()) for path in media.glob("media/table/*.table.json")]
    assert len(tables) == 1
    names = tables[0]["columns"]
    assert [row[names.index("psnr")] for row in tables[0]["data"]] == [31.5, None, 28.5]
    log = records(runs[0])
    assert KEY not in json.dumps(log)
    assert REDACTED in json.dumps(log)
    assert {run["run_group"] for run in found(log, "run")} == {"study"}
    history = [entry["item"] for entry in found(log, "history")]
    titles = ("composite", "result", "real", "mask", "|result - real| x4")
    assert [entry["panel.captions"] for entry in history[:2]] == [[f"{name}: {t}" for t in titles] for name in "ac"]
    assert all((media / path).is_file() for entry in history[:2] for path in entry["panel.filenames"])
    assert [entry.get("image/psnr") for entry in history] == [31.5, 28.5, None]
    summary = {}
    for entry in found(log, "summary"):
        summary |= entry.get("update", {})
    assert (summary["mean/psnr"], summary["images"], summary["failed_images"]) == (30.0, 2, 1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_jobs_of_one_process_get_a_run_each_also_after_a_job_that_failed(tmp_path):
    told(Wandb(folder=tmp_path / "0", config={"name": "study"}), failed=True)
    Wandb(folder=tmp_path / "1", config={"name": "study"})  # a job that died without closing
    last = Wandb(folder=tmp_path / "2", config={"name": "study"})
    told(last)
    ids = {path.name.rpartition("-")[2] for number in "012" for path in offline_runs(tmp_path / number)}
    assert len(ids) == 3
    assert [entry["exit_code"] for entry in found(records(offline_runs(tmp_path / "0")[0]), "exit")] == [1]


def test_a_job_started_again_in_its_folder_goes_on_under_its_run_id(tmp_path):
    first = Wandb(folder=tmp_path, config={"name": "study"})
    first.close(failed=True)
    second = Wandb(folder=tmp_path, config={"name": "study"})
    second.close()
    assert first.run.id == second.run.id


def test_a_run_is_named_by_its_overrides(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- method=identity\n- logger=wandb\n")
    logger = Wandb(folder=tmp_path, config={"name": "study"})
    logger.close()
    assert logger.run.name == "method=identity"


def test_redaction_reaches_into_lists_and_leaves_other_values_alone():
    assert redact({"a": ["x", {"b": f"<{KEY}>"}], "c": 1, "d": None}) == {
        "a": ["x", {"b": f"<{REDACTED}>"}],
        "c": 1,
        "d": None,
    }


def test_tensorboard_is_read_back(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told(built("tensorboard", tmp_path))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("image/psnr")] == [(0, 31.5), (1, 28.5)]
    assert events.Scalars("mean/psnr")[0].value == 30.0
    assert len(events.Images("panel/composite")) == 2
    table = events.Tensors("rows/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| InputError: empty, mask |" in table
