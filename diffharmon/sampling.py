"""The sampling loops, named for what the paper calls them: functions over a backbone.

A loop says what it does through an observer; whether gradients flow is decided by who calls.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.protocols import AttentionStore, Backbone
from diffharmon.types import Conditioning, Event, Observer, Trajectory, ignore


def predict_guided(
    backbone: Backbone,
    latent: Float[Tensor, "b c y x"],
    step: int,
    unconditional: Float[Tensor, "b n d"],
    conditional: Float[Tensor, "b n d"],
    guidance: float,
) -> Float[Tensor, "b c y x"]:
    """Predict with classifier-free guidance: ``u + guidance * (c - u)``.

    Guidance 0 evaluates the unconditional branch alone and guidance 1 the conditional one. Otherwise both run in one
    batch, the unconditional rows first.
    """
    if guidance == 0:
        return backbone.predict(latent, step, unconditional)
    if guidance == 1:
        return backbone.predict(latent, step, conditional)
    both = backbone.predict(torch.cat([latent, latent]), step, torch.cat([unconditional, conditional]))
    without, with_text = both.chunk(2)
    return without + guidance * (with_text - without)


@torch.no_grad()
def invert(
    backbone: Backbone,
    latent: Float[Tensor, "1 c y x"],
    conditioning: Conditioning,
    guidance: float,
    observe: Observer = ignore,
) -> Trajectory:
    """Invert a clean latent to noise by DDIM under the foreground prompt.

    The paper inverts at guidance 0, where the prompt has no influence (parity quirk Q6); 1 is inversion by the prompt.
    """
    steps = len(backbone.timesteps)
    latents = [latent]
    for step in reversed(range(steps)):
        unconditional, conditional = conditioning.unconditional[step, None], conditioning.foreground[step, None]
        predicted_at = step + backbone.inversion_offset
        noise = predict_guided(backbone, latents[-1], predicted_at, unconditional, conditional, guidance)
        latents.append(backbone.invert(latents[-1], noise, step))
        observe(Event("inversion", steps - 1 - step, steps, {"latent": latents[-1]}))
    return Trajectory(backbone.timesteps, torch.cat(latents[::-1]))


def edit_rows(guidance: float) -> tuple[int, ...]:
    """Return the batch row that each row of the edit follows: edited follows source in the conditional half.

    The unconditional half is left alone, as in the reference (quirk Q25). At guidance 0 there is no conditional half.
    """
    if guidance == 0:
        return (0, 1)
    return (0, 0) if guidance == 1 else (0, 1, 2, 2)


def edit_step(
    backbone: Backbone, latents: Float[Tensor, "2 c y x"], conditioning: Conditioning, guidance: float, step: int
) -> Float[Tensor, "2 c y x"]:
    """Denoise both branches by one step, each under its own prompt."""
    unconditional = conditioning.unconditional[step].expand(2, -1, -1)
    conditional = torch.stack([conditioning.foreground[step], conditioning.background[step]])
    noise = predict_guided(backbone, latents, step, unconditional, conditional, guidance)
    return backbone.denoise(latents, noise, step)


@torch.no_grad()
def edit(
    backbone: Backbone,
    trajectory: Trajectory,
    conditioning: Conditioning,
    guidance: float,
    store: AttentionStore,
    anchor: float | None = None,
    observe: Observer = ignore,
) -> Float[Tensor, "2 c y x"]:
    """Denoise source branch (foreground prompt) and edited branch (background prompt) side by side.

    Args:
        backbone: The model, inside its attention ``with`` block.
        trajectory: The inversion to start from.
        conditioning: Embeddings of each step.
        guidance: Classifier-free guidance scale.
        store: What the attention block hands out; its step is set before each prediction.
        anchor: Where given, the source branch is put back on the trajectory after every step (direct inversion, arXiv
            2310.01506) and this fraction of its correction goes to the edited branch too.
        observe: Sees the two latents after each step.

    Returns:
        The clean latents: source branch, edited branch.
    """
    steps = len(backbone.timesteps)
    latents = trajectory.latents[0].expand(2, -1, -1, -1)
    for step in range(steps):
        store.step = step
        latents = edit_step(backbone, latents, conditioning, guidance, step)
        if anchor is not None:
            target = trajectory.latents[step + 1]
            latents = torch.stack([target, latents[1] + anchor * (target - latents[0])])
        observe(Event("edit", step, steps, {"latents": latents}))
    return latents
