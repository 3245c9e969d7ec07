"""Choose of which opinions the reader's change is made and how far it is taken, on the photos for tuning.

    python experiments/reader/choose.py PHOTOS OUTPUT [--count 60]

PHOTOS is the training data. No diffusion model is involved: the change is applied directly, as `method=colour_map`
does, to every composite. Prints the gain for shares of other opinions beside the joint reader's, and for strengths.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from diffharmon import metrics
from diffharmon.condition.change import change_image
from diffharmon.condition.reader.evidence import SIDE, gather
from diffharmon.condition.reader.joint import JointNetwork
from diffharmon.condition.reader.reading import WEIGHTS, shipped_networks, view
from diffharmon.condition.reader.statistics import foreground_mean
from diffharmon.config import build, composed
from diffharmon.method.baseline import keep_background
from diffharmon.run import quiet_libraries
from diffharmon.types import Composite, Description
from diffharmon.types.light import LightChange

sys.path.append(str(Path(__file__).resolve().parents[1] / "bars"))
from photos import select

MIXTURES = (
    (1.0, 0.0, 1.0),
    (0.0, 1.0, 1.0),
    (0.0, 0.0, 1.0),
    (0.1, 0.0, 1.0),
    (0.0, 0.1, 1.0),
    (0.0, 0.2, 1.0),
    (0.1, 0.1, 1.0),
    (0.2, 0.2, 1.0),
    (0.1, 0.1, 0.85),
    (0.1, 0.1, 1.15),
)  # shares of the network alone and of CLIP's reading, the rest the joint reader's; strength
WORDS = Description("object", ("daylight",), ("daylight",))
Mixture = tuple[float, float, float]
Opinions = tuple[LightChange, LightChange, LightChange]
Ask = Callable[[Composite], Opinions]


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
    ask = readers()
    given = [composites[index] for index in range(len(composites))]
    read = [ask(one) for one in given]
    print("| share of the reader's network | of CLIP | strength | gain, dB | worse, % |\n|---|---|---|---|---|")
    for mixture in MIXTURES:
        gains = [gain(one, mixed(three, mixture)) for one, three in zip(given, read, strict=True)]
        print(f"| {' | '.join(map(str, mixture))} | {row(gains)} |", flush=True)


def readers() -> Ask:
    """Load all readers; what is returned asks the joint reader, the reader's network and CLIP."""
    network, networks = JointNetwork.from_pretrained(WEIGHTS).eval(), shipped_networks()

    @torch.no_grad()
    def ask(composite: Composite) -> Opinions:
        image, mask = view(composite, SIDE)
        found = gather(image[None], torch.from_numpy(mask)[None], networks, network.deep)
        centre = foreground_mean(found.measured)[0]
        joint, own, words = network(found.measured, found.values)[0], *found.opinions
        changes = [LightChange(centre, six[0, :3], six[0, 3:], torch.zeros(6)) for six in (joint, own, words)]
        return changes[0], changes[1], changes[2]

    return ask


def mixed(three: Opinions, mixture: Mixture) -> LightChange:
    """The mean of opinions, of the foreground as the joint reader sees it."""
    alone, words, strength = mixture
    change = three[0]
    for share, left, other in ((alone, 1.0, three[1]), (words, 1.0 - alone, three[2])):
        change = change.blend(other, share / left) if share else change
    return change.scaled(strength)


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
