"""Where each word of both prompts attends: for people to look at."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Num
from torch import Tensor

from diffharmon.protocols import Backbone
from diffharmon.types import AttentionRule, Conditioning, Text, Trajectory, WordSpans


@dataclass(frozen=True)
class WordView:
    """What the words of one attempt are seen with: the latent halfway through the sampling, and both prompts there."""

    latent: Float[Tensor, "1 c y x"]
    timestep: Num[Tensor, ""]
    prompts: Text
    words: WordSpans

    @classmethod
    def of(cls, trajectory: Trajectory, conditioning: Conditioning) -> "WordView":
        """Take the middle step of an inversion."""
        step = len(conditioning.foreground) // 2
        latent, timestep = trajectory.latents[step, None], trajectory.schedule.timesteps[step]
        return cls(latent, timestep, conditioning.prompts(step), conditioning.words)

    @torch.no_grad()
    def maps(self, backbone: Backbone) -> dict[str, Float[Tensor, "rows columns"]]:
        """Return each word's attention, the mean over heads and layers, by side and word: ``background warm``."""
        with backbone.attention([AttentionRule("cross", "record")]) as store:
            store.observe(lambda: backbone.predict(self.latent.expand(2, -1, -1, -1), self.timestep, self.prompts))
            maps = store.maps((self.latent.shape[-2], self.latent.shape[-1]))
        spans = {"foreground": self.words.foreground, "background": self.words.background}
        return {
            f"{part} {word}": maps[row][:, :, list(positions)].sum(dim=-1)
            for row, (part, words) in enumerate(spans.items())
            for word, positions in words.items()
        }
