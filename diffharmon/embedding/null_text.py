"""Unconditional-embedding (null-text) optimization with structure losses (paper section 3.2; arXiv 2211.09794)."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as functional
from annotated_types import Ge, Gt
from jaxtyping import Float, Num
from torch import Tensor

from diffharmon.errors import ConfigError
from diffharmon.protocols import Backbone
from diffharmon.types import Conditioning, Event, Guidance, Inversion, Observer, Schedule, Text


@dataclass(frozen=True)
class NullText:
    """Optimizes each step's unconditional embedding so that the guided foreground branch stays on the inversion.

    The structure losses are added on the decoded image, so that edges count as much as latents. One AdamW runs through
    all steps, and each step starts from the embedding of the one before.

    Args:
        guidance: Classifier-free guidance scale of the edit, which the embedding has to undo.
        learning_rate: AdamW's, constant.
        updates_every: Step i gets ``i // updates_every + 1`` updates (10 in the public code: 145 updates in 49 steps).
        reconstruction: Weight of the latent's distance to the inversion.
        stop_below: A step's updates end early when the loss falls below this; 0 never.
        weight_decay: AdamW's.
        decode: ``half`` decodes the latent shrunk to half its sides for the structure losses, a quarter of the work;
            the losses then compare with the photo at that size.

    Raises:
        ConfigError: If the guidance is 0 or 1, where the unconditional embedding has no influence or no counterpart.
    """

    needs: ClassVar[tuple[str, ...]] = ("unconditional", "gradients_to_text", "inversion")

    guidance: Annotated[float, Ge(0)]
    learning_rate: Annotated[float, Gt(0)] = 0.1
    updates_every: Annotated[int, Ge(1)] = 10
    reconstruction: Annotated[float, Ge(0)] = 10.0
    stop_below: Annotated[float, Ge(0)] = 0.0
    weight_decay: Annotated[float, Ge(0)] = 0.01
    decode: Literal["full", "half"] = "full"

    def __post_init__(self) -> None:
        if self.guidance in (0, 1):
            raise ConfigError(
                f"guidance: {self.guidance:g} leaves nothing to optimize; expected another "
                "value of `method.guidance`, or `~embedding.unconditional`"
            )

    def refine(
        self, backbone: Backbone, inversion: Inversion, conditioning: Conditioning, observe: Observer
    ) -> Conditioning:
        """Return the conditioning with an unconditional embedding of its own at each step."""
        empty = conditioning.unconditional[0]
        tokens = empty.tokens.clone().requires_grad_()
        unconditional = replace(empty, tokens=tokens)
        optimizer = torch.optim.AdamW([tokens], lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = inversion.trajectory.schedule
        steps = len(schedule.timesteps)
        total = sum(self.updates(step) for step in range(steps))
        latent, done, optimized = inversion.trajectory.latents[:1], 0, []
        for step in range(steps):
            # The conditional branch does not depend on what is optimized: predicted once for all updates of a step.
            with_text = self.predict_text(backbone, schedule, conditioning, latent, step)
            prediction = self.first_prediction(backbone, schedule, conditioning, latent, step, with_text)
            for update in range(self.updates(step)):
                with torch.enable_grad():
                    terms, after = self.terms(backbone, inversion, latent, unconditional, prediction, step)
                    loss = torch.stack(list(terms.values())).sum()
                    (gradient,) = torch.autograd.grad(loss, [tokens])
                tokens.grad = gradient
                optimizer.step()
                values = {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}}
                values |= {"latent": after.detach(), "gradient": gradient, "embedding": tokens.detach().clone()}
                observe(Event("unconditional", done + update, total, values))
                if loss.item() < self.stop_below:
                    break
                prediction = with_text
            done += self.updates(step)
            with torch.no_grad():
                noise = self.guided(backbone, latent, unconditional, with_text, schedule.timesteps[step])
                latent = schedule.denoise(latent, noise, step)
            optimized.append(unconditional.detach())
            observe(Event("unconditional", done - 1, total, {"denoised": latent}))
        return replace(conditioning, unconditional=Text.cat(optimized))

    def updates(self, step: int) -> int:
        """Number of updates at a step."""
        return step // self.updates_every + 1

    @torch.no_grad()
    def predict_text(
        self,
        backbone: Backbone,
        schedule: Schedule,
        conditioning: Conditioning,
        latent: Float[Tensor, "1 c y x"],
        step: int,
    ) -> Float[Tensor, "1 c y x"]:
        """Predict the conditional branch of a step under the foreground prompt."""
        return backbone.predict(latent, schedule.timesteps[step], conditioning.foreground[step])

    def first_prediction(
        self,
        backbone: Backbone,
        schedule: Schedule,
        conditioning: Conditioning,
        latent: Float[Tensor, "1 c y x"],
        step: int,
        with_text: Float[Tensor, "1 c y x"],
    ) -> Float[Tensor, "1 c y x"]:
        """Return the conditional prediction that a step's first update uses: the one all others use."""
        return with_text

    def guided(
        self,
        backbone: Backbone,
        latent: Float[Tensor, "1 c y x"],
        unconditional: Text,
        with_text: Float[Tensor, "1 c y x"],
        timestep: Num[Tensor, ""],
    ) -> Float[Tensor, "1 c y x"]:
        """Classifier-free guidance with a given conditional prediction."""
        without = backbone.predict(latent, timestep, unconditional)
        return Guidance(self.guidance).combine(without, with_text)

    def terms(
        self,
        backbone: Backbone,
        inversion: Inversion,
        latent: Float[Tensor, "1 c y x"],
        unconditional: Text,
        with_text: Float[Tensor, "1 c y x"],
        step: int,
    ) -> tuple[dict[str, Tensor], Float[Tensor, "1 c y x"]]:
        """The weighted terms of the objective at one step, and the latent that leaves it; differentiable."""
        schedule = inversion.trajectory.schedule
        noise = self.guided(backbone, latent, unconditional, with_text, schedule.timesteps[step])
        after = schedule.denoise(latent, noise, step)
        target = inversion.trajectory.latents[step + 1, None]
        terms = {"reconstruction": self.reconstruction * functional.mse_loss(after, target)}
        if inversion.structure.losses:
            compared = self.compared(schedule, latent, noise, after, step)
            if self.decode == "half":
                compared = functional.interpolate(compared, scale_factor=0.5, mode="area")
            image = backbone.decode(compared).clamp(0, 1)
            terms |= {name: loss(image) for name, loss in inversion.structure.losses.items()}
        return terms, after

    def compared(
        self,
        schedule: Schedule,
        latent: Float[Tensor, "1 c y x"],
        noise: Float[Tensor, "1 c y x"],
        after: Float[Tensor, "1 c y x"],
        step: int,
    ) -> Float[Tensor, "1 c y x"]:
        """Return the latent whose image the structure losses compare with the photo: the estimate of the clean one."""
        return schedule.estimate(latent, noise, step)
