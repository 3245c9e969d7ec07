"""Choose of which opinions the reader's change is made and how far it is taken, on the photos for tuning.

    python experiments/reader/choose.py PHOTOS OUTPUT [--count 60]

PHOTOS is the training data. No diffusion model is involved: the change is applied directly, as `method=colour_map`
does, to every composite. Prints the gain for shares of the near background's rule, of CLIP's reading and of the
joint reader, and for strengths.
"""

import argparse
import statistics
import sys
from pathlib import Path

from torch import Tensor

from diffharmon import metrics
from diffharmon.condition.change import change_image
from diffharmon.condition.reader.reading import CLIP, JOINT, NEAR, STRENGTH, LightReader, mean
from diffharmon.config import build, composed
from diffharmon.method.baseline import keep_background
from diffharmon.run import quiet_libraries
from diffharmon.types import Composite, Description
from diffharmon.types.light import LightChange

sys.path.append(str(Path(__file__).resolve().parents[1] / "bars"))
from photos import select

CHOSEN = (NEAR, CLIP, JOINT, STRENGTH)  # the defaults: shares of near rule, CLIP's reading and joint reader, strength
MIXTURES = (
    (1.0, 0.0, 0.0, 1.0),
    (0.0, 1.0, 0.0, 1.0),
    (0.0, 0.0, 0.0, 1.0),
    (0.0, 0.0, 1.0, 1.0),
    (0.1, 0.4, 0.0, 1.0),
    (0.0, 0.0, 0.5, 1.0),
    (0.0, 0.2, 0.5, 1.0),
    (0.0, 0.3, 0.5, 1.0),
    (0.1, 0.2, 0.5, 1.0),
    (0.05, 0.2, 0.6, 1.0),
    (0.05, 0.15, 0.7, 1.0),
    (0.05, 0.2, 0.5, 0.85),
    CHOSEN,
)
WORDS = Description("object", ("daylight",), ("daylight",))
Mixture = tuple[float, float, float, float]
Opinions = tuple[LightChange, ...]


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
    readers = single_readers()
    given = [composites[index] for index in range(len(composites))]
    read = [opinions(readers, one) for one in given]
    print(
        "| share of near rule | of CLIP | of joint reader | strength | gain, dB | worse, % |\n|---|---|---|---|---|---|"
    )
    for mixture in dict.fromkeys(MIXTURES):
        gains = [gain(one, mixed(four, mixture)) for one, four in zip(given, read, strict=True)]
        print(f"| {' | '.join(map(str, mixture))} | {row(gains)} |", flush=True)


def single_readers() -> list[LightReader]:
    """One reader for each opinion: the network, the near background's rule, CLIP and the joint reader."""
    shares = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    return [LightReader(near=near, clip=clip, joint=joint) for near, clip, joint in shares]


def opinions(readers: list[LightReader], composite: Composite) -> Opinions:
    """What each reader of `single_readers` says."""
    return tuple(reader.read(composite) for reader in readers)


def mixed(four: Opinions, mixture: Mixture) -> LightChange:
    """The mean of opinions, as `LightReader` takes it."""
    *shares, strength = mixture
    return mean(list(zip((1 - sum(shares), *shares), four, strict=True))).scaled(strength)


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
