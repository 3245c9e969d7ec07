"""Run folders made by the writer that real runs use, from rows and pictures of a toy study."""

import json
from functools import cache
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from diffharmon import results
from diffharmon.metrics import MetricSet, PixelMetrics
from diffharmon.results import panels

SOURCES = ("HCOCO", "HFlickr")
METRICS = {"ihd256": PixelMetrics(size=256)}
SETTINGS = {"ihd256": {"_target_": "diffharmon.metrics.pixel_metrics.PixelMetrics", "size": 256}}


def row_of(index, gain, config_hash="c0", samples=40):
    before = 20.0 + index % 5
    return {
        "name": f"photo_{index}",
        "source": SOURCES[index % 2],
        "config_hash": config_hash,
        "status": "ok",
        "seed": 0,
        "score": 0.5,
        "reason": "all iterations done",
        "iterations": 1,
        "seconds": 1.5,
        "network_calls": samples // 2,
        "network_samples": samples,
        "psnr": before + gain,
        "mse": 100 - gain,
        "fmse": 900 - 10 * gain,
        "fpsnr": before - 3 + gain,
        "ssim": 0.9 + 0.001 * index,
        "fssim": 0.8 + 0.0013 * index,
        "fciede2000": 9 - gain,
        "area": (0.02, 0.1, 0.4)[index % 3],
        "composite_psnr": before,
        "composite_mse": 100.0,
        "composite_fmse": 900.0,
        "composite_fpsnr": before - 3,
        "composite_ssim": 0.88,
        "composite_fssim": 0.75,
        "composite_fciede2000": 9.0,
    }


def run_of(folder, rows, overrides=(), name="study", pictures=True, metrics=METRICS):
    config = {"name": name, "seed": 0, "metrics": SETTINGS}
    columns = [group.to_json() for group in MetricSet(metrics).groups]
    results.write_json(folder / "run.json", {"config": config, "config_hash": "c0", "columns": columns})
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {override}\n" for override in overrides))
    for row in rows:
        results.append_row(folder / "rows-rank0.jsonl", row)
        if pictures and row["status"] == "ok":
            place = results.picture_folder(folder, row)
            place.mkdir(parents=True, exist_ok=True)
            for kind, data in toy_pictures().items():
                (place / f"{kind}.jpg").write_bytes(data)
    return folder


@cache
def toy_pictures() -> dict[str, bytes]:
    """Pictures of all toy images: a composite whose foreground is darkened, and what became of it."""
    rng = np.random.default_rng(0)
    real = torch.from_numpy(rng.random((3, 6, 8))).float().repeat_interleave(12, 1).repeat_interleave(12, 2)
    mask = torch.zeros(1, 72, 96)
    mask[:, 20:60, 30:70] = 1
    pictures = {"composite": real * (1 - 0.6 * mask), "result": real * (1 - 0.2 * mask), "real": real}
    pictures["mask"] = mask.expand(3, -1, -1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"
        made = {}
        for kind, picture in pictures.items():
            panels.write_small(path, picture)
            made[kind] = path.read_bytes()
        return made


@pytest.fixture(scope="session")
def sweep(tmp_path_factory) -> Path:
    """Three jobs over twelve images, one with two failed images, and a job that left nothing; not to be changed."""
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("study") / "sweep"
    weak = [row_of(i, float(g), "c0", 20) for i, g in enumerate(rng.normal(0, 1, 12))]
    strong = [row_of(i, float(g), "c1", 200) for i, g in enumerate(rng.normal(3, 0.5, 12))]
    failed = {"source": "HCOCO", "config_hash": "c2", "status": "error", "error": "InputError: </script> a|b_c & 50 %"}
    partial = [*strong[:10], *({"name": f"photo_{i}", **failed} for i in (10, 11))]
    shared = ("dataset=mini", "name=study")
    run_of(folder / "0", weak, (*shared, "structure=none"))
    run_of(folder / "1", strong, (*shared, "structure=paper"))
    run_of(folder / "2", partial, (*shared, "structure=sobel"), pictures=False)
    dead = folder / "10" / ".hydra"
    dead.mkdir(parents=True)
    (dead / "overrides.yaml").write_text("- dataset=mini\n- structure=broken\n")
    return folder


@pytest.fixture
def own_sweep(sweep, tmp_path) -> Path:
    """The same sweep, to be changed."""
    return Path(copytree(sweep, tmp_path / "sweep"))


@pytest.fixture
def make_row():
    """Make the row of one image from its number and its gain."""
    return row_of


@pytest.fixture
def write_run():
    """Write a run's folder from rows."""
    return run_of


@pytest.fixture(scope="session")
def seeds(tmp_path_factory) -> Path:
    """Two methods on two datasets, two seeds each; seed 1 of diffusion gains 1 dB more. Not to be changed."""
    folder = tmp_path_factory.mktemp("seeds") / "sweep"
    for dataset in ("mini", "own"):
        for method, gain in (("diffusion", 3.0), ("mkl", 1.0)):
            for seed in (0, 1):
                samples = 40 if method == "diffusion" else 0
                rows = [row_of(i, gain + seed * (method == "diffusion"), samples=samples) for i in range(8)]
                overrides = (f"method={method}", f"dataset={dataset}", f"seed={seed}")
                made = run_of(folder / f"{dataset}{method}{seed}", rows, overrides, pictures=False)
                record = json.loads((made / "run.json").read_text())
                record["choices"] = {"method": method, "dataset": dataset, "structure": "['sobel', 'anchor']"}
                record["config"] |= {"seed": seed, "dataset": {"root": dataset}}
                record["config"]["method"] = {"_target_": f"x.{method}", "policy": {"seed": seed, "tries": 2}}
                results.write_json(made / "run.json", record)
    return folder
