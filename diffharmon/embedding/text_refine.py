"""Attention-constraint refinement of the condition words' embeddings (paper section 3.2, equations 2 to 4)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from diffharmon.protocols import Backbone
from diffharmon.sampling import predict_guided
from diffharmon.types import AttentionRule, Conditioning, Event, Inversion, Observer, TokenEdit


@dataclass(frozen=True)
class Words:
    """The vectors under refinement: the condition tokens' input embeddings and the background's fusion weights."""

    foreground: Float[Tensor, "k d"]
    background: Float[Tensor, "l d"]
    weights: Float[Tensor, " l"]

    def leaves(self) -> list[Tensor]:
        """What the optimizer moves."""
        return [self.foreground, self.background, self.weights]


def attention_mask(
    latent_mask: Float[Tensor, "1 y x"], side: int, antialias: bool, threshold: float = 100 / 255
) -> Float[Tensor, "2 r r"]:
    """Reduce a latent mask to attention cells; the second row is its complement."""
    reduced = functional.interpolate(latent_mask[None], size=(side, side), mode="bilinear", antialias=antialias)
    foreground = (reduced[0, 0] > threshold).float()
    return torch.stack([foreground, 1 - foreground])


def attention_loss(
    maps: Float[Tensor, "q n"],
    positions: Sequence[int],
    weights: Float[Tensor, " k"] | None,
    mask: Float[Tensor, "r r"],
) -> Float[Tensor, ""]:
    """Mean squared distance of the words' max-normalised attention to the mask (paper equation 2)."""
    chosen = maps[:, list(positions)]
    total = chosen.sum(dim=1) if weights is None else (chosen * weights).sum(dim=1)
    return functional.mse_loss(total.view_as(mask) / total.max(), mask)


