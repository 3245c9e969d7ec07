"""Attention-constraint refinement of the condition words' embeddings (paper section 3.2, equations 2 to 4)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as functional
from annotated_types import Ge, Gt, MinLen
from jaxtyping import Float
from torch import Tensor

from diffharmon.embedding.word_weights import weighted_vectors
from diffharmon.protocols import AttentionStore, Backbone
from diffharmon.types import AttentionRule, Conditioning, Event, Inversion, Observer, Text, TokenEdit


@dataclass(frozen=True)
class Words:
    """The vectors under refinement: the condition tokens' input embeddings and the background's fusion weights."""

    foreground: Float[Tensor, "k d"]
    background: Float[Tensor, "l d"]
    weights: Float[Tensor, " l"]

    def leaves(self) -> list[Tensor]:
        """What the optimizer moves."""
        return [self.foreground, self.background, self.weights]

    def named(self) -> dict[str, Tensor]:
        """The same by name."""
        return {"foreground": self.foreground, "background": self.background, "weights": self.weights}


@dataclass(frozen=True)
class Task:
    """What one refinement works on, the same for all its steps.

    Attributes:
        backbone: The model whose attention is read.
        inversion: The image, its mask and its trajectory.
        conditioning: The prompts' embeddings before the refinement.
        observe: Receives an event for every update.
        maps: Records the attention of a forward pass.
    """

    backbone: Backbone
    inversion: Inversion
    conditioning: Conditioning
    observe: Observer
    maps: AttentionStore


def attention_mask(
    latent_mask: Float[Tensor, "1 y x"], size: tuple[int, int], antialias: bool = True, threshold: float = 100 / 255
) -> Float[Tensor, "2 rows columns"]:
    """Reduce a latent mask to attention cells; the second row is its complement."""
    reduced = functional.interpolate(latent_mask[None], size=size, mode="bilinear", antialias=antialias)
    foreground = (reduced[0, 0] > threshold).float()
    return torch.stack([foreground, 1 - foreground])


def attention_loss(
    maps: Float[Tensor, "rows columns n"],
    positions: Sequence[int],
    weights: Float[Tensor, " k"] | None,
    mask: Float[Tensor, "rows columns"],
) -> Float[Tensor, ""]:
    """Mean squared distance of the words' max-normalised attention to the mask (paper equation 2)."""
    chosen = maps[:, :, list(positions)]
    total = chosen.sum(dim=-1) if weights is None else (chosen * weights).sum(dim=-1)
    return functional.mse_loss(total / total.max(), mask)


