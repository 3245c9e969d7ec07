"""Measure what runner, metrics and logging add to the method's own time on the built-in benchmark.

    OMP_NUM_THREADS=1 python experiments/overhead/measure.py [--images 8] [--repeats 3] [--logger csv] [OVERRIDE ...]

Prints one table of all cases and one of where the time outside the method goes. Every repeat runs all cases in turn,
so that a machine that is busy at times is so for all of them; the tables show medians. OVERRIDE goes to all cases.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lightning import Trainer

from diffharmon import results
from diffharmon.config import build, composed
from diffharmon.results import panels
from diffharmon.run import execute, module, prepare, quiet_libraries
from diffharmon.types import ignore

BASE = ("dataset=mini", "describer=file", "describer.path=${asset:mini/triples.jsonl}", "trainer=cpu")
LOGGERS = {"none": "", "csv": "csv", "wandb": "wandb"}
METRICS = ("full", "ihd256")


class Clock:
    """Adds up wall and CPU seconds of functions by name, each function's CPU seconds in its own thread."""

    def __init__(self) -> None:
        self.wall: defaultdict[str, float] = defaultdict(float)
        self.cpu: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def timing(self, owner: Any, attribute: str, name: str) -> Iterator[None]:
        """Time every call of ``owner.attribute`` meanwhile, under ``name``."""
        function: Callable = getattr(owner, attribute)

        def timed(*arguments: Any, **named: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                self.wall[name] += time.perf_counter() - wall
                self.cpu[name] += time.thread_time() - cpu

        with patch.object(owner, attribute, timed):
            yield


def run(overrides: list[str]) -> dict[str, float]:
    """Harmonize by the runner; gives seconds an image: of the whole, of the method, and by part."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for owner, attribute, name in (
            (Trainer, "predict", "all"),
            (module.HarmonizeModule, "predict_step", "method"),
            (module.Pending, "read", "reading"),
            (module.ResultWriter, "write", "behind"),
            (module.ResultWriter, "row", "metrics"),
            (panels, "comparison", "side pictures"),
            (panels, "attention_strip", "side pictures"),
            (panels, "write", "side pictures"),
            (results.images, "write_image", "result pictures"),
        ):
            stack.enter_context(clock.timing(owner, attribute, name))
        config = composed(overrides, {})
        execute(config, Path(folder))
        rows = results.read_rows(Path(folder))
    images = len(rows)
    seconds = {name: value / images for name, value in clock.cpu.items()}
    outside = {name: seconds[name] for name in ("reading", "metrics", "side pictures", "result pictures")}
    logging = seconds["behind"] - sum(outside.values()) + outside["reading"]
    return {
        "wall": clock.wall["all"] / images,
        "recorded": sum(row["seconds"] for row in rows) / images,
        "main": seconds["all"],
        "method": seconds["method"],
        "total": seconds["all"] + seconds["behind"] + seconds["reading"],
        **outside,
        "logger, record, row": logging,
    }


def bare(overrides: list[str]) -> float:
    """Harmonize the same images in a plain loop that keeps nothing; gives wall seconds an image."""
    config = prepare(composed(overrides, {}))
    dataset, method = build(config.dataset), build(config.method)
    composites = [dataset[index] for index in range(len(dataset))]
    start = time.perf_counter()
    for composite in composites:
        method.harmonize(composite.blind(), ignore)
    return (time.perf_counter() - start) / len(composites)


def share(part: float, whole: float) -> str:
    """A part as a percentage of the whole."""
    return f"{100 * part / whole:.1f} %"


def table(found: dict[tuple[str, str], dict[str, float]], alone: float) -> list[str]:
    """Both tables as Markdown."""
    lines = [
        f"Plain loop over the method: {alone:.3f} s an image.\n",
        "| logger | metrics | s an image | not in recorded seconds | over the plain loop "
        "| outside the method: CPU of the main thread | CPU of all threads |",
        "|---" * 7 + "|",
    ]
    parts = ("reading", "metrics", "side pictures", "result pictures", "logger, record, row")
    below = [f"\n| logger | metrics | {' | '.join(f'{part}, ms' for part in parts)} |", "|---" * (2 + len(parts)) + "|"]
    for (logger, metrics), case in found.items():
        shares = [
            share(case["wall"] - case["recorded"], case["wall"]),
            share(case["wall"] - alone, case["wall"]),
            share(case["main"] - case["method"], case["main"]),
            share(case["total"] - case["method"], case["total"]),
        ]
        lines.append(f"| {logger} | {metrics} | {case['wall']:.3f} | {' | '.join(shares)} |")
        below.append(f"| {logger} | {metrics} | {' | '.join(f'{1000 * case[part]:.0f}' for part in parts)} |")
    return lines + below


def main() -> None:
    """Run all cases and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--logger", action="append", choices=LOGGERS, help="several times for several; default all")
    parser.add_argument("override", nargs="*", help="further Hydra overrides, for all cases")
    options = parser.parse_intermixed_args()
    os.environ.setdefault("WANDB_SILENT", "true")
    quiet_libraries()
    given = [*BASE, f"dataset.limit={options.images}", *options.override]
    cases = [(logger, metrics) for logger in options.logger or LOGGERS for metrics in METRICS]
    measured: dict[tuple[str, str], list[dict[str, float]]] = {case: [] for case in cases}
    loops = []
    bare([*BASE, "dataset.limit=1", *options.override])  # The first image of a process takes longer than the others.
    for _ in range(options.repeats):
        loops.append(bare(given))
        for logger, metrics in cases:
            measured[logger, metrics].append(run([*given, f"logger=[{LOGGERS[logger]}]", f"metrics={metrics}"]))
    medians = {
        case: {key: statistics.median(found[key] for found in repeats) for key in repeats[0]}
        for case, repeats in measured.items()
    }
    print("\n".join(table(medians, statistics.median(loops))))


if __name__ == "__main__":
    main()
