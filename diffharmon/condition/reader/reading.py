"""Reading the light of a composite: which change would make its foreground fit, and was it altered at all."""

import contextlib
import io
from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffharmon.clip_model import EMBEDDED
from diffharmon.condition.harmony_network import HarmonyNetwork
from diffharmon.condition.reader import evidence, statistics
from diffharmon.condition.reader.joint import JointNetwork
from diffharmon.condition.reader.network import ReaderNetwork
from diffharmon.condition.reader.regions import regions
from diffharmon.condition.reader.word_reading import WordReader
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
_REINSTALL = "It is part of diffharmon: install the package again."
Network = TypeVar("Network", bound=nn.Module)
# Shares and strength chosen on the photos for tuning, see experiments/reader.
NEAR, CLIP, JOINT, STRENGTH = 0.0, 0.1, 0.8, 1.0
_SMALL = 0.02  # a foreground that fills less of the frame is looked at from nearer
_WINDOW = 4.0  # side of the nearer view, as a multiple of the foreground's longer side


class LightReader:
    """Reads the change of light off a composite and its mask, as the mean of up to four opinions.

    The reader's network was trained on composites as iHarmony4 makes them, CLIP on light that words name; neither reads
    the other's kind well, and where they disagree their mean goes less far. The joint reader weighs what these and the
    harmony classifier see, and more.

    Args:
        weights: Folder or hub id of a ``ReaderNetwork``.
        near: Share of the near background's rule (half of the way to its mean and spread) in the change.
        clip: Share of the light that a CLIP expects in both regions.
        joint: Share of the joint reader shipped with diffharmon, which is not loaded for a share of 0; what is left is
            the network's.
        model: Folder or hub id of that CLIP, which is not loaded for a share of 0.

    Raises:
        InputError: for shares outside [0, 1], or that add up to more than 1.
        ModelError: when the weights cannot be found or loaded.
    """

    def __init__(
        self,
        weights: str = WEIGHTS,
        near: float = 0.0,
        clip: float = 0.0,
        joint: float = 0.0,
        model: str = EMBEDDED,
    ) -> None:
        if min(near, clip, joint) < 0 or near + clip + joint > 1 + 1e-9:
            raise InputError(
                f"the shares of the near background's rule, of CLIP's reading and of the joint reader are {near}, "
                f"{clip} and {joint}, expected fractions from 0 to 1 that add up to at most 1"
            )
        self.network = load_reader(weights)
        self.near, self.clip, self.joint = near, clip, joint
        self.words = WordReader(model) if clip else None
        self.joint_reader = JointReader() if joint else None

    @torch.no_grad()
    def read(self, composite: Composite) -> LightChange:
        """Read the change of light that is expected to leave the least error in one composite.

        The network's own reading is averaged with that of the mirror image.

        Raises:
            InputError: when the mask leaves no foreground or no background.
        """
        image, mask = view(composite, self.network.size)
        parts = torch.from_numpy(regions(mask))
        measured = statistics.statistics(image, parts)[None]
        pictures, layers = torch.stack([image, image.flip(-1)]), torch.stack([parts, parts.flip(-1)]).float()
        change, deviation, _ = call_network(self.network, pictures, layers, measured.expand(2, -1))
        centre = statistics.foreground_mean(measured)[0]
        six = change.mean(0)
        own = LightChange(centre, six[:3], six[3:], deviation.mean(0).exp())
        shares = [(1 - self.near - self.clip - self.joint, own), (self.near, near_change(measured))]
        if self.words is not None:
            shares.append((self.clip, self.words.read(image, parts[:1], centre)))
        if self.joint_reader is not None:
            shares.append((self.joint, self.joint_reader.read(composite)[0]))
        return mean(shares)


class JointReader:
    """Reads the light with the joint network and all it asks, as they are shipped with diffharmon.

    Raises:
        ModelError: when weights cannot be found or loaded.
    """

    def __init__(self) -> None:
        self.network = load(JointNetwork, "joint reader", str(ASSETS / "joint_reader"), _REINSTALL)
        self.networks = shipped_networks()

    @torch.no_grad()
    def read(self, composite: Composite) -> tuple[LightChange, float]:
        """Read the change of light, and the logit of the foreground having been altered.

        Raises:
            InputError: when the mask leaves no foreground or no background.
        """
        image, mask = view(composite, evidence.SIDE)
        found = evidence.gather(image[None], torch.from_numpy(mask)[None], self.networks, self.network.deep)
        change, deviation, logit = call_network(self.network, found.measured, found.values)
        centre = statistics.foreground_mean(found.measured)[0]
        return LightChange(centre, change[0, :3], change[0, 3:], deviation[0].exp()), logit.item()


def shipped_networks() -> evidence.Networks:
    """Load the networks that the joint reader asks.

    Raises:
        ModelError: when weights cannot be found or loaded.
    """
    harmony = load(HarmonyNetwork, "harmony classifier", str(ASSETS / "evaluator"), _REINSTALL)
    return evidence.Networks(load_reader(WEIGHTS), WordReader(EMBEDDED), harmony)


def load_reader(weights: str) -> ReaderNetwork:
    """Load a reader's network.

    Raises:
        ModelError: when the weights cannot be found or loaded.
    """
    return load(ReaderNetwork, "reader of light", weights, HELP)


def load(kind: type[Network], name: str, weights: str, help: str) -> Network:
    """Load a network of a class with ``from_pretrained``, for inference.

    Raises:
        ModelError: when the weights cannot be found or loaded.
    """
    # The hub's mixin prints that it loads.
    with loading(name, weights, help), contextlib.redirect_stdout(io.StringIO()):
        network: Network = kind.from_pretrained(weights, strict=True)  # type: ignore[attr-defined]
    return network.eval().requires_grad_(False)


def mean(changes: Sequence[tuple[float, LightChange]]) -> LightChange:
    """Return the mean of changes of one foreground, each with its share of the whole; the first gives the rest."""
    found, left = changes[0][1], changes[0][0]
    for share, change in changes[1:]:
        left += share
        found = found.blend(change, share / left) if share else found
    return found


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
