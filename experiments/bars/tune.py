"""Choose settings of `backbone=tiny`: triples of the tuning part of the held-out photos, words known, no evaluator.

    python experiments/bars/tune.py PHOTOS OUTPUT [--count 40] [--seed 11] [--only NAMES] [OVERRIDE ...]

PHOTOS is the training data. Every variant is run through the same method that `diffharmon` builds; every recomposer is
applied to the same edits. Prints one row a variant and recomposer and appends them to OUTPUT/tuning.md.
"""

import argparse
import statistics
from datetime import datetime
from pathlib import Path

from photos import select

from diffharmon import metrics
from diffharmon.config import build, composed
from diffharmon.files import ASSETS
from diffharmon.images import from_uint8, to_uint8
from diffharmon.run import quiet_libraries
from diffharmon.types import ignore

BASE = ["dataset=synthetic", "describer=file", "evaluator=none"]
CARRY = "sampler.target_correction=1"
BARE = ["~structure.cross_attention", "~structure.self_attention"]
VARIANTS = {
    "default": [],
    "carry 1": [CARRY],
    "carry 1, no attention": [CARRY, *BARE],
    "carry 1, no cross-attention": [CARRY, BARE[0]],
    "carry 1, steps 10": [CARRY, "sampler.steps=10"],
    "carry 1, steps 10, no attention": [CARRY, "sampler.steps=10", *BARE],
    "carry 1, guidance 1.5": [CARRY, "method.guidance=1.5"],
    "carry 1, guidance 1.5, no attention": [CARRY, "method.guidance=1.5", *BARE],
    "carry 1, steps 30": [CARRY, "sampler.steps=30"],
    "carry 0.5": ["sampler.target_correction=0.5"],
    "no direct inversion": ["sampler.direct_inversion=false"],
    "no self-attention": [BARE[1]],
    "self-attention for half of the steps": ["structure.self_attention.end=0.5"],
    "no cross-attention": [BARE[0]],
    "no attention": BARE,
    "inverted without text": ["method.inversion_guidance=0"],
}
RECOMPOSERS = {
    "detail": ["recomposer=detail"],
    "not calibrated": ["recomposer.calibrate=false"],
    "locality 0.5": ["recomposer.locality=0.5"],
    "locality 0": ["recomposer.locality=0"],
    "strength 0.85": ["recomposer.strength=0.85"],
    "strength 0.7": ["recomposer.strength=0.7"],
    "locality 0, 0.85": ["recomposer.locality=0", "recomposer.strength=0.85"],
    "feather": ["recomposer=feather"],
}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--only", metavar="NAMES", help="variants, with semicolons between them")
    parser.add_argument("override", nargs="*", help="further Hydra overrides, for all variants")
    options = parser.parse_intermixed_args()
    quiet_libraries()
    words = str(options.output / "words.jsonl")
    values = {
        "dataset.photos": str(select(options.photos, options.output, "tune")),
        "dataset.count": options.count,
        "dataset.seed": options.seed,
        "dataset.words": words,
        "describer.path": words,
    }
    weights = ASSETS / "tiny" / "unet" / "diffusion_pytorch_model.safetensors"
    stamp = datetime.fromtimestamp(weights.stat().st_mtime).strftime("%H:%M:%S")
    table = options.output / "tuning.md"
    say(table, f"\n{options.count} triples, seed {options.seed}, weights of {stamp}, {' '.join(options.override)}\n")
    say(table, "| variant | recomposer | mean gain, dB | median | better, % | worse by over 1 dB, % | network calls |")
    say(table, "|---|---|---|---|---|---|---|")
    for name in options.only.split(";") if options.only else VARIANTS:
        for row in variant(BASE + VARIANTS[name] + options.override, values):
            say(table, f"| {name} | {row}")


def variant(overrides: list[str], values: dict) -> list[str]:
    """Run one variant over all triples; gives a row for every recomposer."""
    config = composed(overrides, values)
    dataset, method = build(config.dataset), build(config.method)
    recomposers = {name: build(composed(overrides + more, values).recomposer) for name, more in RECOMPOSERS.items()}
    gains: dict[str, list[float]] = {name: [] for name in recomposers}
    calls = 0
    for index in range(len(dataset)):
        composite = dataset[index]
        before = metrics.fpsnr(composite.image, composite.real, (composite.mask > 0.5).float())
        outcome = method.harmonize(composite.blind(), ignore)
        calls = sum(cost.network_calls for cost in outcome.costs.values())
        for name, recomposer in recomposers.items():
            image = recomposer.recompose(composite.blind(), composite.image, outcome.best.edited)
            after = metrics.fpsnr(from_uint8(to_uint8(image)), composite.real, (composite.mask > 0.5).float())
            gains[name].append(after - before)
    return [f"{name} | {describe(values)} | {calls} |" for name, values in gains.items()]


def describe(gains: list[float]) -> str:
    """Mean, median and shares of a list of gains."""
    better = 100 * sum(gain > 0 for gain in gains) / len(gains)
    worse = 100 * sum(gain < -1 for gain in gains) / len(gains)
    return f"{statistics.mean(gains):+.2f} | {statistics.median(gains):+.2f} | {better:.0f} | {worse:.0f}"


def say(table: Path, line: str) -> None:
    """Print a line and keep it."""
    print(line, flush=True)
    with table.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    main()