@dataclass(frozen=True)
class TextRefine:
    """Moves the condition words' input embeddings so that they attend to the foreground and the background.

    One AdamW runs through all sampling steps, and each step gets the embeddings reached there. Several background words
    are fused into one weighted embedding that stands at all their positions, so the two prompts may have different
    numbers of words.

    Args:
        learning_rate: AdamW's (the public code: 5e-4).
        updates: Updates at each sampling step.
        regularization: Weight of the distance to the initial embeddings (paper equation 3; 1000 in the public code).
        divisor: The attention layers of a ``divisor``-th of the canvas's sides count; 32 gives 16 x 16 at 512.
        places: Parts of a UNet whose maps count; None means all, as networks without such parts need it.
        fuse: Write the fused background embedding into the result.
        weight_decay: AdamW's; acts on embeddings and fusion weights.
    """

    needs: ClassVar[tuple[str, ...]] = ("gradients_to_text",)

    learning_rate: Annotated[float, Gt(0)] = 5e-4
    updates: Annotated[int, Ge(0)] = 2
    regularization: Annotated[float, Ge(0)] = 1000.0
    divisor: Annotated[int, Ge(1)] = 32
    places: Annotated[Sequence[str], MinLen(1)] | None = ("down", "up")
    fuse: bool = True
    weight_decay: Annotated[float, Ge(0)] = 0.01

    def refine(
        self, backbone: Backbone, inversion: Inversion, conditioning: Conditioning, observe: Observer
    ) -> Conditioning:
        """Return per-step embeddings of both prompts; the unconditional embedding stays as it is."""
        with backbone.attention([self.recording(inversion)]) as maps:
            return self.refine_all(Task(backbone, inversion, conditioning, observe, maps))

    def refine_all(self, task: Task) -> Conditioning:
        """Refine the words of all steps, one after the other."""
        backbone, inversion, conditioning, observe = task.backbone, task.inversion, task.conditioning, task.observe
        initial = self.initial_words(backbone, conditioning)
        words = Words(*(vector.clone().requires_grad_() for vector in initial.leaves()))
        optimizer = torch.optim.AdamW(words.leaves(), lr=self.learning_rate, weight_decay=self.weight_decay)
        total = len(inversion.trajectory.schedule.timesteps) * self.updates
        refined = []
        for step, latent in enumerate(self.noisy_latents(task)):
            for update in range(step * self.updates, (step + 1) * self.updates):
                values = self.update(task, optimizer, words, initial, latent, step)
                observe(Event("text", update, total, values))
                self.after_update(words)
            with torch.no_grad():
                refined.append(self.encode(backbone, conditioning, words, fuse=self.fuse))
            observe(Event("text", (step + 1) * self.updates - 1, total, {"embedding": refined[-1].tokens}))
        foreground, background = (Text.cat(texts) for texts in zip(*refined, strict=True))
        return replace(conditioning, foreground=foreground, background=background)

    def noisy_latents(self, task: Task) -> Iterator[Float[Tensor, "1 c y x"]]:
        """The noisy latent that each step's attention is computed on: the inversion's own."""
        yield from task.inversion.trajectory.latents[:-1, None]

    def update(
        self,
        task: Task,
        optimizer: torch.optim.Optimizer,
        words: Words,
        initial: Words,
        latent: Float[Tensor, "1 c y x"],
        step: int,
    ) -> dict[str, Tensor]:
        """Move the words once; returns loss, terms, vectors and gradients by name, all detached."""
        with torch.enable_grad():
            terms = self.terms(task, words, initial, latent, step)
            loss = self.total(terms)
            gradients = torch.autograd.grad(loss, words.leaves())
        for leaf, gradient in zip(words.leaves(), gradients, strict=True):
            leaf.grad = gradient
        optimizer.step()
        values = {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}}
        values |= {f"words_{name}": vector.detach().clone() for name, vector in words.named().items()}
        return values | {f"gradient_{name}": g for name, g in zip(words.named(), gradients, strict=True)}

    def after_update(self, words: Words) -> None:
        """Change the words in place between two updates: nothing here."""

    def initial_words(self, backbone: Backbone, conditioning: Conditioning) -> Words:
        """Read the condition tokens' input embeddings; the fusion starts uniform."""
        description, spans = conditioning.description, conditioning.words
        background = spans.background_positions
        with torch.no_grad():
            return Words(
                weighted_vectors(backbone, description, "foreground", spans.foreground),
                weighted_vectors(backbone, description, "background", spans.background),
                self.initial_weights(len(background)).to(backbone.device),
            )

    def initial_weights(self, tokens: int) -> Float[Tensor, " l"]:
        """Logits of equal fusion weights."""
        return torch.zeros(tokens)

    def fusion(self, words: Words) -> Float[Tensor, " l"]:
        """The weights of the background tokens."""
        return words.weights.softmax(dim=0)

    def encode(self, backbone: Backbone, conditioning: Conditioning, words: Words, fuse: bool = False) -> Text:
        """Embed both prompts with the current vectors; ``fuse`` writes the fused one over the background tokens."""
        description, spans = conditioning.description, conditioning.words
        text = backbone.embed(
            [description.foreground_prompt, description.background_prompt],
            [
                TokenEdit(spans.foreground_positions, words.foreground),
                TokenEdit(spans.background_positions, words.background),
            ],
        )
        if not fuse:
            return text
        foreground, background = text.tokens
        weights, places = self.fusion(words), spans.background_positions
        # Vectors of different text encoders mean different things: each part's are fused among themselves.
        for part in spans.by_part(places):
            positions = torch.tensor([places[index] for index in part], device=background.device)
            share = weights[part] / weights[part].sum() if spans.parts else weights
            fused = (share[:, None] * background[positions]).sum(dim=0)
            background = background.index_copy(0, positions, fused.expand(len(positions), -1))
        return replace(text, tokens=torch.stack([foreground, background]))

    def terms(
        self, task: Task, words: Words, initial: Words, latent: Float[Tensor, "1 c y x"], step: int
    ) -> dict[str, Tensor]:
        """The unweighted terms of equations 2 and 3 at one step; differentiable in the words."""
        mask = self.attention_mask(task.inversion.latent_mask, self.cells(task.inversion))
        text = self.encode(task.backbone, task.conditioning, words)
        timestep = task.inversion.trajectory.schedule.timesteps[step]
        whole = getattr(task.backbone.network, "is_gradient_checkpointing", False)
        task.maps.observe(lambda: task.backbone.predict(latent.expand(2, -1, -1, -1), timestep, text), whole)
        maps = task.maps.maps((latent.shape[-2], latent.shape[-1]))
        spans = task.conditioning.words
        return {
            "foreground": attention_loss(maps[0], spans.foreground_positions, None, mask[0]),
            "background": attention_loss(maps[1], spans.background_positions, self.fusion(words), mask[1]),
            "regularization_foreground": functional.mse_loss(words.foreground, initial.foreground),
            "regularization_background": functional.mse_loss(words.background, initial.background),
        }

    def cells(self, inversion: Inversion) -> tuple[int, int]:
        """Return rows and columns of the attention maps that count."""
        height, width = inversion.image.shape[-2:]
        return height // self.divisor, width // self.divisor

    def recording(self, inversion: Inversion) -> AttentionRule:
        """Return the rule that records the attention maps that count."""
        rows, columns = self.cells(inversion)
        places = None if self.places is None else tuple(self.places)
        return AttentionRule(kind="cross", action="record", places=places, queries=rows * columns)

    def attention_mask(
        self, latent_mask: Float[Tensor, "1 y x"], size: tuple[int, int]
    ) -> Float[Tensor, "2 rows columns"]:
        """Reduce the mask to the cells of the attention maps: foreground and background."""
        return attention_mask(latent_mask, size)

    def total(self, terms: dict[str, Tensor]) -> Float[Tensor, ""]:
        """The objective (paper equation 4)."""
        regularization = terms["regularization_foreground"] + terms["regularization_background"]
        return terms["foreground"] + terms["background"] + self.regularization * regularization
