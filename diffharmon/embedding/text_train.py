"""Text refinement as training: one embedding for all sampling steps, as in the public code's first version."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from diffharmon.embedding.text_refine import Task, TextRefine, Words
from diffharmon.protocols import Backbone
from diffharmon.types import Conditioning, Event, Inversion, Observer


@dataclass(frozen=True)
class TextTrain(TextRefine):
    """`TextRefine` over the whole schedule at once: each update takes the mean loss of sampling steps drawn at random.

    All steps get the embeddings that are reached in the end. Commit 5fa6b0c of the public code offers it as
    ``--text_optimization_style train`` with the defaults here.

    Args:
        learning_rate: AdamW's.
        updates: Updates in all.
        batch: Sampling steps drawn for each update, from a uniform distribution, with repetition.
        seed: Seeds the draws, which are the same for every image.
    """

    draws_random: ClassVar[bool] = True

    learning_rate: Annotated[float, Gt(0)] = 1e-2
    updates: Annotated[int, Ge(0)] = 50
    batch: Annotated[int, Ge(1)] = 4
    seed: Annotated[int, Ge(0)] = 0

    def refine(
        self, backbone: Backbone, inversion: Inversion, conditioning: Conditioning, observe: Observer
    ) -> Conditioning:
        """Return one embedding of each prompt, repeated for every step; the unconditional one stays as it is."""
        with backbone.attention([self.recording(inversion)]) as maps:
            return self.refine_all(Task(backbone, inversion, conditioning, observe, maps))

    def refine_all(self, task: Task) -> Conditioning:
        """Move one embedding of each prompt by random steps."""
        backbone, inversion, conditioning, observe = task.backbone, task.inversion, task.conditioning, task.observe
        initial = self.initial_words(backbone, conditioning)
        words = Words(*(vector.clone().requires_grad_() for vector in initial.leaves()))
        optimizer = torch.optim.AdamW(words.leaves(), lr=self.learning_rate, weight_decay=self.weight_decay)
        steps = len(inversion.trajectory.schedule.timesteps)
        generator = torch.Generator().manual_seed(self.seed)
        for update in range(self.updates):
            drawn = torch.randint(steps, (self.batch,), generator=generator).tolist()
            observe(Event("text", update, self.updates, self.train(task, optimizer, words, initial, drawn)))
        with torch.no_grad():
            text = self.encode(backbone, conditioning, words, fuse=self.fuse)
        observe(Event("text", max(self.updates - 1, 0), self.updates, {"embedding": text.tokens}))
        foreground, background = (prompt.expand(steps) for prompt in text)
        return replace(conditioning, foreground=foreground, background=background)

    def train(
        self, task: Task, optimizer: torch.optim.Optimizer, words: Words, initial: Words, drawn: Sequence[int]
    ) -> dict[str, Tensor]:
        """Move the words once by the mean gradient of several steps, one at a time in memory; returns the loss."""
        leaves, losses = words.leaves(), []
        optimizer.zero_grad()
        for step in drawn:
            with torch.enable_grad():
                latent = task.inversion.trajectory.latents[step, None]
                loss = self.total(self.terms(task, words, initial, latent, step)) / len(drawn)
                gradients = torch.autograd.grad(loss, leaves)
            losses.append(loss.detach())
            for leaf, gradient in zip(leaves, gradients, strict=True):
                leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient
        optimizer.step()
        return {"loss": torch.stack(losses).sum(), "steps": torch.tensor(drawn)}
