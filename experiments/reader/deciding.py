"""When a composite is changed and when it stays as it is, on the photos for tuning.

    python experiments/reader/deciding.py PHOTOS OUTPUT [--count 100]

PHOTOS is the training data. Composites of every kind (see `opinions.py`) are harmonized by the defaults, but always
changed, and judged before and after by `evaluator=reader`. Prints gain and share made worse for rules by the score
before and by how the change moves the odds, and the share of photos changed by less than 38 dB that nobody had altered:
the photos for tuning, and those under the composites of `UNDER`.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from opinions import images
from torch import Tensor

from diffharmon import metrics
from diffharmon.config import build, composed
from diffharmon.images import from_uint8, to_uint8
from diffharmon.protocols import Method
from diffharmon.run import quiet_libraries
from diffharmon.types import Composite, ignore

sys.path.append(str(Path(__file__).resolve().parents[1] / "bars"))
from photos import CLOSE, select, untouched

SCORES = (0.12, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
FACTORS = (2, 2.5, 3, 3.5, 4, 5, 6, 8, 12, 16)
UNALTERED = "untouched photos"
UNDER = ("ways", "pairs")  # kinds whose photos, crops of the same, are judged as untouched too


@dataclass(frozen=True)
class Trial:
    """An image and what the change makes of it.

    Attributes:
        composite: The image.
        result: It with its foreground changed.
        before: The score's logit.
        after: That of the result.
        distance: PSNR of the result against the image, dB.
    """

    composite: Composite
    result: Tensor
    before: float
    after: float
    distance: float

    def gain(self) -> float:
        """Gain in foreground PSNR."""
        mask = (self.composite.mask > 0.5).float()
        before, after = (
            metrics.fpsnr(image, self.composite.real, mask) for image in (self.composite.image, self.result)
        )
        return after - before


Rule = Callable[[Trial], bool]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    os.environ.pop("IHARMONY4_ROOT", None)  # what figures are reported on is not for choosing
    quiet_libraries()
    given = images(options.photos, options.output, options.count, None)
    del given["`mini`"]
    folder = untouched(select(options.photos, options.output, "tune"), options.output)
    parts = {"images": folder / "images", "masks": folder / "masks", "reals": folder / "images"}
    photos = build(composed(["dataset=folder"], {f"dataset.{name}": str(path) for name, path in parts.items()}).dataset)
    under = [replace(one, image=one.real) for kind in UNDER for one in given[kind]]
    given[UNALTERED] = [*(photos[index] for index in range(len(photos))), *under]
    always = [f"evaluator.recommended.{name}=null" for name in ("skip_above", "min_odds_gain")]
    method = build(composed(always).method)
    tried = {kind: [trial(method, one) for one in found] for kind, found in given.items()}
    real = tried.pop(UNALTERED)
    titles = [f"{kind}, {len(found)}" for kind, found in tried.items()]
    print(f"| changed | {' | '.join(titles)} | {UNALTERED}, {len(real)} |\n|---|{'---|' * (len(tried) + 1)}")
    gains = {kind: [one.gain() for one in found] for kind, found in tried.items()}
    for name, rule in rules().items():
        made = {
            kind: [g if rule(one) else 0.0 for g, one in zip(gains[kind], tried[kind], strict=True)] for kind in gains
        }
        changed = np.mean([rule(one) and one.distance < CLOSE for one in real])
        print(f"| {name} | {' | '.join(map(cell, made.values()))} | {100 * changed:.0f} % |", flush=True)


def rules() -> dict[str, Rule]:
    """Every rule by its name."""
    scores: dict[str, Rule] = {
        f"score below {limit}": lambda one, limit=limit: one.before < math.log(limit / (1 - limit)) for limit in SCORES
    }
    odds: dict[str, Rule] = {
        f"odds times {factor}": lambda one, factor=factor: one.after - one.before >= math.log(factor)
        for factor in FACTORS
    }
    both: dict[str, Rule] = {
        f"score below {limit} and odds times {factor}": lambda one, names=(limit, factor): (
            scores[f"score below {names[0]}"](one) and odds[f"odds times {names[1]}"](one)
        )
        for limit in (0.16, 0.2, 0.25, 0.3)
        for factor in (2, 3, 3.5, 4)
    }
    return {"always": lambda one: True, **scores, **odds, **both}


def trial(method: Method, composite: Composite) -> Trial:
    """Change an image, and judge it before and after."""
    attempts = method.harmonize(composite.blind(), ignore).attempts
    before, after = (attempts[place].score.terms["logit"] for place in (0, -1))
    result = from_uint8(to_uint8(attempts[-1].image))
    return Trial(composite, result, before, after, metrics.psnr(result, composite.image))


def cell(gains: list[float]) -> str:
    """Mean gain and share made worse."""
    return f"{np.mean(gains):+.2f}, {100 * np.mean(np.array(gains) < 0):.0f} %"


if __name__ == "__main__":
    main()
