"""Reading the light of a composite: which change would make its foreground fit, and was it altered at all."""

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

import cv2
import numpy as np
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.constants import CONFIG_NAME
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from diffharmon.clip_model import EMBEDDED
from diffharmon.condition.harmony_network import HarmonyNetwork
from diffharmon.condition.reader import evidence, statistics
from diffharmon.condition.reader.joint import JointNetwork
from diffharmon.condition.reader.network import ReaderNetwork
from diffharmon.condition.reader.regions import regions
from diffharmon.condition.reader.trunk import DeepTrunk
from diffharmon.condition.reader.word_reading import WordReader
from diffharmon.errors import InputError
from diffharmon.files import ASSETS, loading
from diffharmon.images import MASK_THRESHOLD
from diffharmon.images.levels import samples
from diffharmon.lockstep.network_call import call_network
from diffharmon.types import Composite
from diffharmon.types.light import LightChange

WEIGHTS = str(ASSETS / "joint_reader")
NETWORK = str(ASSETS / "reader")
HELP = (
    "To get it: leave the path at its default, the joint reader shipped with diffharmon, or give a folder with "
    "config.json and model.safetensors as the recipes joint_reader and reader write them."
)
_REINSTALL = "It is part of diffharmon: install the package again."
Network = TypeVar("Network", bound=nn.Module)
OPINIONS = 0.2  # share of what the reader's network and CLIP read in a joint reader's change, see experiments/reader
_SMALL = 0.02  # a foreground that fills less of the frame is looked at from nearer
_WINDOW = 4.0  # side of the nearer view, as a multiple of the foreground's longer side


@dataclass(frozen=True)
class Reading:
    """What was read off a composite.

    Attributes:
        change: The change of light that is expected to leave the least error.
        logit: Of the foreground having been altered.
    """

    change: LightChange
    logit: float


class LightReader:
    """Reads the change of light off a composite and its mask, and whether its foreground was altered at all.

    Readers of the same weights share them. A composite that one of them has just read is not looked at again by
    another: describer and evaluator see the same tensors.

    Args:
        weights: Folder or hub id of a ``JointNetwork``, or of a ``ReaderNetwork``, which reads alone.

    Raises:
        ModelError: when the weights cannot be found or loaded.
    """

    def __init__(self, weights: str = WEIGHTS) -> None:
        self._shared = _shared(weights)

    def read(self, composite: Composite) -> Reading:
        """Read one composite.

        Raises:
            InputError: when the mask leaves no foreground or no background.
        """
        known, state = self._shared.known.get(composite.image), (_version(composite.image), _version(composite.mask))
        if known is not None and known[0] is composite.mask and known[1] == state:
            return known[2]
        found = self._shared.read(composite)
        self._shared.known[composite.image] = composite.mask, state, found
        return found


class _Loaded:
    """Loaded weights, and what they read of images that are still there, each with its mask and their versions."""

    def __init__(self, read: Callable[[Composite], Reading]) -> None:
        self.read = read
        self.known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def _version(values: Tensor) -> int:
    """Count the changes of a tensor in place; under inference mode they are not counted, and nobody makes any."""
    return 0 if values.is_inference() else values._version


_LOADED: WeakValueDictionary[str, _Loaded] = WeakValueDictionary()


def _shared(weights: str) -> _Loaded:
    """Load weights, or give those that somebody holds already."""
    found = _LOADED.get(weights)
    if found is None:
        found = _Loaded(_joint(weights) if _is_joint(weights) else _alone(weights))
        _LOADED[weights] = found
    return found


def _is_joint(weights: str) -> bool:
    with loading("reader of light", weights, HELP):
        path = Path(weights, CONFIG_NAME)
        text = (path if path.parent.is_dir() else Path(hf_hub_download(weights, CONFIG_NAME))).read_text("utf-8")
        return "widths" in json.loads(text)


def _joint(weights: str) -> Callable[[Composite], Reading]:
    """Load a joint reader and the networks that it asks; their own readings have a share in the change."""
    network, networks = load(JointNetwork, "joint reader", weights, HELP), shipped_networks()

    @torch.no_grad()
    def read(composite: Composite) -> Reading:
        image, mask = view(composite, evidence.SIDE)
        found = evidence.gather(image[None], torch.from_numpy(mask)[None], networks, network.deep)
        change, deviation, logit = call_network(network, found.measured, found.values)
        mixed = (1 - OPINIONS) * change + OPINIONS * found.opinions.mean(0)
        return _reading(found.measured, (mixed, deviation, logit))

    return read


def _alone(weights: str) -> Callable[[Composite], Reading]:
    """Load a network that reads pixels; what it reads is averaged with the mirror image's."""
    network = load_reader(weights)

    @torch.no_grad()
    def read(composite: Composite) -> Reading:
        image, mask = view(composite, network.size)
        parts = torch.from_numpy(regions(mask))
        measured = statistics.statistics(image, parts)[None]
        pictures, layers = torch.stack([image, image.flip(-1)]), torch.stack([parts, parts.flip(-1)]).float()
        return _reading(measured, call_network(network, pictures, layers, measured.expand(2, -1)))

    return read


def _reading(measured: Float[Tensor, "1 k"], outputs: tuple[Tensor, Tensor, Tensor]) -> Reading:
    """Average a network's outputs."""
    change, deviation, logit = (output.mean(0) for output in outputs)
    centre = statistics.foreground_mean(measured)[0]
    return Reading(LightChange(centre, change[:3], change[3:], deviation.exp()), logit.item())


def shipped_networks() -> evidence.Networks:
    """Load the networks that the joint reader asks.

    Raises:
        ModelError: when weights cannot be found or loaded.
    """
    harmony = load(HarmonyNetwork, "harmony classifier", str(ASSETS / "evaluator"), _REINSTALL)
    return evidence.Networks(load_reader(NETWORK), WordReader(EMBEDDED), harmony)


def shipped_trunk() -> DeepTrunk:
    """Load the deep trunk of the joint reader, EfficientNet-Lite0 as ImageNet trained it.

    Raises:
        ModelError: when weights cannot be found or loaded.
    """
    return load(JointNetwork, "joint reader", WEIGHTS, _REINSTALL).deep


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
