"""What the package's networks see of a composite, gathered for the joint reader to weigh."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from diffharmon.condition.cielab import lab_to_rgb, rgb_to_lab
from diffharmon.condition.harmony_network import SHIFTS, HarmonyNetwork
from diffharmon.condition.reader import network, statistics
from diffharmon.condition.reader.network import ReaderNetwork
from diffharmon.condition.reader.regions import regions
from diffharmon.condition.reader.trunk import DEPTH_CHANNELS, DeepTrunk
from diffharmon.condition.reader.word_reading import WordReader
from diffharmon.images import MASK_THRESHOLD
from diffharmon.lockstep.network_call import call_network
from diffharmon.types import Composite

SIDE = 192  # pixels of the picture that evidence is gathered from
_CLOSE = 160  # pixels of the view of the foreground alone
_ROOM = 1.7  # side of that view, as a multiple of the foreground's longer side
_SMALLEST_VIEW = 48  # pixels
_WIDEST_SPREAD = 1.0  # logarithm, when the foreground is moved to the near background's colours


@dataclass(frozen=True)
class Networks:
    """The networks that are asked, none of which is trained by the joint reader's recipe.

    Attributes:
        reader: The reader's network.
        words: The reading by CLIP.
        harmony: The harmony classifier's network.
    """

    reader: ReaderNetwork
    words: WordReader
    harmony: HarmonyNetwork

    @property
    def widths(self) -> tuple[int, ...]:
        """Count the values of each kind of evidence, in their order in ``Evidence.values``."""
        words = 4 * self.words.dimension
        deep = (3 * DEPTH_CHANNELS, 2 * DEPTH_CHANNELS, 2 * DEPTH_CHANNELS)
        return (network.EVIDENCE, *deep, words, 6, self.harmony.inputs, 1 + SHIFTS)


@dataclass(frozen=True)
class Evidence:
    """What is known of some composites.

    Attributes:
        measured: Statistics of the regions, see `statistics`.
        values: The reader's trunk, the deep trunk's view of the scene, of the foreground and of the foreground in the
            near background's colours, CLIP's embeddings and its reading, the harmony classifier's evidence and output.
        opinions: Changes of light that the reader's network and CLIP read, shift and log-spread.
    """

    measured: Float[Tensor, "b k"]
    values: Float[Tensor, "b n"]
    opinions: Float[Tensor, "2 b 6"]


@dataclass(frozen=True)
class _View:
    """One composite as the networks look at it; `small` and what belongs to it at the reader's size."""

    small: Float[Tensor, "3 s s"]
    cover: Float[Tensor, "1 s s"]
    parts: Float[Tensor, "5 s s"]
    measured: Float[Tensor, " k"]
    scene_parts: Float[Tensor, "3 h h"]
    close: Float[Tensor, "2 3 c c"]
    close_parts: Float[Tensor, "2 c c"]


@torch.no_grad()
def gather(
    images: Float[Tensor, "b 3 h h"], masks: Float[Tensor, "b h h"], networks: Networks, deep: DeepTrunk
) -> Evidence:
    """Ask all networks about composites of `SIDE` pixels.

    Args:
        images: RGB in [0, 1].
        masks: Foreground masks in [0, 1], each with a foreground and a background.
        networks: Who is asked.
        deep: The trunk that looks at scene and foreground.
    """
    views = [_look(image, mask, networks.reader.size) for image, mask in zip(images.cpu(), masks.cpu(), strict=True)]

    def stacked(name: str) -> Tensor:
        return torch.stack([getattr(view, name) for view in views])

    def seen(pictures: Tensor, parts: Tensor) -> Tensor:
        given = [values.to(deep.conv.weight) for values in (pictures, parts)]
        return call_network(deep, *given).cpu()

    small, cover, close = stacked("small"), stacked("cover"), stacked("close")
    reader, harmony, close_parts = networks.reader, networks.harmony, stacked("close_parts")
    verdict = call_network(harmony, small, cover, function=harmony.weigh)
    measured, trunk = stacked("measured"), call_network(reader, small, stacked("parts"), function=reader.evidence)
    embedded, expected = _words(views, networks.words)
    values = [
        trunk,
        seen(images, stacked("scene_parts")),
        *(seen(close[:, place].contiguous(), close_parts) for place in (0, 1)),
        embedded,
        expected,
        *verdict,
    ]
    own = call_network(reader, trunk, measured, function=reader.weigh)[0]
    return Evidence(measured, torch.cat(values, 1), torch.stack([own, expected]))


def _words(views: list[_View], words: WordReader) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b 6"]]:
    embedded, changes = [], []
    for view in views:
        inside = view.parts[:1] > 0.5
        found = words.reading.embed(Composite("the composite", "", view.small, inside.float()), mirrored=False)
        embedded.append(found.flatten())
        change = words.change(found, view.small, inside, statistics.foreground_mean(view.measured[None])[0])
        changes.append(torch.cat([change.shift, change.log_spread]))
    return torch.stack(embedded), torch.stack(changes)


def _look(image: Float[Tensor, "3 h h"], mask: Float[Tensor, "h h"], size: int) -> _View:
    levels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    smaller = cv2.resize(levels, (size, size), interpolation=cv2.INTER_AREA)
    small = torch.from_numpy(smaller).permute(2, 0, 1).float() / 255
    values = np.ascontiguousarray(mask.numpy(), np.float32)
    cover = cv2.resize(values, (size, size), interpolation=cv2.INTER_AREA)
    if not (cover > MASK_THRESHOLD).any():  # thinner than a cell: the cells it covers most stand for it
        cover = cover / cover.max()
    elif (cover > MASK_THRESHOLD).all():  # the background is
        cover = np.where(cover == cover.min(), 0, cover)
    parts, whole = torch.from_numpy(regions(cover)), torch.from_numpy(regions(values)).float()
    measured = statistics.statistics(small, parts)
    both = torch.stack([image, _moved(image, mask, measured)])
    rows, columns = _window(values > MASK_THRESHOLD)
    close = functional.interpolate(both[:, :, rows, columns], (_CLOSE, _CLOSE), mode="bilinear", antialias=True)
    close_parts = functional.interpolate(whole[None, [0, 3], rows, columns], (_CLOSE, _CLOSE), mode="area")[0]
    return _View(
        small, torch.from_numpy(cover)[None], parts.float(), measured, whole[[0, 3, 4]], close.contiguous(), close_parts
    )


def _moved(
    image: Float[Tensor, "3 h h"], mask: Float[Tensor, "h h"], measured: Float[Tensor, " k"]
) -> Float[Tensor, "3 h h"]:
    """Move the foreground to the near background's mean and spread: it looks much the same however it was altered."""
    near, centre = statistics.near_difference(measured[None])[0], statistics.foreground_mean(measured[None])[0]
    spread = near[3:].clamp(-_WIDEST_SPREAD, _WIDEST_SPREAD).exp()
    lab = (rgb_to_lab(image.permute(1, 2, 0)) - centre) * spread + centre + near[:3]
    return image * (1 - mask) + lab_to_rgb(lab).permute(2, 0, 1).clamp(0, 1) * mask


def _window(inside: np.ndarray) -> tuple[slice, slice]:
    """Return rows and columns of a square around the foreground, within the frame."""
    whole = len(inside)
    bounds = [(line.min(), line.max() + 1) for line in np.nonzero(inside)]
    side = int(min(whole, max(_SMALLEST_VIEW, _ROOM * max(last - first for first, last in bounds))))
    starts = [int(np.clip((first + last) / 2 - side / 2, 0, whole - side)) for first, last in bounds]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)
