"""What a photo of 24 megapixels costs outside the model: CPU seconds and peak memory of each stage.

    python experiments/speed/full_size.py OUTPUT

Run it in two checkouts to compare them. The photo is made in a process of its own, so that its memory does not count:
scikit-image's coffee cup enlarged, with noise.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
import torch

from diffharmon import images
from diffharmon.recomposer.detail import Detail
from diffharmon.results import panels
from diffharmon.types import Edited

HEIGHT, WIDTH = 4000, 6000
CANVAS = 128


def make_files(folder: Path) -> tuple[Path, Path]:
    """Write photo and mask."""
    rng = np.random.default_rng(0)
    photo = cv2.resize(skimage.data.coffee(), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    photo = np.clip(photo + rng.normal(0, 3, photo.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, (WIDTH // 2, HEIGHT // 2), (WIDTH // 4, HEIGHT // 3), 0, 0, 360, 255, -1)
    files = folder / "photo.png", folder / "mask.png"
    for path, picture in zip(files, (photo[..., ::-1], mask), strict=True):
        cv2.imwrite(str(path), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return files


def stage(name: str, work: Callable[[], Any]) -> Any:
    """Do the work of a stage and print its line of the table; peak memory is that of the process so far."""
    begun = time.process_time()
    result = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"| {name} | {time.process_time() - begun:.2f} | {peak:.0f} |", flush=True)
    return result


def main() -> None:
    """Measure every stage once."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        photo, mask_file = other.submit(make_files, folder).result()
    print("| stage | CPU s | peak so far, MiB |\n|---|---|---|")
    stage("nothing: what the imports take", lambda: None)
    picture = stage("read photo", lambda: images.read_image(photo))
    mask = stage("read mask", lambda: images.read_mask(mask_file))
    composite = picture.composite("photo", "", mask)
    small = images.resize(composite.image, (CANVAS, CANVAS))
    edited = Edited(small, (small * 1.2).clamp(0, 1), small, None)
    result = stage("recompose", lambda: Detail().recompose(composite, composite.image, edited))
    path = folder / "harmonized.png"
    stage("write harmonized.png", lambda: images.write_result(path, composite, result))
    stage("check its background", lambda: images.check_background(path, composite))
    parts = stage("shrink pictures", lambda: panels.comparison_parts(composite.image, result, composite.mask, None))
    stage("comparison.png", lambda: panels.write(folder / "comparison.png", panels.strip(parts)))
    maps = {name: torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) for name in "abcd"}
    first = next(iter(parts.values()))
    stage("attention.png", lambda: panels.write(folder / "attention.png", panels.attention_strip(first, maps)))


if __name__ == "__main__":
    main()
