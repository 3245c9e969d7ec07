"""Run iHarmony4's test set in miniature in shards that are killed at random, and check the table that comes out.

    python experiments/scale/simulate.py OUTPUT [--images 7404] [--shards 8] [--parallel 2] [--kills 6] [--seed 0]

Writes as many composites of 24 x 20 pixels as iHarmony4's test set has, in its layout and with its shares of the
subsets, runs `method=identity` over them in shards, kills shards with SIGKILL at random moments, restarts what was
lost, and merges. The means of the run are compared with means that numpy computes from the files alone. Prints one line
an event; exit code 1 where an image is missing or counted twice, or a mean is wrong.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from diffharmon import results
from diffharmon.dataset.check import PUBLISHED
from diffharmon.dataset.iharmony4 import SUBSETS

SIZE = (24, 20)


def write_dataset(root: Path, count: int) -> dict[str, float]:
    """Write the composites; returns MSE and foreground MSE, averaged over images."""
    rng = np.random.default_rng(0)
    total = sum(PUBLISHED[subset]["test"] for subset in SUBSETS)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[5:15, 6:18] = 255
    errors, made = [], 0
    for place, subset in enumerate(SUBSETS):
        share = count - made if place == len(SUBSETS) - 1 else round(count * PUBLISHED[subset]["test"] / total)
        made += share
        for kind in ("composite_images", "masks", "real_images"):
            (root / subset / kind).mkdir(parents=True, exist_ok=True)
        names = [f"{subset[1].lower()}{number}_1_1" for number in range(share)]
        (root / subset / f"{subset}_test.txt").write_text("".join(f"{name}.jpg\n" for name in names), encoding="utf-8")
        for name in names:
            real = rng.integers(60, 200, (*SIZE[::-1], 3), np.uint8)
            composite = np.where(mask[..., None] > 0, real - rng.integers(0, 50, dtype=np.uint8), real)
            stem = name.split("_")[0]
            for kind, file, array in (
                ("composite_images", f"{name}.png", composite),
                ("masks", f"{stem}_1.png", mask),
                ("real_images", f"{stem}.png", real),
            ):
                Image.fromarray(array).save(root / subset / kind / file, compress_level=1)
            squared = (composite.astype(float) - real) ** 2
            errors.append((squared.mean(), squared[mask > 0].mean()))
    mse, fmse = np.mean(errors, axis=0)
    return {"mse": float(mse), "fmse": float(fmse)}


def start(root: Path, run: Path, shard: str | None) -> subprocess.Popen:
    """Start one shard, or the merge."""
    overrides = ["dataset=iharmony4", f"dataset.root={root}", "method=identity", "metrics=[full]", "trainer=cpu"]
    share = [] if shard is None else [f"shard={shard}"]
    command = [sys.executable, "-m", "diffharmon.run", *overrides, *share, f"hydra.run.dir={run}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def run_shard(root: Path, run: Path, shard: str, deaths: list[float]) -> int:
    """Run one shard until it ends by itself, killed after each of the given times; returns how often it was started."""
    for number in range(len(deaths) + 1):
        process = start(root, run, shard)
        try:
            process.communicate(timeout=deaths[number] if number < len(deaths) else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            print(f"shard {shard} killed after {deaths[number]:.0f} s", flush=True)
            continue
        if process.returncode == 0:
            return number + 1
    raise RuntimeError(f"shard {shard} ended with code {process.returncode}")


def main() -> int:
    """Run the simulation; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--images", type=int, default=7404)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--parallel", type=int, default=2, help="shards that run at once")
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--latest", type=float, default=40.0, help="seconds after which a shard is killed, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, begun = random.Random(options.seed), time.monotonic()
    root, run = options.output / "dataset", options.output / "run"
    expected = write_dataset(root, options.images)
    deaths: list[list[float]] = [[] for _ in range(options.shards)]
    for _ in range(options.kills):
        chance.choice(deaths).append(chance.uniform(1, options.latest))
    with ThreadPoolExecutor(options.parallel) as pool:
        shards = [f"{number}/{options.shards}" for number in range(options.shards)]
        starts = sum(pool.map(lambda shard, own: run_shard(root, run, shard, own), shards, deaths))
    merge = start(root, run, None)
    error = merge.communicate()[1]
    means = json.loads((run / "run.json").read_text(encoding="utf-8"))["means"]
    good = [row["name"] for row in results.read_rows(run) if row["status"] == "ok"]
    print(f"{options.images} images, {options.shards} shards, {starts} starts, {time.monotonic() - begun:.0f} s")
    found = {key: means[key] for key in expected}
    print(f"{len(good)} rows of {len(set(good))} images; expected {expected}, found {found}")
    right = all(np.isclose(found[key], value, rtol=1e-6) for key, value in expected.items())
    whole = len(good) == len(set(good)) == options.images
    if merge.returncode or not right or not whole:
        print(f"wrong: {error}")
        return 1
    print("right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
