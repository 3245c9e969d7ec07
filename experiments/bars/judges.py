"""How well evaluators tell composites from photos: the harmony classifier's own pairs, and cut-and-paste composites.

    python experiments/bars/judges.py PHOTOS COMPOSITES [--relighting ARCHIVE] [--count 200] [EVALUATOR ...]

PHOTOS is the training data; only held-out photos of it are used. COMPOSITES is a folder with `composite` and `mask` of
Lalonde and Efros; the real side of those is the held-out photos of the same database, and of all. Prints areas under
the ROC curve.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from diffharmon.condition.relighting import Relighting
from diffharmon.config import build, composed
from diffharmon.protocols import Evaluator
from diffharmon.training.harmony_samples import HarmonySampler
from diffharmon.training.photos import Photos
from diffharmon.types import Description

WORDS = Description("object", ("daylight",), ("daylight",))


def read(path: Path, mode: str) -> torch.Tensor:
    """Read an image at the networks' size, channels first in [0, 1]."""
    with Image.open(path) as opened:
        values = np.asarray(opened.convert(mode).resize((128, 128), Image.Resampling.LANCZOS), np.float32) / 255
    return torch.from_numpy(values.reshape(128, 128, -1).copy()).permute(2, 0, 1)


def area(real: list[float], pasted: list[float]) -> str:
    """The area under the ROC curve, with the number of images behind it."""
    value = roc_auc_score([1] * len(real) + [0] * len(pasted), real + pasted)
    return f"AUC {value:.3f} ({len(real)} real, {len(pasted)} composites)"


def pairs(evaluator: Evaluator, photos: Photos, relighting: Relighting | None, count: int) -> str:
    """The area on pairs as `recipe=classifier` validates on."""
    sampler = HarmonySampler(photos, 128, relighting)
    real, composites = [], []
    for index in range(count):
        drawn = sampler(torch.Generator().manual_seed(index))
        real.append(evaluator.score(drawn["real"], drawn["mask"], WORDS).value)
        composites.append(evaluator.score(drawn["composite"], drawn["mask"], WORDS).value)
    return area(real, composites)


def pasted(evaluator: Evaluator, photos: Photos, composites: Path) -> list[str]:
    """The areas on cut-and-paste composites against held-out photos of the same database, and of all."""
    masks = {path.stem: path for path in (composites / "mask").iterdir()}
    given = [path for path in sorted((composites / "composite").iterdir()) if path.stem in masks]
    low = [evaluator.score(read(path, "RGB"), read(masks[path.stem], "L"), WORDS).value for path in given]
    high = {
        index: evaluator.score(photos.image(photos.masks[index].photo), photos.mask(index), WORDS).value
        for index in photos.usable_masks(0.01, 0.9)
    }
    sources = {index: photos.records[photos.masks[index].photo].source for index in high}
    same = [value for index, value in high.items() if sources[index].startswith("lalonde")]
    return [f"same database: {area(same, low)}", f"all photos: {area(list(high.values()), low)}"]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("composites", type=Path)
    parser.add_argument("--relighting", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("evaluators", nargs="*", default=["reader", "classifier"])
    options = parser.parse_intermixed_args()
    photos = Photos(options.photos, 128, validation=True)
    relighting = Relighting.from_archive(options.relighting) if options.relighting else None
    for name in options.evaluators:
        evaluator = build(composed([f"evaluator={name}"]).evaluator)
        print(f"{name}, pairs: {pairs(evaluator, photos, relighting, options.count)}", flush=True)
        for line in pasted(evaluator, photos, options.composites):
            print(f"{name}, Lalonde, {line}", flush=True)


if __name__ == "__main__":
    main()
