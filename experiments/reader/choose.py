"""Choose how far the reader's change is taken and when a composite is left alone, on the photos for tuning.

    python experiments/reader/choose.py PHOTOS OUTPUT [--count 60]

PHOTOS is the training data. No diffusion model is involved: the change is applied directly, as `method=colour_map`
does. Prints, for shares of the near background's rule and strengths, the gain with and without leaving alone, and, for
a row of thresholds, what is left alone.
"""

import argparse
import statistics
import sys
from pathlib import Path

from sklearn.metrics import roc_auc_score
from torch import Tensor

from diffharmon import metrics
from diffharmon.condition.change import change_image
from diffharmon.condition.reader.reading import LightReader, Reading
from diffharmon.config import build, composed
from diffharmon.method.baseline import keep_background
from diffharmon.run import quiet_libraries
from diffharmon.types import Composite

sys.path.append(str(Path(__file__).resolve().parents[1] / "bars"))
from photos import select, untouched

CLOSE = 38.0  # dB over the whole frame: a photo changed by less counts as left alone
SKIP = 0.045  # evaluator.recommended.skip_above of evaluator=reader
THRESHOLDS = (0.02, 0.03, 0.045, 0.06, 0.08, 0.1, 0.2, 1.01)
SHARES = (0.0, 0.25, 0.5, 0.75)
STRENGTHS = (0.75, 1.0)
CHOSEN = (0.25, 0.75)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    quiet_libraries()
    chosen = select(options.photos, options.output, "tune")
    values = {"dataset.photos": str(chosen), "dataset.count": options.count, "dataset.seed": 11}
    composites = build(composed(["dataset=synthetic"], values).dataset)
    folder = untouched(chosen, options.output)
    parts = {"images": folder / "images", "masks": folder / "masks", "reals": folder / "images"}
    settings = {f"dataset.{name}": str(path) for name, path in parts.items()}
    photos = build(composed(["dataset=folder"], settings).dataset)
    network, rule = LightReader(near=0.0), LightReader(near=1.0)
    given = [composites[index] for index in range(len(composites))]
    pairs = [(network.read(one), rule.read(one)) for one in given]
    scores = [1 - reading.altered for reading, _ in pairs]
    print(
        "| share of near rule | strength | gain, dB | worse, % | gain with leaving alone, dB | worse, % |"
        "\n|---|---|---|---|---|---|"
    )
    for share in SHARES:
        for strength in STRENGTHS:
            gains = [gain(one, *pair, share, strength) for one, pair in zip(given, pairs, strict=True)]
            kept = [value if score < SKIP else 0.0 for value, score in zip(gains, scores, strict=True)]
            print(f"| {share} | {strength} | {row(gains)} | {row(kept)} |", flush=True)
    gains = [gain(one, *pair, *CHOSEN) for one, pair in zip(given, pairs, strict=True)]
    real = [photos[index] for index in range(len(photos))]
    seen = [(network.read(one), rule.read(one)) for one in real]
    kept_scores = [1 - reading.altered for reading, _ in seen]
    results = [harmonized(one, *pair, *CHOSEN) for one, pair in zip(real, seen, strict=True)]
    changed = [metrics.psnr(result, one.image) < CLOSE for result, one in zip(results, real, strict=True)]
    labels = [True] * len(real) + [False] * len(given)
    print(
        f"\nAUC {roc_auc_score(labels, kept_scores + scores):.3f}, {len(given)} composites, "
        f"{len(real)} untouched photos\n"
    )
    print("| left alone from | gain, dB | worse, % | untouched photos changed, % |\n|---|---|---|---|")
    for threshold in THRESHOLDS:
        kept = [value if score < threshold else 0.0 for value, score in zip(gains, scores, strict=True)]
        touched = [one and score < threshold for one, score in zip(changed, kept_scores, strict=True)]
        print(f"| {threshold} | {row(kept)} | {100 * statistics.mean(touched):.0f} |")


def harmonized(composite: Composite, network: Reading, rule: Reading, share: float, strength: float) -> Tensor:
    """The composite with its foreground changed, as `method=colour_map` does it."""
    change = network.change.blend(rule.change, share).scaled(strength)
    return keep_background(composite, change_image(change, composite.image, composite.mask))


def gain(composite: Composite, network: Reading, rule: Reading, share: float, strength: float) -> float:
    """Gain in foreground PSNR."""
    mask = (composite.mask > 0.5).float()
    after = metrics.fpsnr(harmonized(composite, network, rule, share, strength), composite.real, mask)
    return after - metrics.fpsnr(composite.image, composite.real, mask)


def row(gains: list[float]) -> str:
    """Mean, and the share made worse."""
    return f"{statistics.mean(gains):+.2f} | {100 * sum(value < 0 for value in gains) / len(gains):.0f}"


if __name__ == "__main__":
    main()
