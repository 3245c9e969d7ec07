"""How well evaluators tell composites from real photos: on pairs as the classifier's, and under words of the reader.

Prints the area under the ROC curve over all pictures and the share of pairs in the right order.

    python experiments/prior/measure.py PHOTOS --pairs 200
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from diffharmon.config import build, composed
from diffharmon.describer.reader import Reader
from diffharmon.errors import DiffharmonError
from diffharmon.evaluator.prior import Prior
from diffharmon.protocols import Evaluator
from diffharmon.training.harmony_samples import HarmonySampler
from diffharmon.training.photos import Photos
from diffharmon.types import Composite, Description

SIZE = 128
LEVELS = (0.3, 0.5, 0.7)
GENERIC = Description("object", ("dull",), ("bright",))


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("photos", type=Path, help="folder of photos with masks; the held-out ones are used")
    options.add_argument("--pairs", type=int, default=200)
    given = options.parse_args()
    photos = Photos(given.photos, SIZE, validation=True)
    sampler, generator = HarmonySampler(photos, SIZE), torch.Generator().manual_seed(0)
    reader = Reader()
    pairs: list[tuple[Composite, torch.Tensor, Description]] = []
    while len(pairs) < given.pairs:
        drawn = sampler(generator)
        composite = Composite(f"pair {len(pairs)}", "held out", drawn["composite"], drawn["mask"])
        try:
            words = reader.describe(composite)
        except DiffharmonError:
            continue
        pairs.append((composite, drawn["real"], words))
    print(f"{len(pairs)} pairs of {SIZE} px from {len(photos)} held-out photos\n")
    print("| evaluator | words | area under the ROC curve | right order |\n|---|---|---|---|")
    backbone = build(composed([]).backbone)
    judges: dict[str, Evaluator] = {
        name: build(composed([f"evaluator={name}"]).evaluator) for name in ("classifier", "reader", "clip")
    }
    judges |= {f"prior, level {level}": Prior(backbone, (level,), draws=1) for level in LEVELS}
    for kind in ("of the composite, by the reader", "generic"):
        by_level = []
        for name, judge in judges.items():
            if kind == "generic" and name in ("classifier", "reader"):
                continue  # words play no part
            found = []
            for one, real, words in pairs:
                used = GENERIC if kind == "generic" else words
                found.append([judge.score(image, one.mask, used).value for image in (one.image, real)])
            show(name, "none" if name in ("classifier", "reader") else kind, np.array(found))
            by_level += [np.array(found)] * name.startswith("prior")
        show("prior, all three levels", kind, np.mean(by_level, axis=0))


def show(name: str, kind: str, scores: np.ndarray) -> None:
    """Print one line, from the scores of composites and of real photos."""
    area = roc_auc_score(np.tile([0, 1], len(scores)), scores.ravel())
    print(f"| {name} | {kind} | {area:.3f} | {100 * (scores[:, 1] > scores[:, 0]).mean():.0f} % |", flush=True)


if __name__ == "__main__":
    main()
