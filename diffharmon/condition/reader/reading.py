"""Reading the light of a composite: which change would make its foreground fit, and does it need one."""

import contextlib
import io
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition.reader import statistics
from diffharmon.condition.reader.network import ReaderNetwork
from diffharmon.condition.reader.regions import regions
from diffharmon.errors import InputError
from diffharmon.files import ASSETS, loading
from diffharmon.images import MASK_THRESHOLD
from diffharmon.images.levels import samples
from diffharmon.types import Composite
from diffharmon.types.light import LightChange

WEIGHTS = str(ASSETS / "reader")
HELP = (
    "To get it: leave the path at its default, the reader shipped with diffharmon, or give a folder with config.json "
    "and model.safetensors as ReaderNetwork's save_pretrained writes them."
)
_SMALL = 0.02  # a foreground that fills less of the frame is looked at from nearer
_WINDOW = 4.0  # side of the nearer view, as a multiple of the foreground's longer side


@dataclass(frozen=True)
class Reading:
    """What the reader makes of a composite.

    Attributes:
        change: The change of light that is expected to leave the least error.
        altered: Probability that the foreground was altered at all.
    """

    change: LightChange
    altered: float


class LightReader:
    """Reads the change of light off a composite and its mask.

    Args:
        weights: Folder or hub id of a ``ReaderNetwork``.
        near: Share of the near background's rule (half of the way to its mean and spread) in the change; 0 leaves
            the network alone.

    Raises:
        InputError: for a share outside [0, 1].
        ModelError: when the weights cannot be found or loaded.
    """

    def __init__(self, weights: str = WEIGHTS, near: float = 0.0) -> None:
        if not 0 <= near <= 1:
            raise InputError(f"the share of the near background's rule is {near}, expected a fraction from 0 to 1")
        # The hub's mixin prints that it loads.
        with loading("reader of light", weights, HELP), contextlib.redirect_stdout(io.StringIO()):
            network = ReaderNetwork.from_pretrained(weights, strict=True)
        self.network = network.eval().requires_grad_(False)
        self.near = near

    @torch.no_grad()
    def read(self, composite: Composite) -> Reading:
        """Read the light of one composite, averaged with its mirror image's.

        Raises:
            InputError: when the mask leaves no foreground or no background.
        """
        image, mask = view(composite, self.network.size)
        parts = torch.from_numpy(regions(mask))
        measured = statistics.statistics(image, parts)[None]
        pictures, layers = torch.stack([image, image.flip(-1)]), torch.stack([parts, parts.flip(-1)]).float()
        change, deviation, logit = self.network(pictures, layers, measured.expand(2, -1))
        centre = statistics.foreground_mean(measured)[0]
        six = change.mean(0)
        found = LightChange(centre, six[:3], six[3:], deviation.mean(0).exp())
        return Reading(found.blend(near_change(measured), self.near), torch.sigmoid(logit.mean()).item())


def near_change(measured: Float[Tensor, "1 k"], strength: float = 0.5) -> LightChange:
    """Return the change that goes a part of the way to the near background's mean and spread in CIELAB."""
    difference = statistics.near_difference(measured)[0]
    spread = torch.log1p(strength * (difference[3:].exp() - 1))
    return LightChange(statistics.foreground_mean(measured)[0], strength * difference[:3], spread, torch.zeros(6))


def view(composite: Composite, side: int) -> tuple[Float[Tensor, "3 s s"], Float[np.ndarray, "s s"]]:
    """Squash a composite and its mask to a square of 8-bit colours; a small foreground is looked at from nearer.

    Raises:
        InputError: when the mask leaves no foreground or no background at that size.
    """
    mask = composite.mask[0].cpu().float().numpy()
    bright = mask > MASK_THRESHOLD
    count, rows, columns = bright.sum(), np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    if count in (0, mask.size):
        part = "foreground" if not count else "background"
        raise InputError(f"{composite.name}: the mask leaves no {part} to read the light from")
    window: tuple[slice, ...] = (slice(None), slice(None))
    if count < _SMALL * mask.size:
        half = max(side // 2, round(_WINDOW / 2 * (max(np.ptp(rows), np.ptp(columns)) + 1)))
        window = tuple(
            slice(max(0, int(middle) - half), int(middle) + half)
            for middle in ((rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2)
        )
    pixels = samples(composite.image[:, window[0], window[1]], 8)
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    cover = cv2.resize(np.ascontiguousarray(mask[window]), (side, side), interpolation=cv2.INTER_AREA)
    inside = cover > MASK_THRESHOLD
    if not inside.any():  # thinner than a cell: the cells it covers most stand for it
        cover = cover / cover.max()
    elif inside.all():
        raise InputError(f"{composite.name}: the mask leaves no background to read the light from at {side} pixels")
    return torch.from_numpy(small).permute(2, 0, 1).float() / 255, cover
