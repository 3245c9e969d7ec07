"""Write composites whose true words are known: photos that no embedded model saw, their objects graded by words.

    python experiments/describers/synthesize.py PHOTOS OUTPUT [--count 200] [--seed 7] [--seen]

PHOTOS holds <source>/*.jpg and <source>/masks/*.png. OUTPUT gets composites/, masks/, reals/ and two files for
describer=file: true.jsonl (the grade's words for the object, the photo's own condition behind it) and neutral.jsonl
(daylight for both).
"""

import argparse
import json
from pathlib import Path

from diffharmon.images import write_image
from diffharmon.training.captions import NEUTRAL
from diffharmon.training.photos import Photos
from diffharmon.training.synthesis import triples


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--seen", action="store_true", help="photos of the training side, for choosing settings")
    options = parser.parse_args()
    photos = Photos(options.photos, options.size, validation=not options.seen, limit=1200 if options.seen else 0)
    made = triples(photos, options.count, options.size, options.seed)
    true, neutral = [], []
    for number, triple in enumerate(made):
        name = f"{number:04}"
        write_image(options.output / "composites" / f"{name}.png", triple.composite)
        write_image(options.output / "masks" / f"{name}.png", (triple.mask > 0.5).float())
        write_image(options.output / "reals" / f"{name}.png", triple.real)
        words = {"name": name, "object": triple.noun, "foreground": list(triple.words), "background": [NEUTRAL]}
        true.append(json.dumps(words))
        neutral.append(json.dumps({**words, "foreground": [NEUTRAL]}))
    (options.output / "true.jsonl").write_text("\n".join(true) + "\n")
    (options.output / "neutral.jsonl").write_text("\n".join(neutral) + "\n")
    print(f"{len(made)} composites in {options.output}")


if __name__ == "__main__":
    main()
