"""CPU and wall seconds an image at several batch sizes, with the largest difference to one image at a time.

    python experiments/speed/batch.py [--images 16] [--turns 2] [--batches 1,2,4,8] [OVERRIDE ...]

The models are loaded before; all batch sizes take turns, after one turn in which libraries warm up.
"""

import argparse
import time
from collections import defaultdict
from typing import Any

import torch

from diffharmon.config import build, composed
from diffharmon.method.batch import harmonize_all
from diffharmon.run import quiet_libraries
from diffharmon.types import Composite, Outcome, ignore


def harmonize(method: Any, photos: list[Composite], batch: int) -> list[Outcome]:
    """Harmonize all photos, so many at a time."""
    found: list[Outcome] = []
    for first in range(0, len(photos), batch):
        for outcome in harmonize_all(
            method, photos[first : first + batch], [ignore] * len(photos[first : first + batch])
        ):
            if isinstance(outcome, Exception):
                raise outcome
            found.append(outcome)
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--batches", default="1,2,4,8")
    parser.add_argument("override", nargs="*")
    options = parser.parse_intermixed_args()
    quiet_libraries()
    torch.set_num_threads(1)
    sizes = [int(size) for size in options.batches.split(",")]
    config = composed(["dataset=mini", *options.override])
    dataset, method = build(config.dataset), build(config.method)
    photos = [dataset[index].blind() for index in range(min(options.images, len(dataset)))]
    seconds: dict[int, list[tuple[float, float]]] = defaultdict(list)
    differences: dict[int, float] = {}
    with torch.no_grad():
        alone = harmonize(method, photos, 1)
        for _ in range(options.turns):
            for size in sizes:
                cpu, wall = time.process_time(), time.perf_counter()
                found = harmonize(method, photos, size)
                seconds[size].append((time.process_time() - cpu, time.perf_counter() - wall))
                pairs = zip(found, alone, strict=True)
                differences[size] = max(float((a.best.image - b.best.image).abs().max()) for a, b in pairs)
    changed = sum(outcome.best.iteration >= 0 for outcome in alone)
    print(f"{len(photos)} images, {changed} of them changed")
    print("| batch | CPU s an image | wall s an image | largest difference |\n|---|---|---|---|")
    for size in sizes:
        parts = [", ".join(f"{turn[kind] / len(photos):.2f}" for turn in seconds[size]) for kind in (0, 1)]
        print(f"| {size} | {parts[0]} | {parts[1]} | {differences[size]:.1e} |")


if __name__ == "__main__":
    main()
