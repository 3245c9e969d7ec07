"""Gain against CPU seconds: fewer sampling steps, and edges compared at half the size, on composites for tuning.

    python experiments/speed/fast.py PHOTOS OUTPUT [--count 32] [--edges 8] [--steps 10,8,6,5,4,3]

PHOTOS is the training data, of which only the photos for tuning are used that no embedded model saw
(`experiments/bars`). Every composite is harmonized under all settings in turn; gains are in foreground PSNR,
differences are paired.
"""

import argparse
import math
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "bars"))
from photos import select

from diffharmon import metrics
from diffharmon.config import build, composed
from diffharmon.images import from_uint8, to_uint8
from diffharmon.run import quiet_libraries
from diffharmon.types import Composite, ignore

EDGES = ("embedding=[null_text]", "structure=[cross_attention,self_attention,sobel]", "method.guidance=2.5",
         "sampler.direct_inversion=false", "recomposer=paste", "evaluator=none")  # fmt: skip

Found = dict[str, list[tuple[float, float]]]


def gain(method: Any, composite: Composite) -> tuple[float, float]:
    """Return the gain in dB and the CPU seconds."""
    begun = time.process_time()
    result = method.harmonize(composite.blind(), ignore).best.image
    seconds = time.process_time() - begun
    mask = (composite.mask > 0.5).float()
    after, before = from_uint8(to_uint8(result)), composite.image
    return metrics.fpsnr(after, composite.real, mask) - metrics.fpsnr(before, composite.real, mask), seconds


def table(found: Found) -> None:
    """Print means, and the paired difference to the first row with its 95 % interval."""
    print("| settings | gain, dB | against the first (95 %) | worse than the composite, % | CPU s an image |")
    print("|---|---|---|---|---|")
    first = [one for one, _ in next(iter(found.values()))]
    for name, values in found.items():
        gains = [one for one, _ in values]
        differences = [own - other for own, other in zip(gains, first, strict=True)]
        half = 1.96 * statistics.stdev(differences) / math.sqrt(len(differences))
        worse = 100 * sum(one < 0 for one in gains) / len(gains)
        seconds = statistics.mean(seconds for _, seconds in values)
        mean = statistics.mean(differences)
        print(f"| {name} | {statistics.mean(gains):+.2f} | {mean:+.2f} (± {half:.2f}) | {worse:.0f} | {seconds:.2f} |")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--edges", type=int, default=8)
    parser.add_argument("--steps", default="10,8,6,5,4,3")
    options = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(1)
    words = str(options.output / "words.jsonl")
    photos = str(select(options.photos, options.output, "tune"))
    values = {"dataset.photos": photos, "dataset.count": options.count, "dataset.seed": 11, "dataset.words": words}
    dataset: Any = None
    for title, given in (("words known", ("describer=file", "evaluator=none")), ("defaults", ())):
        config = composed(["dataset=synthetic", *given], {**values, **({"describer.path": words} if given else {})})
        dataset = dataset or build(config.dataset)
        method, found = build(config.method), defaultdict(list)
        for index in range(len(dataset)):
            for steps in map(int, options.steps.split(",")):
                method.sampler = replace(method.sampler, steps=steps)
                found[f"{steps} steps"].append(gain(method, dataset[index]))
        print(f"\n{title}, {len(dataset)} composites\n")
        table(found)
        sys.stdout.flush()
    config = composed(["dataset=synthetic", "describer=file", *EDGES], {**values, "describer.path": words})
    method, found = build(config.method), defaultdict(list)
    optimizer = method.embedding["unconditional"]
    for index in range(min(options.edges, len(dataset))):
        for decode in ("full", "half"):
            method.embedding = {"unconditional": replace(optimizer, decode=decode)}
            found[f"edges on a decode of {decode} size"].append(gain(method, dataset[index]))
    print(f"\nnull-text optimization with edges, {options.edges} composites\n")
    table(found)


if __name__ == "__main__":
    main()
