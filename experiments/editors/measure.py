"""What is lost when an edited picture comes back moved, resized and recompressed, against the same edit left in place.

The edits are oracles: the true photo as an editor would return it. Prints one line a change: foreground PSNR, loss
against the unmoved edit, and how often the result is worse than the composite or was refused.

    python experiments/editors/measure.py
    python experiments/editors/measure.py --photos DIR --count 40
    python experiments/editors/measure.py --large
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from diffharmon import images
from diffharmon.dataset.mini import Mini
from diffharmon.dataset.synthetic import Synthetic
from diffharmon.errors import ModelError
from diffharmon.method.baseline import keep_background
from diffharmon.method.editor import Editor
from diffharmon.metrics.pixels import fpsnr
from diffharmon.recomposer.detail import Detail
from diffharmon.types import Composite


@dataclass(frozen=True)
class Change:
    """How an editor moves what it returns; the shift is in fractions of the sides, the size in pixels."""

    degrees: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    size: tuple[int, int] | None = None


CHANGES: Mapping[str, Change] = {
    "in place": Change(),
    "zoom 1.5 %, shift 4 px of 512": Change(zoom=1.015, shift=(4 / 512, -3 / 512)),
    "rotation 2 degrees": Change(degrees=2),
    "rotation -2 degrees": Change(degrees=-2),
    "zoom 4 %": Change(zoom=1.04),
    "zoom -4 %": Change(zoom=0.96),
    "shift 5 %, -5 %": Change(shift=(0.05, -0.05)),
    "shift -5 %, 5 %": Change(shift=(-0.05, 0.05)),
    "non-square, 900 x 500": Change(size=(900, 500)),
    "square squash, 1024 px": Change(size=(1024, 1024)),
    "all at once": Change(degrees=2, zoom=1.04, shift=(-0.05, 0.05), size=(1024, 1024)),
    "all at once, the other way": Change(degrees=-2, zoom=0.96, shift=(0.05, -0.05), size=(900, 500)),
}


def moved(image: np.ndarray, change: Change, quality: int = 85) -> torch.Tensor:
    """Turn, zoom, shift, resize and recompress a picture; what comes in at the border is its mirror image."""
    height, width = image.shape[:2]
    turn = np.deg2rad(change.degrees)
    linear = change.zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = np.array([width / 2, height / 2])
    offset = centre - linear @ centre + np.array(change.shift) * (width, height)
    warp = np.hstack((linear, offset[:, None]))
    picture = cv2.warpAffine(image, warp, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    if change.size is not None:
        picture = cv2.resize(picture, change.size, interpolation=cv2.INTER_CUBIC)
    eight = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    coded = cv2.imencode(".jpg", eight[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return images.from_uint8(torch.from_numpy(np.ascontiguousarray(decoded[..., ::-1])).permute(2, 0, 1))


def measure(method: Editor, composite: Composite, change: Change) -> tuple[float, float]:
    """Return foreground PSNR in dB (NaN for a refusal) and the seconds it took."""
    assert composite.real is not None
    edit = moved(np.ascontiguousarray(composite.real.permute(1, 2, 0).numpy()), change)
    start = time.perf_counter()
    try:
        result = method.bring_back(composite.blind(), edit)
    except ModelError:
        return float("nan"), time.perf_counter() - start
    mask = (composite.mask > 0.5).float()
    return fpsnr(images.from_uint8(images.to_uint8(result)), composite.real, mask), time.perf_counter() - start


def unrelated(method: Editor, composites: Sequence[Composite]) -> int:
    """Count how many composites take another photo's picture for their edit."""
    accepted = 0
    for composite in composites:
        others = [other for other in composites if other.name.split("_")[0] != composite.name.split("_")[0]]
        other = others[len(composite.name) * 7 % len(others)]
        assert other.real is not None
        try:
            method.bring_back(composite.blind(), moved(np.ascontiguousarray(other.real.permute(1, 2, 0)), Change()))
            accepted += 1
            print(f"accepted for {composite.name}: {other.name}")
        except ModelError:
            pass
    return accepted


def full_size(method: Editor, composite: Composite, size: tuple[int, int] = (4000, 6000)) -> float:
    """Return the CPU seconds that it takes to bring an edit of 1024 x 1024 back to a photo of 24 megapixels."""
    assert composite.real is not None
    large = Composite(
        composite.name, "large", *(images.resize(one, size, "bicubic") for one in (composite.image, composite.mask))
    )
    edit = moved(np.ascontiguousarray(composite.real.permute(1, 2, 0)), CHANGES["all at once"])
    start = time.process_time()
    keep_background(large, method.bring_back(large, edit))
    return time.process_time() - start


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--photos", help="folder of photos with masks, graded synthetically; default: mini")
    options.add_argument("--large", action="store_true", help="time one photo of 24 megapixels instead")
    options.add_argument("--skip", type=int, default=0, help="leave out so many of the changes")
    options.add_argument("--count", type=int, help="so many composites")
    given = options.parse_args()
    data = Synthetic(given.photos, count=given.count) if given.photos else Mini(limit=given.count)
    composites = [data[index] for index in range(len(data))]
    method = Editor(Detail(locality=0.5), ".")
    if given.large:
        torch.set_num_threads(1)
        seconds = [full_size(method, composites[0]) for _ in range(3)]
        print(f"24 megapixels: {min(seconds):.1f} to {max(seconds):.1f} CPU s, {composites[0].name}")
        return
    before = np.array([fpsnr(one.image, one.real, (one.mask > 0.5).float()) for one in composites])
    still = {}
    print(f"{len(composites)} composites, {before.mean():.1f} dB before\n")
    print("| change | foreground PSNR, dB | mean loss, dB | most, dB | worse than composite | refused | seconds |")
    print("|---|---|---|---|---|---|---|")
    for name, change in list(CHANGES.items())[given.skip :]:
        found = [measure(method, composite, change) for composite in composites]
        values, seconds = np.array(found).T
        if change.size not in still:
            unmoved = change == Change(size=change.size)
            plain = values if unmoved else [measure(method, one, Change(size=change.size))[0] for one in composites]
            still[change.size] = np.array(plain)
        loss, refused = still[change.size] - values, np.isnan(values)
        worst = composites[int(np.nanargmax(loss))].name
        print(
            f"| {name} | {np.nanmean(values):.1f} | {np.nanmean(loss):.2f} | {np.nanmax(loss):.1f} ({worst}) "
            f"| {(values < before).sum()} | {refused.sum()} | {np.median(seconds):.2f} |",
            flush=True,
        )
    print(f"\nTaken for an edit of another photo: {unrelated(method, composites)} of {len(composites)}.")


if __name__ == "__main__":
    main()
