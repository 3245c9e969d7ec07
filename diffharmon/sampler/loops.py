"""The sampling loops over a backbone and a schedule, one function each.

A loop reports through an observer.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.protocols import Backbone
from diffharmon.types import AttentionRule, Conditioning, Event, Guidance, Observer, Schedule, Text, Trajectory, ignore


@torch.no_grad()
def invert(
    backbone: Backbone,
    schedule: Schedule,
    latent: Float[Tensor, "1 c y x"],
    conditioning: Conditioning,
    guidance: Guidance,
    observe: Observer = ignore,
) -> Trajectory:
    """Invert a clean latent to noise under the foreground prompt (DDIM inversion).

    The paper inverts at guidance 0, where the prompt has no influence (parity quirk Q6); 1 is inversion by the prompt.
    """
    steps = len(schedule.timesteps)
    latents = [latent]
    for step in reversed(range(steps)):
        unconditional, conditional = conditioning.unconditional[step], conditioning.foreground[step]
        timestep = schedule.inversion_timesteps[step]
        output = guidance.predict(backbone.predict, latents[-1], timestep, unconditional, conditional)
        latents.append(schedule.invert(latents[-1], output, step))
        observe(Event("inversion", steps - 1 - step, steps, {"latent": latents[-1]}))
    return Trajectory(schedule, torch.cat(latents[::-1]))


@torch.no_grad()
def edit(
    backbone: Backbone,
    trajectory: Trajectory,
    conditioning: Conditioning,
    guidance: Guidance,
    rules: Sequence[AttentionRule] = (),
    target_correction: float | None = None,
    observe: Observer = ignore,
    first: int = 0,
) -> Float[Tensor, "2 c y x"]:
    """Denoise source branch (foreground prompt) and edited branch (background prompt) side by side.

    Args:
        backbone: The model.
        trajectory: The inversion to start from.
        conditioning: Embeddings of each step.
        guidance: Classifier-free guidance.
        rules: Attention rules; the edited branch follows the source branch.
        target_correction: Where given, the source branch is put back on the trajectory after every step (direct
            inversion, arXiv 2310.01506) and the edited branch receives this fraction of the correction.
        observe: Receives the two latents after each step.
        first: The step that both branches start from, on the trajectory.

    Returns:
        The clean latents: source branch, edited branch.
    """
    schedule = trajectory.schedule
    steps = len(schedule.timesteps)
    latents = trajectory.latents[first].expand(2, -1, -1, -1)
    step_of, sources = edit_step, guidance.rows
    if target_correction == 0 and guidance.scale not in (0, 1):  # nobody asks what the source branch's step gives
        step_of, sources = edited_step, (0, 1, 1)
    with backbone.attention(rules, sources, steps) as store:
        for step in range(first, steps):
            store.step = step
            latents = step_of(backbone, schedule, latents, conditioning, guidance, step)
            if target_correction is not None:
                latents = follow(latents, trajectory.latents[step + 1], target_correction)
            observe(Event("edit", step, steps, {"latents": latents}))
    return latents


def edit_step(
    backbone: Backbone,
    schedule: Schedule,
    latents: Float[Tensor, "2 c y x"],
    conditioning: Conditioning,
    guidance: Guidance,
    step: int,
) -> Float[Tensor, "2 c y x"]:
    """Denoise both branches by one step, each under its own prompt."""
    unconditional = conditioning.unconditional[step].expand(2)
    timestep = schedule.timesteps[step]
    output = guidance.predict(backbone.predict, latents, timestep, unconditional, conditioning.prompts(step))
    return schedule.denoise(latents, output, step)


def edited_step(
    backbone: Backbone,
    schedule: Schedule,
    latents: Float[Tensor, "2 c y x"],
    conditioning: Conditioning,
    guidance: Guidance,
    step: int,
) -> Float[Tensor, "2 c y x"]:
    """Denoise the edited branch alone by one step; the source branch is predicted for its attention only."""
    edited = latents[1:]
    text = Text.cat([conditioning.unconditional[step], conditioning.prompts(step)])
    predicted = backbone.predict(torch.cat([edited, latents]), schedule.timesteps[step], text)
    output = guidance.combine(predicted[:1], predicted[2:])
    return torch.cat([latents[:1], schedule.denoise(edited, output, step)])


def follow(
    latents: Float[Tensor, "2 c y x"], inverted: Float[Tensor, "c y x"], target_correction: float
) -> Float[Tensor, "2 c y x"]:
    """Put the source branch back on its inversion and give the edited branch a fraction of the correction."""
    source, edited = latents
    return torch.stack([inverted, edited + target_correction * (inverted - source)])
