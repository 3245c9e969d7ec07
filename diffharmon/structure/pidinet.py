"""Learned edges: the other half of the paper's edge loss."""

import pickle
import re
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HFValidationError
from jaxtyping import Float
from torch import Tensor

from diffharmon.errors import ModelError
from diffharmon.structure.pidinet_network import PiDiNetNetwork

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
HELP = (
    "download table5_pidinet-tiny.pth from https://github.com/hellozhuo/pidinet (folder trained_models) and set "
    "PIDINET_WEIGHTS or the detector's `weights` to its path, or to a hub file as 'owner/repository:file.pth'; "
    "offline, ~structure.pidinet leaves the learned edges out"
)


def _locate(weights: str) -> Path:
    """Return the local file of a path or of ``owner/repository:file`` on the Hugging Face hub."""
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    hub = re.fullmatch(r"([\w.-]+/[\w.-]+):(.+)", weights)
    if hub is None:
        raise ModelError(f"PiDiNet weights: there is no file {weights!r}; {HELP}")
    try:
        return Path(hf_hub_download(hub[1], hub[2]))
    except (OSError, HFValidationError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"PiDiNet weights: {hub[2]!r} of hub id {hub[1]!r} gave {reason!r}; {HELP}") from error


def load(weights: str) -> PiDiNetNetwork:
    """Load a published PiDiNet checkpoint, frozen, on the CPU.

    Args:
        weights: Path of the file, or ``owner/repository:file`` on the Hugging Face hub.

    Raises:
        ModelError: If there is no such file, or it holds no PiDiNet of the ``carv4`` configuration.
    """
    path = _locate(weights)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return PiDiNetNetwork.from_state(content.get("state_dict", content))
    except (pickle.UnpicklingError, EOFError, RuntimeError, KeyError, AttributeError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"PiDiNet weights: {path} is no PiDiNet checkpoint ({reason}); {HELP}") from error


def normalize(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Bring RGB in [0, 1] to ImageNet's mean and standard deviation."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1).to(image) for values in (MEAN, STD))
    return (image - mean) / std


class PiDiNet:
    """Edges learned by PiDiNet (Su et al., ICCV 2021), the other half of the paper's edge loss.

    Args:
        weights: A PiDiNet checkpoint: path, or ``owner/repository:file`` on the Hugging Face hub. Required.

    Raises:
        ModelError: If no weights are given, or they cannot be found or loaded.
    """

    def __init__(self, weights: str | None = None) -> None:
        if not weights:
            raise ModelError(f"structure part PiDiNet needs weights and none are given; {HELP}")
        self.network = load(weights)

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Return edge probabilities in (0, 1) of RGB images in [0, 1]."""
        return self.network.to(image.device)(normalize(image))
