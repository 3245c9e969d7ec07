"""What all attempts from one image share: its latent, its structure, and what the backbone computed for it."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.method.word_maps import WordView
from diffharmon.protocols import Backbone
from diffharmon.types import Conditioning, Schedule, StructureGuidance


@dataclass
class Start:
    """The running record of the attempts that start from one image.

    Attributes:
        current: The image at full size.
        backbone: The backbone, which may remember what it computed for this image.
        image: The image at the canvas's size; set by the first attempt, as all below.
        latent: Its latent.
        structure: What keeps its structure.
        measured: Whether ``structure`` was measured.
        view: What the words of the last attempt are seen with.
    """

    current: Float[Tensor, "3 h w"]
    backbone: Backbone
    image: Float[Tensor, "3 y x"] | None = None
    latent: Float[Tensor, "1 c v u"] | None = None
    structure: StructureGuidance = field(default_factory=StructureGuidance)
    measured: bool = False
    view: WordView | None = None

    @classmethod
    def of(cls, current: Float[Tensor, "3 h w"], backbone: Backbone, kept: float) -> "Start":
        """Begin to work from an image; a backbone that can remember keeps up to ``kept`` GiB of what others follow."""
        remembering = getattr(backbone, "remembering", None)
        return cls(current, backbone if remembering is None else remembering(int(kept * 2**30)))

    def keeping(self, conditioning: Conditioning) -> AbstractContextManager[None]:
        """Inside a ``with``, keep what the source branch attends with, which stands under the foreground prompt."""
        keeping = getattr(self.backbone, "keeping", None)  # of one that remembers
        return nullcontext() if keeping is None else keeping(self.structure.rules, conditioning.foreground)

    def keeping_inversion(self, conditioning: Conditioning, schedule: Schedule) -> AbstractContextManager[None]:
        """The same for an inversion, whose predictions are the edit's only where both are made at the same level."""
        same = torch.equal(schedule.inversion_timesteps[:-1], schedule.timesteps[1:])
        return self.keeping(conditioning) if same else nullcontext()