class TextRefine:
    """Moves the condition words' input embeddings so that they attend to the foreground and the background.

    One AdamW runs through all sampling steps; each step's embeddings are kept, so the result differs by step. Several
    background words are fused into one weighted embedding that stands at all their positions, so the two prompts may
    have different numbers of words.

    Args:
        learning_rate: AdamW's (the public code: 5e-4).
        updates: Updates at each sampling step.
        regularization: Weight of the distance to the initial embeddings (paper equation 3; 1000 in the public code).
        divisor: Attention layers of side ``size / divisor`` are looked at; 32 gives 16 x 16 at 512.
        places: Parts of the UNet whose maps count.
        fuse: Write the fused background embedding into the result.
        weighting: ``softmax`` keeps fusion logits and weights by their softmax; ``softmax_again`` applies the softmax
            to the weights themselves after every update, as the public code does, which pulls them to uniform (quirk
            Q14).
        latents: ``trajectory`` reads each step's latent off the inversion; ``denoised`` denoises anew without text from
            pure noise, as the public code does, which drifts off the inversion.
        mask_antialias: Reduce the mask with antialiasing; the public code's library version did not (quirk Q10).
        weight_decay: AdamW's; acts on embeddings and fusion weights.
    """

    def __init__(
        self,
        learning_rate: float = 5e-4,
        updates: int = 2,
        regularization: float = 1000.0,
        divisor: int = 32,
        places: Sequence[str] = ("down", "up"),
        fuse: bool = True,
        weighting: Literal["softmax", "softmax_again"] = "softmax",
        latents: Literal["trajectory", "denoised"] = "trajectory",
        mask_antialias: bool = True,
        weight_decay: float = 0.01,
    ) -> None:
        self.learning_rate = learning_rate
        self.updates = updates
        self.regularization = regularization
        self.divisor = divisor
        self.places = tuple(places)
        self.fuse = fuse
        self.repeat_softmax = weighting == "softmax_again"
        self.denoise_anew = latents == "denoised"
        self.mask_antialias = mask_antialias
        self.weight_decay = weight_decay

    def refine(
        self, backbone: Backbone, inversion: Inversion, conditioning: Conditioning, observe: Observer
    ) -> Conditioning:
        """Return per-step embeddings of both prompts; the unconditional embedding is left alone."""
        initial = self.initial_words(backbone, conditioning)
        words = Words(*(vector.clone().requires_grad_() for vector in initial.leaves()))
        optimizer = torch.optim.AdamW(words.leaves(), lr=self.learning_rate, weight_decay=self.weight_decay)
        steps = len(backbone.timesteps)
        latent = inversion.trajectory.latents[0, None]
        refined = []
        for step in range(steps):
            latent = latent if self.denoise_anew else inversion.trajectory.latents[step, None]
            for update in range(self.updates):
                with torch.enable_grad():
                    terms = self.terms(backbone, inversion, conditioning, words, initial, latent, step)
                    loss = self.total(terms)
                    gradients = torch.autograd.grad(loss, words.leaves())
                self.apply(optimizer, words, gradients)
                values = {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}}
                named = dict(zip(("foreground", "background", "weights"), words.leaves(), strict=True))
                values |= {f"words_{name}": vector.detach().clone() for name, vector in named.items()}
                values |= {f"gradient_{n}": g for n, g in zip(named, gradients, strict=True)}
                observe(Event("text", step * self.updates + update, steps * self.updates, values))
                self.after_update(words)
            with torch.no_grad():
                refined.append(self.encode(backbone, conditioning, words, fuse=self.fuse))
                done = Event("text", (step + 1) * self.updates - 1, steps * self.updates, {"embedding": refined[-1]})
                observe(done)
                if self.denoise_anew:
                    latent = self.step_without_text(backbone, conditioning, latent, step)
                    observe(Event("text", (step + 1) * self.updates - 1, steps * self.updates, {"latent": latent}))
        foreground, background = torch.stack(refined, dim=1)
        return replace(conditioning, foreground=foreground, background=background)

    def initial_words(self, backbone: Backbone, conditioning: Conditioning) -> Words:
        """Read the condition tokens' input embeddings; fusion starts uniform."""
        description, spans = conditioning.description, conditioning.words
        background = spans.background_positions
        uniform = torch.full((len(background),), 1 / len(background) if self.repeat_softmax else 0.0)
        with torch.no_grad():
            return Words(
                backbone.input_embeddings(description.foreground_prompt, spans.foreground_positions),
                backbone.input_embeddings(description.background_prompt, background),
                uniform.to(backbone.device),
            )

    def fusion(self, words: Words) -> Float[Tensor, " l"]:
        """The weights of the background tokens."""
        return words.weights if self.repeat_softmax else words.weights.softmax(dim=0)

    def encode(
        self, backbone: Backbone, conditioning: Conditioning, words: Words, fuse: bool = False
    ) -> Float[Tensor, "2 n d"]:
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
        positions = torch.tensor(spans.background_positions, device=text.device)
        fused = (self.fusion(words)[:, None] * text[1, positions]).sum(dim=0)
        return torch.stack([text[0], text[1].index_copy(0, positions, fused.expand(len(positions), -1))])

    def terms(
        self,
        backbone: Backbone,
        inversion: Inversion,
        conditioning: Conditioning,
        words: Words,
        initial: Words,
        latent: Float[Tensor, "1 c y x"],
        step: int,
    ) -> dict[str, Tensor]:
        """The unweighted terms of equations 2 and 3 at one step; differentiable in the words."""
        side = backbone.size // self.divisor
        mask = attention_mask(inversion.latent_mask, side, self.mask_antialias)
        rule = AttentionRule(kind="cross", action="record", places=self.places, queries=side * side)
        text = self.encode(backbone, conditioning, words)
        with backbone.attention([rule]) as store:
            store.step = step
            backbone.predict(latent.expand(2, -1, -1, -1), step, text)
            maps = store.maps()
        spans = conditioning.words
        return {
            "foreground": attention_loss(maps[0], spans.foreground_positions, None, mask[0]),
            "background": attention_loss(maps[1], spans.background_positions, self.fusion(words), mask[1]),
            "regularization_foreground": functional.mse_loss(words.foreground, initial.foreground),
            "regularization_background": functional.mse_loss(words.background, initial.background),
        }

    def total(self, terms: dict[str, Tensor]) -> Float[Tensor, ""]:
        """The objective (paper equation 4)."""
        regularization = terms["regularization_foreground"] + terms["regularization_background"]
        return terms["foreground"] + terms["background"] + self.regularization * regularization

    @staticmethod
    def apply(optimizer: torch.optim.Optimizer, words: Words, gradients: Sequence[Tensor]) -> None:
        """Take one optimizer step with the given gradients."""
        for leaf, gradient in zip(words.leaves(), gradients, strict=True):
            leaf.grad = gradient
        optimizer.step()

    def after_update(self, words: Words) -> None:
        """Do what the public code does to the fusion weights after each update (quirk Q14), if asked to."""
        if self.repeat_softmax:
            words.weights.data = words.weights.data.softmax(dim=0)

    @staticmethod
    def step_without_text(
        backbone: Backbone, conditioning: Conditioning, latent: Float[Tensor, "1 c y x"], step: int
    ) -> Float[Tensor, "1 c y x"]:
        """Denoise one step at guidance 0, as the public code does between the steps of its refinement."""
        unconditional = conditioning.unconditional[step, None]
        return backbone.denoise(latent, predict_guided(backbone, latent, step, unconditional, unconditional, 0.0), step)
