"""Reading the light of a composite: which change would make its foreground fit, and does it need one."""

import contextlib
import io
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffharmon.clip_model import EMBEDDED, ClipEmbedder
from diffharmon.condition.cielab import rgb_to_lab
from diffharmon.condition.clip_reading import ClipReading, expected_light
from diffharmon.condition.light import map_features, maps_between
from diffharmon.condition.reader import statistics
from diffharmon.condition.reader.network import ReaderNetwork
from diffharmon.condition.reader.regions import regions
from diffharmon.errors import InputError
from diffharmon.files import ASSETS, loading
from diffharmon.images import MASK_THRESHOLD
from diffharmon.images.levels import samples
from diffharmon.lockstep.network_call import call_network
from diffharmon.types import Composite
from diffharmon.types.light import LightChange

WEIGHTS = str(ASSETS / "reader")
HELP = (
    "To get it: leave the path at its default, the reader shipped with diffharmon, or give a folder with config.json "
    "and model.safetensors as ReaderNetwork's save_pretrained writes them."
)
NEAR, CLIP, STRENGTH = 0.1, 0.4, 1.0  # chosen on the photos for tuning, see experiments/reader
_COLOURS = 500  # of the foreground, on which CLIP's light becomes a change
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
    """Reads the change of light off a composite and its mask, as the mean of up to three opinions.

    The reader's network was trained on composites as iHarmony4 makes them, CLIP on light that words name; neither reads
    the other's kind well, and where they disagree their mean goes less far.

    Args:
        weights: Folder or hub id of a ``ReaderNetwork``.
        near: Share of the near background's rule (half of the way to its mean and spread) in the change.
        clip: Share of the light that a CLIP expects in both regions; what is left is the network's.
        model: Folder or hub id of that CLIP, which is not loaded for a share of 0.

    Raises:
        InputError: for shares outside [0, 1], or that add up to more than 1.
        ModelError: when the weights cannot be found or loaded.
    """

    def __init__(self, weights: str = WEIGHTS, near: float = 0.0, clip: float = 0.0, model: str = EMBEDDED) -> None:
        if not (0 <= near <= 1 and 0 <= clip <= 1 and near + clip <= 1):
            raise InputError(
                f"the shares of the near background's rule and of CLIP's reading are {near} and {clip}, expected "
                "fractions from 0 to 1 that add up to at most 1"
            )
        # The hub's mixin prints that it loads.
        with loading("reader of light", weights, HELP), contextlib.redirect_stdout(io.StringIO()):
            network = ReaderNetwork.from_pretrained(weights, strict=True)
        self.network = network.eval().requires_grad_(False)
        self.near, self.clip = near, clip
        self.words = WordReader(model) if clip else None

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
        change, deviation, logit = call_network(self.network, pictures, layers, measured.expand(2, -1))
        centre = statistics.foreground_mean(measured)[0]
        six = change.mean(0)
        found = LightChange(centre, six[:3], six[3:], deviation.mean(0).exp())
        if self.near < 1 and self.words is not None:
            found = found.blend(self.words.read(image, parts[:1], centre), self.clip / (1 - self.near))
        return Reading(found.blend(near_change(measured), self.near), torch.sigmoid(logit.mean()).item())


class WordReader:
    """Reads a change of light with CLIP: from the light that its words expect in the foreground to the background's.

    Args:
        model: Folder or hub id of the CLIP.

    Raises:
        ModelError: when it cannot be found or loaded.
    """

    def __init__(self, model: str) -> None:
        self.reading = ClipReading(ClipEmbedder(model, "model", HELP))
        self.prompts = self.reading.prompts("object")

    def read(
        self, image: Float[Tensor, "3 s s"], foreground: Bool[Tensor, "1 s s"], centre: Float[Tensor, "3"]
    ) -> LightChange:
        """Read the change as shift and spread of the foreground's colours; its deviation is not known, so 0."""
        views = self.reading.embed(Composite("the composite", "", image, foreground.float()))
        front, back = expected_light(self.reading.probabilities(views, self.prompts)).unsqueeze(1)
        colours = image[:, foreground[0]].T
        colours = colours[:: max(1, len(colours) // _COLOURS)]
        mapped = (colours + map_features(colours) @ maps_between(front, back)[0]).clamp(0, 1)
        before, after = rgb_to_lab(colours), rgb_to_lab(mapped)
        spread = ((after.std(0, unbiased=False) + 1) / (before.std(0, unbiased=False) + 1)).log()
        return LightChange(centre, after.mean(0) - before.mean(0), spread, torch.zeros(6))


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
    mask = composite.mask[0].cpu()
    bright = (mask > MASK_THRESHOLD).numpy()
    count, rows, columns = bright.sum(), np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    if count in (0, bright.size):
        part = "foreground" if not count else "background"
        raise InputError(f"{composite.name}: the mask leaves no {part} to read the light from")
    window: tuple[slice, ...] = (slice(None), slice(None))
    if count < _SMALL * bright.size:
        half = max(side // 2, round(_WINDOW / 2 * (max(np.ptp(rows), np.ptp(columns)) + 1)))
        window = tuple(
            slice(max(0, int(middle) - half), int(middle) + half)
            for middle in ((rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2)
        )
    # One after the other: of a large photo, the levels of its colours and the mask's floats are never both there.
    small = cv2.resize(samples(composite.image[:, *window], 8), (side, side), interpolation=cv2.INTER_AREA)
    values = np.ascontiguousarray(mask[window].float().numpy())
    cover = cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA)
    inside = cover > MASK_THRESHOLD
    if not inside.any():  # thinner than a cell: the cells it covers most stand for it
        cover = cover / cover.max()
    elif inside.all():
        raise InputError(f"{composite.name}: the mask leaves no background to read the light from at {side} pixels")
    return torch.from_numpy(small).permute(2, 0, 1).float() / 255, cover
