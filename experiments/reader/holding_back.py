"""When a change is not trusted, and what is made of it then, on the photos for tuning.

    python experiments/reader/holding_back.py PHOTOS OUTPUT [--count 100] [--relighting ARCHIVE]

PHOTOS is the training data. The change is applied directly, as `method=colour_map` does. Of each kind of composite (see
`opinions.py`) and of the photo behind each, `evaluator=reader` judges the image and what the change makes of it. Prints
gain, share made worse, share made worse by more than a decibel, and the share of the photos, which nobody altered,
that are changed by less than 38 dB; for rules by the score before and by how the change moves the odds; and for
changes that are left out, or kept within a distance of the composite, where they are not trusted.
"""

import argparse
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from choose import CHOSEN, CLOSE, WORDS, harmonized, mixed, opinions
from opinions import images

from diffharmon import metrics
from diffharmon.condition.reader.reading import LightReader
from diffharmon.config import build, composed
from diffharmon.protocols import Evaluator
from diffharmon.run import quiet_libraries
from diffharmon.types import Composite

STEPS = np.linspace(0, 1, 9)


@dataclass(frozen=True)
class Trial:
    """An image and what the change makes of it.

    Attributes:
        before: Logit of the image.
        after: Logit of the changed image.
        distance: Its PSNR against the image, dB.
        gains: In foreground PSNR at ``STEPS``; zeros for a photo that nobody altered.
    """

    before: float
    after: float
    distance: float
    gains: np.ndarray


Rule = Callable[[Trial], bool]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--relighting", type=Path, help="ccHarmony's archive of colour matrices")
    options = parser.parse_args()
    os.environ.pop("IHARMONY4_ROOT", None)  # nothing is looked at that anything is reported on
    quiet_libraries()
    given = images(options.photos, options.output, options.count, options.relighting)
    del given["`mini`"]
    readers = [LightReader(near=near, clip=clip) for near, clip in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
    judge = build(composed(["evaluator=reader"]).evaluator)
    tried = {
        kind: [(trial(readers, judge, one), trial(readers, judge, replace(one, image=one.real))) for one in found]
        for kind, found in given.items()
    }
    scores: dict[str, Rule] = {
        f"score below {limit}": lambda one, limit=limit: sigmoid(one.before) < limit
        for limit in (0.16, 0.2, 0.25, 0.35, 0.5)
    }
    odds: dict[str, Rule] = {
        f"odds times {factor}": lambda one, factor=factor: one.after - one.before >= math.log(factor)
        for factor in (2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 8)
    }
    print(f"| trusted | else within, dB | {' | '.join(tried)} | untouched, % |\n|---|---|{'---|' * (len(tried) + 1)}")
    for name, rule in {"always": lambda one: True, **scores, **odds}.items():
        for limit in (math.inf,) if name == "always" else (math.inf, 42.0, CLOSE + 0.5):
            cells = [cell([share(one, rule, limit) for one, _ in pairs], pairs) for pairs in tried.values()]
            touched = [changed(photo, share(photo, rule, limit)) for pairs in tried.values() for _, photo in pairs]
            print(f"| {name} | {limit:g} | {' | '.join(cells)} | {100 * np.mean(touched):.1f} |", flush=True)


def trial(readers: list[LightReader], judge: Evaluator, composite: Composite) -> Trial:
    """Change an image, and judge it before and after."""
    change = mixed(opinions(readers, composite), CHOSEN)
    mask = (composite.mask > 0.5).float()
    result = harmonized(composite, change)
    logits = [judge.score(image, composite.mask, WORDS).terms["logit"] for image in (composite.image, result)]
    between = [composite.image.lerp(result, float(step)) for step in STEPS]
    before = metrics.fpsnr(composite.image, composite.real, mask)
    real = composite.image is composite.real
    gains = np.array([0.0 if real else metrics.fpsnr(image, composite.real, mask) - before for image in between])
    return Trial(*logits, metrics.psnr(result, composite.image), gains)


def share(one: Trial, rule: Rule, limit: float) -> float:
    """The share of the change that is made: all that is trusted, else what keeps the result within the limit."""
    return 1.0 if rule(one) else min(1.0, 0.0 if math.isinf(limit) else 10 ** ((one.distance - limit) / 20))


def changed(photo: Trial, made: float) -> bool:
    """Whether a photo is changed by less than 38 dB."""
    return made > 0 and photo.distance - 20 * math.log10(made) < CLOSE


def cell(made: list[float], pairs: list[tuple[Trial, Trial]]) -> str:
    """Mean gain, share made worse, and by more than 1 dB."""
    gains = np.array([np.interp(part, STEPS, one.gains) for part, (one, _) in zip(made, pairs, strict=True)])
    return f"{gains.mean():+.2f}, {100 * (gains < 0).mean():.0f} %, {100 * (gains < -1).mean():.0f} %"


def sigmoid(logit: float) -> float:
    """The probability of a logit."""
    return 1 / (1 + math.exp(-logit))


if __name__ == "__main__":
    main()
