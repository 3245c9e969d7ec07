"""Write triples in iHarmony4's layout, made from photos with object masks, with the words that made them.

    python scripts/synthesize.py OUTPUT --photos PHOTOS [--masks MASKS] [--count 200] [--seed 0]
    python scripts/synthesize.py OUTPUT --mini

OUTPUT gets composite_images/, masks/, real_images/ (PNG), <OUTPUT's name>_test.txt, and words.jsonl for describer=file.
Run them with `dataset=iharmony4 dataset.root=OUTPUT`, and with the true words by adding
`describer=file describer.path=OUTPUT/words.jsonl`.
"""

import argparse
import json
from pathlib import Path

from diffharmon.command import exit_codes
from diffharmon.dataset.mini import Mini
from diffharmon.dataset.synthetic import Synthetic
from diffharmon.errors import InputError
from diffharmon.images import write_image


def write(dataset: Mini | Synthetic, folder: Path) -> int:
    """Write all triples; gives their number.

    Raises:
        InputError: The folder holds triples already, or a photo or mask cannot be used.
    """
    if (folder / "composite_images").exists():
        raise InputError(f"{folder} holds triples already, expected a new folder")
    words, names = [], []
    for index in range(len(dataset)):
        composite, description = dataset[index], dataset.description(index)
        image, number, _ = composite.name.rsplit("_", 2)
        write_image(folder / "composite_images" / f"{composite.name}.png", composite.image)
        write_image(folder / "masks" / f"{image}_{number}.png", composite.mask)
        if composite.real is not None:
            write_image(folder / "real_images" / f"{image}.png", composite.real)
        names.append(f"{composite.name}.png")
        words.append(json.dumps({"name": composite.name, **description.row()}))
    (folder / f"{folder.resolve().name}_test.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    (folder / "words.jsonl").write_text("\n".join(words) + "\n", encoding="utf-8")
    return len(names)


def main() -> None:
    """Run the command; an error that a user can fix is one line and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--mini", action="store_true", help="the built-in benchmark")
    parser.add_argument("--photos", help="folder of photos, or of folders of photos, each with masks/")
    parser.add_argument("--masks", help="folder of the masks, when it is not masks/ beside the photos")
    parser.add_argument("--count", type=int, help="how many; one a mask when left out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.mini == (options.photos is not None):
        parser.error("expected either --mini or --photos")
    with exit_codes():
        dataset = Mini() if options.mini else Synthetic(options.photos, options.masks, options.count, options.seed)
        print(f"{write(dataset, options.output)} triples in {options.output}")


if __name__ == "__main__":
    main()
