"""Learned edges of the foreground as a structure loss (the second half of the paper's edge loss)."""

import pickle
import re
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HFValidationError
from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.errors import InputError, ModelError
from diffharmon.structure.pidinet_network import PiDiNetNetwork
from diffharmon.types import Composite, StructureGuidance

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
HELP = (
    "download table5_pidinet-tiny.pth from https://github.com/hellozhuo/pidinet (folder trained_models) and set "
    "PIDINET_WEIGHTS or the part's `weights` to its path, or to a hub file as 'owner/repository:file.pth'; "
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
    """Mean squared difference of learned foreground edges to those of the image (paper section 3.2, L_Edge).

    Args:
        weights: A PiDiNet checkpoint: path, or ``owner/repository:file`` on the Hugging Face hub. Required.
        weight: Factor of the loss (gamma of the paper's L_Edge; 0.1 in the reference code).
        detach: Report the term without a gradient, as the reference code does.

    Raises:
        ModelError: If no weights are given, or they cannot be found or loaded.
    """

    def __init__(self, weights: str | None = None, weight: float = 0.1, detach: bool = False) -> None:
        if weight < 0:
            raise InputError(f"weight of the PiDiNet loss is {weight}, expected a number >= 0")
        if not weights:
            raise ModelError(f"structure part PiDiNet needs weights and none are given; {HELP}")
        self.weight = weight
        self.detach = detach
        self.network = load(weights)

    def guide(self, composite: Composite, size: int) -> StructureGuidance:
        """Measure the edges of the image, resized with a bilinear filter to ``size`` x ``size``."""
        image = images.resize(composite.image, (size, size), filter="bilinear")
        mask = images.binary_mask(composite.mask, (size, size))
        with torch.no_grad():
            target = self.network.to(image.device)(normalize(image.unsqueeze(0))) * mask

        def loss(decoded: Float[Tensor, "1 3 s s"]) -> Float[Tensor, ""]:
            network = self.network.to(decoded.device)
            with torch.no_grad() if self.detach else nullcontext():
                edges = network(normalize(decoded.float())) * mask.to(decoded.device)
            return self.weight * F.mse_loss(edges, target.to(decoded.device))

        return StructureGuidance(losses={"pidinet": loss})
