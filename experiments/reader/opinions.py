"""Print what each opinion on the light is worth, alone and mixed, and how well the logits tell composites from photos.

    python experiments/reader/opinions.py PHOTOS OUTPUT [--count 200] [--relighting ARCHIVE]

PHOTOS is the training data, of which only the photos for tuning are used; IHARMONY4_ROOT names a folder in iHarmony4's
layout, to be looked at. Changes are applied directly, nothing is left alone. "Ways" are composites as the reader was
trained on, "held-out ways" those by Reinhard's transfer and by transfer of covariance, "pairs" the harmony
classifier's, "words" composites of `dataset=synthetic`.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from choose import MIXTURES, WORDS, Mixture, Opinions, gain, mixed, readers, row
from omegaconf import OmegaConf
from sklearn.metrics import roc_auc_score

from diffharmon.condition.relighting import Relighting
from diffharmon.config import build, composed
from diffharmon.protocols import Evaluator
from diffharmon.run import quiet_libraries
from diffharmon.training.composite_ways import WAYS, Relight
from diffharmon.training.fit import CONFIG_FOLDER
from diffharmon.training.harmony_samples import HarmonySampler
from diffharmon.training.photos import Photos
from diffharmon.training.reader_samples import ReaderSampler, WordSampler
from diffharmon.types import Composite

sys.path.append(str(Path(__file__).resolve().parents[1] / "bars"))
from photos import select, sources

JUDGES = ("reader", "classifier")
SIDE = 128


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--relighting", type=Path, help="ccHarmony's archive of colour matrices")
    options = parser.parse_args()
    quiet_libraries()
    given = images(options.photos, options.output, options.count, options.relighting)
    ask = readers()
    read = {name: [ask(one) for one in found] for name, found in given.items()}
    titles = [f"{name}, {len(found)}" for name, found in given.items()]
    print(f"| reader's network | CLIP | strength | {' | '.join(titles)} |\n|---|---|---|{'---|' * len(titles)}")
    for mixture in MIXTURES:
        cells = [cell(given[name], read[name], mixture) for name in given]
        print(f"| {' | '.join(map(str, mixture))} | {' | '.join(cells)} |", flush=True)
    print(f"\n| area under the ROC curve | {' | '.join(titles)} |\n|---|{'---|' * len(titles)}")
    for name in JUDGES:
        judge = build(composed([f"evaluator={name}"]).evaluator)
        print(f"| `evaluator={name}` | {' | '.join(area(judge, found) for found in given.values())} |", flush=True)


def images(root: Path, output: Path, count: int, archive: Path | None) -> dict[str, list[Composite]]:
    """Composites of every kind, each with its photo."""
    photos = Photos(sources(root, output, "tune"), SIDE, validation=True)
    relighting = Relighting.from_archive(archive) if archive else None
    ways = WAYS | ({"relight": Relight(relighting)} if relighting else {})
    shares = dict(OmegaConf.load(CONFIG_FOLDER / "recipe" / "reader.yaml").datamodule.shares)
    shares |= {"relight": 0.09} if relighting else {}
    held_out = {"reinhard": 1.0, "covariance": 1.0}
    found = {
        "ways": pairs(ReaderSampler(photos, SIDE, ways, shares), count),
        "held-out ways": pairs(ReaderSampler(photos, SIDE, ways, held_out), count),
        "pairs": pairs(WordSampler(HarmonySampler(photos, SIDE, relighting)), count),
    }
    values = {"dataset.photos": str(select(root, output, "tune")), "dataset.count": count, "dataset.seed": 11}
    named = {"words": composed(["dataset=synthetic"], values), "`mini`": composed(["dataset=mini"])}
    if os.environ.get("IHARMONY4_ROOT"):
        named["triples"] = composed(["dataset=iharmony4"])
    for name, config in named.items():
        dataset = build(config.dataset)
        found[name] = [dataset[index] for index in range(len(dataset))]
    return found


def pairs(sampler: Callable[[torch.Generator], dict[str, torch.Tensor]], count: int) -> list[Composite]:
    """Pairs of training as composites with their photos."""
    drawn = [sampler(torch.Generator().manual_seed(index)) for index in range(count)]
    return [Composite(f"{n}", "", one["image"][0], one["parts"][:1], one["image"][1]) for n, one in enumerate(drawn)]


def cell(given: list[Composite], read: list[Opinions], mixture: Mixture) -> str:
    """Mean gain and share made worse."""
    gains = [gain(one, mixed(three, mixture)) for one, three in zip(given, read, strict=True)]
    return f"{row(gains).replace(' |', ',')} %"


def area(judge: Evaluator, given: list[Composite]) -> str:
    """Area under the ROC curve of photos against composites."""
    scores = [[judge.score(image, one.mask, WORDS).value for image in (one.image, one.real)] for one in given]
    return f"{roc_auc_score([0, 1] * len(given), [value for pair in scores for value in pair]):.3f}"


if __name__ == "__main__":
    main()
