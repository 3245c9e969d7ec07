"""Make object masks for training photos that have none, and further ones for those that have some.

    python scripts/make_masks.py PHOTOS OUTPUT [--marked ecssd,human_seg,coco128_seg] [--regions COUNT]

PHOTOS is the training data, `<source>/*.jpg` with `<source>/masks/<stem>__<k>__<class>.png`. OUTPUT becomes the same
tree: links to all photos, labels and masks, and the masks that were made, numbered from 90 on. The head learns from the
photos of the sources in --marked, whose masks name what stands out; photos held out from training teach it nothing.
Needs `pip install '.[train-reader]'`. Prints the overlap on held-out photos and how many masks a source got.

With --regions OUTPUT gets no objects but up to COUNT regions of even colour a photo, numbered from 70 on, and none of
the masks that are there.
"""

import argparse
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from diffharmon.training import object_masks
from diffharmon.training.colour_regions import colour_regions
from diffharmon.training.photos import is_held_out
from diffharmon.training.reader import imagenet

FIRST, FIRST_REGION = 90, 70  # numbers of the first object and the first region that are made
SAME = 0.3  # intersection over union from which a mask is one that the photo has
BATCH = 8


def read(path: Path) -> np.ndarray:
    """Read a photo as RGB bytes."""
    return cv2.cvtColor(np.asarray(cv2.imread(str(path))), cv2.COLOR_BGR2RGB)


def masks_of(photo: Path) -> list[Path]:
    """The masks that a photo has."""
    return sorted((photo.parent / "masks").glob(f"{photo.stem}__*.png"))


def marked(photo: Path, side: int) -> np.ndarray:
    """Everything that is marked in a photo, as the share of each cell of a square, in [0, 1]."""
    covers = [np.asarray(cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)) for mask in masks_of(photo)]
    return np.max([cv2.resize(cover, (side, side), interpolation=cv2.INTER_AREA) for cover in covers], 0) / 255


def learn(network: Any, photos: list[Path]) -> object_masks.MaskHead:
    """Train the head on photos, and print what it reaches on those held out."""
    known = [photo for photo in photos if masks_of(photo)]
    seen = [photo for photo in known if not is_held_out(photo.parent.name, photo.stem)]
    images, covers = [read(photo) for photo in seen], [marked(photo, object_masks.SIDE // 4) for photo in seen]
    parts = [object_masks.features(network, images[at : at + BATCH]) for at in range(0, len(images), BATCH)]
    levels = tuple(torch.cat(level) for level in zip(*parts, strict=True))
    head = object_masks.train(levels, torch.from_numpy(np.stack(covers)).float()[:, None])
    overlaps = []
    for photo in set(known) - set(seen):
        square = (object_masks.SIDE, object_masks.SIDE)
        found = object_masks.probability(head, object_masks.features(network, [read(photo)]), square) > 0.5
        truth = cv2.resize(marked(photo, object_masks.SIDE // 4), square) > 0.5
        overlaps.append((found & truth).sum() / max(1, (found | truth).sum()))
    if overlaps:
        print(
            f"{len(seen)} photos learnt from; mean overlap on {len(overlaps)} others {np.mean(overlaps):.3f}",
            flush=True,
        )
    return head


def make(network: Any, head: object_masks.MaskHead, photo: Path, folder: Path) -> int:
    """Write the masks of one photo that it does not have yet; gives their number."""
    image, count = read(photo), 0
    had = [np.asarray(cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)) > 127 for mask in masks_of(photo)]
    found = object_masks.probability(head, object_masks.features(network, [image]), image.shape[:2])
    for mask in object_masks.objects(image, found):
        if any((mask & other).sum() > SAME * (mask | other).sum() for other in had if other.shape == mask.shape):
            continue
        write(mask, folder / f"{photo.stem}__{FIRST + count}__object.png")
        count += 1
    return count


def cut(photo: Path, folder: Path, count: int) -> int:
    """Write regions of even colour of one photo; gives their number."""
    found = colour_regions(read(photo), count, zlib.crc32(photo.stem.encode()))
    for number, mask in enumerate(found):
        write(mask, folder / f"{photo.stem}__{FIRST_REGION + number}__region.png")
    return len(found)


def write(mask: np.ndarray, path: Path) -> None:
    """Write a mask, one bit a pixel."""
    cv2.imwrite(str(path), mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])


def link(source: Path, target: Path, masks: bool) -> None:
    """Lay a source's photos and labels out as links, and its masks if wanted."""
    (target / "masks").mkdir(parents=True, exist_ok=True)
    for path in [*source.glob("*.jpg"), *source.glob("labels.tsv"), *(source.glob("masks/*.png") if masks else ())]:
        place = target / path.relative_to(source)
        if not place.exists():
            place.symlink_to(path.resolve())


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--marked", default="ecssd,human_seg,coco128_seg", help="sources to learn from, with commas")
    parser.add_argument("--regions", type=int, metavar="COUNT", help="make regions of even colour instead of objects")
    options = parser.parse_args()
    sources = sorted(path for path in options.photos.iterdir() if path.is_dir())
    names = options.marked.split(",")
    unknown = sorted(set(names) - {path.name for path in sources})
    if unknown and options.regions is None:
        parser.error(
            f"no sources {', '.join(unknown)} in {options.photos}; there are {[path.name for path in sources]}"
        )
    network, head = None, None
    if options.regions is None:
        network = imagenet()
        head = learn(network, [photo for name in names for photo in sorted((options.photos / name).glob("*.jpg"))])
    for source in sources:
        target = options.output / source.name
        link(source, target, masks=head is not None)
        photos, folder = sorted(source.glob("*.jpg")), target / "masks"
        if head is None:
            made = sum(cut(photo, folder, options.regions) for photo in photos)
        else:
            made = sum(make(network, head, photo, folder) for photo in photos)
        print(f"{source.name}: {made} masks for {len(photos)} photos", flush=True)


if __name__ == "__main__":
    main()
