"""What all attempts from one image share: its latent, its structure, and what the backbone computed for it."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.method.canvas import Canvas
from diffharmon.method.word_maps import WordView
from diffharmon.protocols import Backbone
from diffharmon.structure.combine import combine
from diffharmon.types import Conditioning, Schedule, StructureGuidance, Watcher


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

    def prepare(self, method: Any, canvas: Canvas, watch: Watcher) -> None:
        """Measure the structure and encode the image, once for all attempts.

        Args:
            method: Whose parts do it.
            canvas: The photo.
            watch: Surrounds both stages.
        """
        seen = canvas.seen_from(self.current)
        with watch.stage("structure"):
            if not self.measured:
                source = method.structure_source(canvas, seen)
                self.structure, self.measured = combine(method.structure, source, canvas.size), True
        with watch.stage("inversion"):
            if self.latent is None:
                self.image = images.resize(seen.image, canvas.size, "lanczos", seen.alpha)
                self.latent = method.guard.require("encode", method.encode(self.image, canvas.original.name))

    def beside(self, backbone: Backbone, kept: float) -> "Start":
        """Return a start from the same image for another attempt at the same time, which keeps its own record."""
        made = replace(Start.of(self.current, backbone, kept), image=self.image, latent=self.latent)
        learn = getattr(made.backbone, "learn", None)
        if learn is not None:
            learn(self.backbone)
        return replace(made, structure=self.structure, measured=self.measured)

    def keeping(self, conditioning: Conditioning) -> AbstractContextManager[None]:
        """Inside a ``with``, keep what the source branch attends with, which stands under the foreground prompt."""
        keeping = getattr(self.backbone, "keeping", None)  # of one that remembers
        return nullcontext() if keeping is None else keeping(self.structure.rules, conditioning.foreground)

    def keeping_inversion(self, conditioning: Conditioning, schedule: Schedule) -> AbstractContextManager[None]:
        """The same for an inversion, whose predictions are the edit's only where both are made at the same level."""
        same = torch.equal(schedule.inversion_timesteps[:-1], schedule.timesteps[1:])
        return self.keeping(conditioning) if same else nullcontext()
