"""Choose how far the reader's change is taken and when a composite is left alone, on the photos for tuning.

    python experiments/reader/choose.py PHOTOS OUTPUT [--count 60]

PHOTOS is the training data. No diffusion model is involved: the change is applied directly, as `method=colour_map`
does. Prints, for shares of the near background's rule and of CLIP's reading and for strengths, the gain with and
without leaving alone, and, for a row of thresholds of `evaluator=reader`, what is left alone.
"""

import argparse
import statistics
import sys
from pathlib import Path

from sklearn.metrics import roc_auc_score
from torch import Tensor

from diffharmon import metrics
from diffharmon.condition.change import change_image
from diffharmon.condition.reader.reading import CLIP, NEAR, STRENGTH, LightReader
from diffharmon.config import build, composed
from diffharmon.method.baseline import keep_background
from diffharmon.run import quiet_libraries
from diffharmon.types import Composite, Description
from diffharmon.types.light import LightChange

sys.path.append(str(Path(__file__).resolve().parents[1] / "bars"))
from photos import select, untouched

CLOSE = 38.0  # dB over the whole frame: a photo changed by less counts as left alone
SKIP = float(composed(["evaluator=reader"]).evaluator.recommended.skip_above)
THRESHOLDS = (0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 1.01)
CHOSEN = (NEAR, CLIP, STRENGTH)  # the defaults: share of the near rule, of CLIP's reading, and strength
MIXTURES = (
    (1.0, 0.0, 1.0),
    (0.0, 1.0, 1.0),
    (0.0, 0.0, 1.0),
    (0.25, 0.0, 1.0),
    (0.0, 0.25, 1.0),
    (0.1, 0.2, 1.0),
    (0.0, 0.4, 1.0),
    (0.0, 0.5, 1.0),
    (0.1, 0.4, 0.75),
    CHOSEN,
)
WORDS = Description("object", ("daylight",), ("daylight",))
Opinions = tuple[LightChange, LightChange, LightChange]


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
    readers = [LightReader(near=near, clip=clip) for near, clip in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
    evaluator = build(composed(["evaluator=reader"]).evaluator)
    given, real = ([data[index] for index in range(len(data))] for data in (composites, photos))
    read, seen = ([opinions(readers, one) for one in images] for images in (given, real))
    scores, kept = ([evaluator.score(one.image, one.mask, WORDS).value for one in images] for images in (given, real))
    print(
        "| share of near rule | of CLIP | strength | gain, dB | worse, % | gain with leaving alone, dB | worse, % |"
        "\n|---|---|---|---|---|---|---|"
    )
    for mixture in dict.fromkeys(MIXTURES):
        gains = [gain(one, mixed(three, mixture)) for one, three in zip(given, read, strict=True)]
        left = [value if score < SKIP else 0.0 for value, score in zip(gains, scores, strict=True)]
        print(f"| {' | '.join(map(str, mixture))} | {row(gains)} | {row(left)} |", flush=True)
    gains = [gain(one, mixed(three, CHOSEN)) for one, three in zip(given, read, strict=True)]
    results = [harmonized(one, mixed(three, CHOSEN)) for one, three in zip(real, seen, strict=True)]
    changed = [metrics.psnr(result, one.image) < CLOSE for result, one in zip(results, real, strict=True)]
    labels = [True] * len(real) + [False] * len(given)
    print(f"\nAUC {roc_auc_score(labels, kept + scores):.3f}, {len(given)} composites, {len(real)} untouched photos\n")
    print("| left alone from | gain, dB | worse, % | untouched photos changed, % |\n|---|---|---|---|")
    for threshold in THRESHOLDS:
        left = [value if score < threshold else 0.0 for value, score in zip(gains, scores, strict=True)]
        touched = [one and score < threshold for one, score in zip(changed, kept, strict=True)]
        print(f"| {threshold} | {row(left)} | {100 * statistics.mean(touched):.0f} |")


def opinions(readers: list[LightReader], composite: Composite) -> Opinions:
    """What the network, the near background's rule and CLIP each say."""
    network, rule, clip = (reader.read(composite).change for reader in readers)
    return network, rule, clip


def mixed(three: Opinions, mixture: tuple[float, float, float]) -> LightChange:
    """The mean of opinions, as `LightReader` takes it."""
    (network, rule, clip), (near, share, strength) = three, mixture
    found = network.blend(clip, share / (1 - near)) if near < 1 else network
    return found.blend(rule, near).scaled(strength)


def harmonized(composite: Composite, change: LightChange) -> Tensor:
    """The composite with its foreground changed, as `method=colour_map` does it."""
    return keep_background(composite, change_image(change, composite.image, composite.mask))


def gain(composite: Composite, change: LightChange) -> float:
    """Gain in foreground PSNR."""
    mask = (composite.mask > 0.5).float()
    after = metrics.fpsnr(harmonized(composite, change), composite.real, mask)
    return after - metrics.fpsnr(composite.image, composite.real, mask)


def row(gains: list[float]) -> str:
    """Mean, and the share made worse."""
    return f"{statistics.mean(gains):+.2f} | {100 * sum(value < 0 for value in gains) / len(gains):.0f}"


if __name__ == "__main__":
    main()
