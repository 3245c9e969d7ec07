"""Compare described directions of light with what was really done to the objects.

    python experiments/describers/directions.py DATA DESCRIPTIONS.jsonl

The truth is measured, not worded: how the object's mean brightness (stops of linear luminance) and warmth (stops
between red and blue) differ between composite and real photo. What a description says is the difference between its
foreground and background words, each rendered on a grey card and on its neighbours by the photo finishing that
``diffharmon.condition.grades`` gives the words. Images that changed by less than a quarter stop in one respect have no
direction in it and are left out there. "silent" means that the words name no direction; it counts as wrong.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition import grades
from diffharmon.images import read_image, read_mask

LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722])
MIN_CHANGE = 0.25
SILENT = 0.02


def look(linear: Float[Tensor, "3 n"]) -> tuple[float, float]:
    """Return brightness and warmth in stops of linear RGB values."""
    red, _, blue = linear.mean(1).clamp_min(1e-4).tolist()
    brightness = (LUMINANCE @ linear).mean().clamp_min(1e-4).item()
    return math.log2(brightness), math.log2(red / blue)


def named(words: Sequence[str]) -> tuple[float, float]:
    """Return brightness and warmth of grey and faintly coloured cards under words."""
    cards = torch.tensor([[0.45, 0.45, 0.45], [0.55, 0.4, 0.4], [0.4, 0.5, 0.4], [0.4, 0.4, 0.55], [0.3, 0.3, 0.3]])
    picture = cards.T[:, :, None]
    for word in words:
        if word in grades.WORD_SETTINGS:
            picture = grades.apply(picture, torch.tensor(grades.WORD_SETTINGS[word]))
    return look(grades.to_linear(picture)[:, :, 0])


def done(folder: Path, name: str) -> tuple[float, float]:
    """Return how composite and real photo differ inside the object."""
    inside = read_mask(folder / "masks" / f"{name}.png")[0] > 0.5
    sides = [
        look(grades.to_linear(read_image(folder / kind / f"{name}.png").image)[:, inside])
        for kind in ("composites", "reals")
    ]
    return sides[0][0] - sides[1][0], sides[0][1] - sides[1][1]


def interval(right: int, total: int) -> str:
    """Return a share in percent with its 95 % Wilson interval."""
    if not total:
        return "-"
    z, share = 1.96, right / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return f"{100 * share:.1f} ({100 * max(centre - half, 0):.1f} to {100 * (centre + half):.1f})"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("descriptions", type=Path)
    options = parser.parse_args()
    first: dict[str, dict] = {}
    for line in options.descriptions.read_text("utf-8").splitlines():
        row = json.loads(line)
        first.setdefault(row["name"], row)
    print("| direction | images | right, % (95 %) | silent, % |\n|---|---|---|---|")
    truth = {name: done(options.data, name) for name in first}
    for axis, title in enumerate(("brighter or darker", "warmer or cooler")):
        right = silent = total = 0
        for name, row in first.items():
            change = truth[name][axis]
            if abs(change) < MIN_CHANGE:
                continue
            stated = named(row["foreground"])[axis] - named(row["background"])[axis]
            total += 1
            silent += abs(stated) < SILENT
            right += abs(stated) >= SILENT and (stated > 0) == (change > 0)
        print(f"| {title} | {total} | {interval(right, total)} | {100 * silent / max(total, 1):.1f} |")


if __name__ == "__main__":
    main()
