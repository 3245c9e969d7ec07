"""Object masks for photos that have none: a small head on frozen EfficientNet-Lite0, refined by GrabCut.

The head learns from photos whose salient object is marked; what it finds in other photos is kept where it is sure of it
and where the colours agree (GrabCut, Rother et al. 2004, stays near the head's own outline).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

SIDE = 192  # pixels of the square the network looks at
_TAPS = (2, 4, 10, 15)  # blocks whose output is kept: strides 4, 8, 16 and 32
_CHANNELS = (24, 40, 112, 320)
_BATCH, _ROUNDS, _RATE = 16, 10, 4e-3
_ITERATIONS = 3  # of GrabCut
Levels = tuple[Tensor, ...]


@dataclass(frozen=True)
class Rules:
    """When a region that the head found becomes a mask.

    Attributes:
        smallest: Share of the frame that it must fill at least.
        largest: At most.
        sure: Mean probability inside, at least.
        vague: Pixels of undecided probability (0.2 to 0.8), as a share of the region's, at most.
        agreement: Intersection over union of GrabCut's region and the head's, at least.
        border: Share of the frame's border that it may cover.
        count: Regions of a photo, at most.
    """

    smallest: float = 0.02
    largest: float = 0.55
    sure: float = 0.85
    vague: float = 0.5
    agreement: float = 0.75
    border: float = 0.45
    count: int = 3


class MaskHead(nn.Module):
    """Predict from four levels of features, coarse ones added to fine ones, where the salient objects are.

    Args:
        width: channels of all levels.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in _CHANNELS)
        self.mix = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, groups=width),
                nn.Conv2d(width, width, 1),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            for _ in _CHANNELS
        )
        self.drop, self.score = nn.Dropout2d(0.1), nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, levels: Levels) -> Float[Tensor, "b 1 y x"]:
        """Return logits at a quarter of the network's side."""
        found: Tensor | None = None
        for level, lateral, mix in reversed(list(zip(levels, self.lateral, self.mix, strict=True))):
            here = lateral(level.float())
            if found is not None:
                here = here + functional.interpolate(found, here.shape[-2:], mode="bilinear", align_corners=False)
            found = mix(here)
        return self.score(self.drop(found))


@torch.no_grad()
def features(network: Any, images: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Levels:
    """Compute the four levels of EfficientNet-Lite0 for RGB photos of any size, squashed, in half precision.

    Args:
        network: the training-only package `efficientnet_lite_pytorch`'s EfficientNet, in evaluation mode.
        images: photos.
    """
    small = [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images]
    pixels = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float()
    trunk = functional.relu6(network._bn0(network._conv_stem((pixels - 127) / 128)))
    levels = []
    for index, block in enumerate(network._blocks):
        trunk = block(trunk)
        if index in _TAPS:
            levels.append(trunk.half())
    return tuple(levels)


def train(levels: Levels, covers: Float[Tensor, "n 1 y x"], rounds: int = _ROUNDS, seed: int = 0) -> MaskHead:
    """Train the head on photos whose objects are marked, and their mirror images, by cross-entropy and overlap.

    Args:
        levels: features of all photos.
        covers: what is marked, in [0, 1], at a quarter of the network's side.
        rounds: passes over the photos.
        seed: seed of order and initial weights.
    """
    torch.manual_seed(seed)
    head = MaskHead()
    steps = rounds * -(-len(covers) // _BATCH)
    optimizer = torch.optim.AdamW(head.parameters(), _RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for _ in range(rounds):
        for chosen in torch.randperm(len(covers)).split(_BATCH):
            given, wanted = [level[chosen] for level in levels], covers[chosen]
            if torch.rand(()) < 0.5:
                given, wanted = [level.flip(-1) for level in given], wanted.flip(-1)
            logits = head(tuple(given))
            found = torch.sigmoid(logits)
            both, either = (found * wanted).sum((1, 2, 3)), (found + wanted - found * wanted).sum((1, 2, 3))
            loss = functional.binary_cross_entropy_with_logits(logits, wanted) + 1 - (both / (either + 1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.eval()


@torch.no_grad()
def probability(head: MaskHead, levels: Levels, shape: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """Return the probability of belonging to an object, at a photo's own shape (height and width)."""
    found = torch.sigmoid(head(levels))
    return functional.interpolate(found, shape, mode="bicubic", align_corners=False)[0, 0].clamp(0, 1).numpy()


def objects(
    image: UInt8[np.ndarray, "h w 3"], found: Float[np.ndarray, "h w"], rules: Rules = Rules()
) -> list[Bool[np.ndarray, "h w"]]:
    """Cut a photo's probability into masks of single objects, largest first, and keep those that pass the rules."""
    count, numbers, rows, _ = cv2.connectedComponentsWithStats((found > 0.5).astype(np.uint8), connectivity=4)
    order = sorted(range(1, count), key=lambda number: -rows[number][cv2.CC_STAT_AREA])
    kept = []
    for number in order[: rules.count]:
        region = numbers == number
        own = np.where(cv2.dilate(region.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0, found, 0)
        if not (rules.smallest < region.mean() < rules.largest and found[region].mean() > rules.sure):
            continue
        if ((own > 0.2) & (own < 0.8)).sum() > rules.vague * region.sum() or _on_border(region) > rules.border:
            continue
        refined = _refined(image, own)
        if (refined & region).sum() > rules.agreement * (refined | region).sum():
            kept.append(refined)
    return kept


def _refined(image: UInt8[np.ndarray, "h w 3"], found: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Move an outline to where the colours change, as far as the head leaves it open; the largest piece is kept."""
    marks = np.full(found.shape, cv2.GC_PR_BGD, np.uint8)
    marks[found > 0.5], marks[found > 0.95], marks[found < 0.05] = cv2.GC_PR_FGD, cv2.GC_FGD, cv2.GC_BGD
    behind, front = np.zeros((1, 65)), np.zeros((1, 65))
    unused = (0, 0, 1, 1)  # the rectangle, which the marks replace
    cv2.setRNGSeed(0)
    shown = np.ascontiguousarray(image[..., ::-1])
    cv2.grabCut(shown, marks, unused, behind, front, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    inside = ((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)).astype(np.uint8)
    inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, numbers, rows, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    if len(rows) < 2:
        return np.zeros(found.shape, bool)
    return numbers == 1 + int(rows[1:, cv2.CC_STAT_AREA].argmax())


def _on_border(region: Bool[np.ndarray, "h w"]) -> float:
    """Share of the frame's border that a region covers."""
    return float(np.concatenate([region[0], region[-1], region[:, 0], region[:, -1]]).mean())
