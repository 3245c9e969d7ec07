"""How well the harmony classifier tells Lalonde and Efros' cut-and-paste composites from held-out real photos.

    python experiments/embedded/lalonde.py <composites/lalonde_labelme> <photos>

The real side is the held-out photos of the training root with their object masks, of the same database and of all.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from diffharmon.evaluator.harmony_network import HarmonyNetwork
from diffharmon.files import ASSETS
from diffharmon.training.photos import Photos

WEIGHTS = ASSETS / "evaluator"


def read(path: Path, mode: str) -> torch.Tensor:
    """Read an image at the network's size, channels first in [0, 1]."""
    with Image.open(path) as opened:
        values = np.asarray(opened.convert(mode).resize((128, 128), Image.Resampling.LANCZOS), np.float32) / 255
    return torch.from_numpy(values.reshape(128, 128, -1).copy()).permute(2, 0, 1)


@torch.no_grad()
def main(composites: Path, photos: Path) -> None:
    """Print both areas under the ROC curve with the number of images behind them."""
    network = HarmonyNetwork.from_pretrained(WEIGHTS).eval()

    def score(image: torch.Tensor, mask: torch.Tensor) -> float:
        return network(image[None], mask[None]).item()

    masks = {path.stem: path for path in (composites / "mask").iterdir()}
    pasted = [
        score(read(path, "RGB"), read(masks[path.stem], "L"))
        for path in sorted((composites / "composite").iterdir())
        if path.stem in masks
    ]
    real = Photos(photos, 128, validation=True)
    scores = {
        index: score(real.image(real.masks[index].photo), real.mask(index)) for index in real.usable_masks(0.01, 0.9)
    }
    sources = {index: real.records[real.masks[index].photo].source for index in scores}
    for name in ("lalonde_labelme", ""):
        kept = [value for index, value in scores.items() if sources[index].startswith(name)]
        labels = [1] * len(kept) + [0] * len(pasted)
        auc = roc_auc_score(labels, kept + pasted)
        print(f"{name or 'all sources'}: AUC {auc:.3f}, {len(kept)} real masks, {len(pasted)} composites")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
