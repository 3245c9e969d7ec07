"""Each logger writes a toy run, and the files are read back by the tools of the logger's own project."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from diffharmon import results
from diffharmon.columns import ordered_keys
from diffharmon.config import build, composed
from diffharmon.logger.csv import Csv
from diffharmon.logger.privacy import REDACTED, redact, shorten_paths, without_machine_paths
from diffharmon.logger.wandb import Wandb
from diffharmon.metrics import MetricSet, PixelMetrics
from diffharmon.protocols import Logger
from diffharmon.results import panels
from diffharmon.results.panels import comparison_parts

KEY = "planted-key-0123456789"


@pytest.fixture(autouse=True)
def wandb_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    for name in ("CACHE_DIR", "CONFIG_DIR", "ARTIFACT_DIR"):
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


def logged(logger, error="", rows=ROWS):
    try:
        for row in rows:
            if row["status"] == "ok":
                logger.image(row["name"], panel(), row)
        logger.summary(rows, {"psnr": 30.0})
    finally:
        logger.close(error)


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


COLUMNS = MetricSet({"full": PixelMetrics()}).groups
MEASURED = (
    {**ROWS[0], "composite_psnr": 21.5, "fpsnr": 27.0, "composite_fpsnr": 17.0, "score": 0.5},
    ROWS[1],
    {**ROWS[2], "composite_psnr": 24.5, "fpsnr": 25.0, "composite_fpsnr": 20.0, "score": 0.7},
)


def write_folder(folder, rows=MEASURED):
    """Write what the runner leaves of a run: its columns, rows, pictures and records."""
    results.write_json(folder / "run.json", {"columns": [group.to_json() for group in COLUMNS]})
    for row in rows:
        results.append_row(folder / "rows-rank0.jsonl", row)
        if row["status"] == "ok":
            place = results.picture_folder(folder, row)
            place.mkdir(parents=True, exist_ok=True)
            for title in ("composite", "result", "real", "mask"):
                panels.write_small(place / f"{title}.jpg", panel()[title])
            words = {"object": "cat", "foreground": ["dim"], "background": ["bright"], "describer": "fixed"}
            attempts = [{"iteration": -1, **words, "object": "dog"}, {"iteration": 0, **words}]
            results.write_json(place / "record.json", {"best_iteration": 0, "attempts": attempts})


def summary_of(log):
    merged = {}
    for entry in found(log, "summary"):
        merged |= entry.get("update", {})
    return merged


def test_wandb_offline_run_holds_one_table_means_group_choices_and_commit(tmp_path):
    folder = tmp_path / "2026-01-01" / "3"
    folder.mkdir(parents=True)
    write_folder(folder)
    config = {
        "name": "study",
        "seed": 3,
        "describer": {"note": f"key {KEY}"},
        "dataset": {"root": str(tmp_path / "photos")},
        "logger": {"wandb": {"project": "diffharmon"}},
        "choices": {"method": "identity", "dataset": "mini"},
        "commit": "0123456789ab",
    }
    logged(Wandb(folder=folder, config=config, tags=["pilot"], max_pictures=2), rows=MEASURED)
    (run_folder,) = offline_runs(folder)
    log = records(run_folder)
    (artifact,) = (entry["artifact"] for entry in log if "artifact" in entry)
    files = {entry["path"]: Path(entry["local_path"]) for entry in artifact["manifest"]["contents"]}
    assert all(path.is_relative_to(folder / "wandb") for path in files.values()), "staged in the run's folder"
    table = json.loads(files["images.table.json"].read_text())
    assert table["columns"][:7] == ["name", "composite", "result", "real", "mask", "words", "gain"]
    assert len(set(table["columns"])) == len(table["columns"])
    assert not {"seed", "config_hash", "status"} & set(table["columns"]), "of the run, not of an image"
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["name"] for row in rows] == ["a", "b", "c"]
    assert [row["words"] for row in rows] == ["cat: dim → bright", None, "cat: dim → bright"]
    assert [row["gain"] for row in rows] == [10.0, None, 5.0]
    assert [row["psnr"] for row in rows] == [31.5, None, 28.5]
    assert rows[1]["error"] == "InputError: empty, mask"
    pictures = [row[title] for row in rows for title in ("composite", "result", "real", "mask")]
    assert [picture is not None for picture in pictures] == [True] * 4 + [False] * 8, "two rows may have pictures"
    for picture in filter(None, pictures):
        with Image.open(files[picture["path"]]) as opened:
            assert opened.size == (300, 200), "60 x 40, enlarged for people"

    (run,) = (entry["run"] for entry in log if "run" in entry)
    assert (run["run_group"], run["job_type"], run["tags"]) == ("study/2026-01-01", "identity", ["pilot"])
    # The artifact's record holds where ``wandb sync`` finds the pictures; that is not uploaded.
    text = json.dumps([entry for entry in log if "artifact" not in entry])
    assert KEY not in text
    assert REDACTED in text
    assert str(tmp_path) not in text, "no paths of this machine"
    assert "photos" in text
    assert "0123456789ab" in text
    history = [entry["item"] for entry in found(log, "history")]
    assert [entry.get("image/gain") for entry in history] == [10.0, 5.0, None]
    summary = summary_of(log)
    assert (summary["psnr"], summary["gain"]) == (30.0, 7.5)
    assert (summary["images"], summary["failed_images"]) == (2, 1)
    assert not [key for key in summary if key.startswith("image/")], "no number of the last image"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_wandb_names_the_error_of_a_job_that_failed_and_still_has_its_table(tmp_path):
    write_folder(tmp_path)
    logger = Wandb(folder=tmp_path, config={"name": "study"})
    logger.image("a", panel(), MEASURED[0])
    logger.close("ConfigError: /home/me/data/a.png: no such file")
    (run_folder,) = offline_runs(tmp_path)
    log = records(run_folder)
    summary = summary_of(log)
    assert summary["error"] == "ConfigError: a.png: no such file"
    assert summary["psnr"] == 30.0
    assert list((run_folder / "files").glob("media/table/*.table.json"))
    assert [entry["exit_code"] for entry in found(log, "exit")] == [1]


def test_jobs_of_one_process_get_a_run_each_also_after_a_job_that_failed(tmp_path):
    logged(Wandb(folder=tmp_path / "0", config={"name": "study"}), "InputError: bad")
    Wandb(folder=tmp_path / "1", config={"name": "study"})  # a job that died without closing
    last = Wandb(folder=tmp_path / "2", config={"name": "study"})
    logged(last)
    ids = {path.name.rpartition("-")[2] for number in "012" for path in offline_runs(tmp_path / number)}
    assert len(ids) == 3


def test_a_job_started_again_in_its_folder_continues_its_run_and_its_steps(tmp_path):
    first = Wandb(folder=tmp_path, config={"name": "study"})
    write_folder(tmp_path, MEASURED[:2])
    logged(first, "InputError: an image failed", MEASURED[:2])
    second = Wandb(folder=tmp_path, config={"name": "study"})
    write_folder(tmp_path, MEASURED[2:])
    logged(second, rows=MEASURED)
    assert first.run.id == second.run.id
    steps = [found(records(path), "history") for path in offline_runs(tmp_path)]
    first_steps, second_steps = ([entry["item"]["_step"] for entry in own] for own in steps)
    assert max(first_steps) < min(second_steps)


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


def test_absolute_paths_are_shortened_to_their_last_part():
    assert without_machine_paths({"a": "/data/iHarmony4", "b": ["~/x/y.csv", "a/b"], "c": r"C:\Users\me\z"}) == {
        "a": "iHarmony4",
        "b": ["y.csv", "a/b"],
        "c": "z",
    }


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("/no/such/model: no such folder", "model: no such folder"),
        ("expected '/a/b c' or (~/x/y.csv), got D:\\x\\z", "expected 'b c' or (y.csv), got z"),
        (
            "see https://example.org/a/b and conf/dataset/mini.yaml",
            "see https://example.org/a/b and conf/dataset/mini.yaml",
        ),
    ],
)
def test_absolute_paths_inside_a_text_are_shortened(text, short):
    assert shorten_paths(text) == short


def test_tensorboard_is_read_back(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged(built("tensorboard", tmp_path))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("image/psnr")] == [(0, 31.5), (1, 28.5)]
    assert events.Scalars("mean/psnr")[0].value == 30.0
    assert len(events.Images("panel/composite")) == 2
    table = events.Tensors("rows/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| InputError: empty, mask |" in table
