"""Harmony as the public code's evaluator judges it, with its published weights (paper section 3.3)."""

import pickle
import zipfile
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.errors import ModelError
from diffharmon.evaluator.reference_network import ReferenceNetwork
from diffharmon.images import to_uint8
from diffharmon.types import Description, Score

SIDE = 256
HELP = (
    "expected the public code's HarmonizationDetect/exp/bestModel.pth, a state dict of its ResNet-50; "
    "works offline without it: evaluator=classifier"
)


class Reference:
    """Probability of the class "harmonious" by the public code's network; the description plays no part.

    Image and mask are resized to 256 x 256 bilinearly without antialiasing, the image on 8 bits, as the public code
    does.

    Args:
        weights: The published file; only tensors are read from it.

    Raises:
        ModelError: It cannot be read, or holds other parameters.
    """

    probability: ClassVar[bool] = True  # read before weights load, by `diffharmon.config.capabilities`

    def __init__(self, weights: str) -> None:
        self.network = load(Path(weights).expanduser()).eval().requires_grad_(False)

    @torch.no_grad()
    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Return the probability in (0, 1), and the logit it comes from as a term."""
        picture = _small(to_uint8(image).cpu().numpy().transpose(1, 2, 0)).astype(np.float32) / 127.5 - 1
        cover = _small(mask[0].float().cpu().numpy())
        inputs = (
            torch.from_numpy(array.copy()).to(image.device) for array in (picture.transpose(2, 0, 1), cover[None])
        )
        logits = self.network.to(image.device)(*(values[None] for values in inputs))[0]
        return Score(logits.softmax(0)[1].item(), {"logit": (logits[1] - logits[0]).item()})


def load(path: Path) -> ReferenceNetwork:
    """Read the published weights into the network.

    Raises:
        ModelError: The file is missing, is no file of tensors, or its parameters differ from the network's.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"evaluator.weights: cannot read {str(path)!r}: {reason}; {HELP}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"evaluator.weights: {str(path)!r} holds no plain state dict; {HELP}")
    network = ReferenceNetwork()
    try:
        network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    except RuntimeError as error:
        raise ModelError(f"evaluator.weights: {str(path)!r} holds other parameters; {HELP}") from error
    return network


def _small(array: np.ndarray) -> np.ndarray:
    return cv2.resize(array, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
