"""Choose when a composite is left alone: the tuning part of the held-out photos, offline describer, classifier.

    python experiments/bars/choose.py PHOTOS OUTPUT [--count 120] [--descriptions 2] [OVERRIDE ...]

PHOTOS is the training data. Every composite, and its untouched photo, is harmonized by as many descriptions as given;
then the rule "leave alone what is judged at least this harmonious, else take the result that is judged best" is applied
for a row of thresholds. Prints the table, and the area under the ROC curve of the classifier on composites against
untouched photos.
"""

import argparse
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

from photos import CLOSE, select
from sklearn.metrics import roc_auc_score

from diffharmon import metrics
from diffharmon.config import build, composed
from diffharmon.images import from_uint8, to_uint8
from diffharmon.run import quiet_libraries
from diffharmon.types import Attempt, Composite, ignore

THRESHOLDS = (0.18, 0.22, 0.27, 0.32, 0.38, 0.44, 0.5, 0.56, 1.01)


@dataclass(frozen=True)
class Seen:
    """One image: is it a composite, how harmonious it is judged, and the value of the result judged best."""

    composite: bool
    score: float
    value: float


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--descriptions", type=int, default=2)
    parser.add_argument("override", nargs="*", help="further Hydra overrides")
    options = parser.parse_intermixed_args()
    quiet_libraries()
    photos = str(select(options.photos, options.output, "tune"))
    values = {"dataset.photos": photos, "dataset.count": options.count, "dataset.seed": 11}
    always = ["evaluator.recommended.skip_above=null", f"evaluator.recommended.descriptions={options.descriptions}"]
    config = composed(["dataset=synthetic", *always, *options.override], values)
    dataset, method = build(config.dataset), build(config.method)
    seen = []
    for index in range(len(dataset)):
        composite = dataset[index]
        for given in (composite, replace(composite, image=composite.real)):
            attempts = method.harmonize(given.blind(), ignore).attempts
            best = max(attempts[1:], key=lambda attempt: attempt.score.value)
            seen.append(Seen(given is composite, attempts[0].score.value, value(given, best)))
    area = roc_auc_score([not one.composite for one in seen], [one.score for one in seen])
    print(f"AUC {area:.3f}, {len(seen)} images")
    print("| left alone from | mean gain, dB | better, % | worse, % | worst, dB | untouched photos changed, % |")
    print("|---|---|---|---|---|---|")
    for threshold in THRESHOLDS:
        print(f"| {threshold} | {row(seen, threshold)} |")


def value(given: Composite, best: Attempt) -> float:
    """The gain in fPSNR of a composite's result, or 1 for a photo that was visibly changed."""
    result = from_uint8(to_uint8(best.image))
    if given.image is given.real:
        return float(metrics.psnr(result, given.real) < CLOSE)
    mask = (given.mask > 0.5).float()
    return metrics.fpsnr(result, given.real, mask) - metrics.fpsnr(given.image, given.real, mask)


def row(seen: list[Seen], threshold: float) -> str:
    """What the rule gives at a threshold."""
    gains = [one.value if one.score < threshold else 0.0 for one in seen if one.composite]
    changed = [one.value if one.score < threshold else 0.0 for one in seen if not one.composite]
    better, worse = (100 * sum(wanted) / len(gains) for wanted in ([g > 0 for g in gains], [g < 0 for g in gains]))
    photos = 100 * statistics.mean(changed)
    return f"{statistics.mean(gains):+.2f} | {better:.0f} | {worse:.0f} | {min(gains):+.2f} | {photos:.0f}"


if __name__ == "__main__":
    main()
