"""A plain direct-inversion edit for validation curves, free of the framework's pipeline and attention control."""

import itertools
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@torch.no_grad()
def direct_inversion_edit(
    unet: Any,
    latent: Float[Tensor, "b 4 y x"],
    source: Float[Tensor, "b n d"],
    target: Float[Tensor, "b n d"],
    levels: Float[Tensor, " t"],
    steps: int = 20,
) -> Float[Tensor, "b 4 y x"]:
    """Invert under the source prompt, denoise under the target prompt, guidance 1.

    The source branch is pinned to the stored trajectory, and what pins it is added to the edited branch as well
    (direct inversion), so that equal prompts return the latent exactly.

    Args:
        unet: a v-predicting UNet.
        latent: clean latents.
        source: embedded prompts that describe the latents.
        target: embedded prompts to reach.
        levels: cumulative products of alphas.
        steps: DDIM steps.
    """
    times = [round(index * len(levels) / steps) for index in range(steps)]

    def level(time: int) -> Tensor:
        return levels[time] if time >= 0 else torch.ones_like(levels[0])

    def move(noisy: Tensor, start: int, end: int, text: Tensor) -> Tensor:
        time = torch.full((len(noisy),), max(start, 0), device=noisy.device)
        velocity = unet(noisy, time, text).sample.float()
        signal, noise = level(start).sqrt(), (1 - level(start)).sqrt()
        clean, residual = signal * noisy - noise * velocity, noise * noisy + signal * velocity
        return level(end).sqrt() * clean + (1 - level(end)).sqrt() * residual

    path = [-1, *times]
    trajectory = [latent]
    for start, end in itertools.pairwise(path):
        trajectory.append(move(trajectory[-1], start, end, source))
    edited = trajectory[-1]
    for index in range(steps, 0, -1):
        both = torch.cat([trajectory[index], edited])
        base, moved = move(both, path[index], path[index - 1], torch.cat([source, target])).chunk(2)
        edited = moved + trajectory[index - 1] - base
    return edited


def transferred(
    composite: Float[Tensor, "b 3 h w"],
    source: Float[Tensor, "b 3 h w"],
    edited: Float[Tensor, "b 3 h w"],
    mask: Float[Tensor, "b 1 h w"],
    sigma: float = 4.0,
) -> Float[Tensor, "b 3 h w"]:
    """Add the smooth part of a change to the foreground of a composite.

    Args:
        composite: RGB in [0, 1].
        source: decoded latents before the edit.
        edited: decoded latents after the edit.
        mask: foreground in [0, 1].
        sigma: standard deviation in pixels of the Gaussian, normalized within the mask.
    """
    reach = torch.arange(-round(3 * sigma), round(3 * sigma) + 1, device=mask.device)
    kernel = torch.exp(-(reach**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()

    def blur(values: Tensor) -> Tensor:
        flat = values.flatten(0, 1)[:, None]
        flat = functional.conv2d(flat, kernel.view(1, 1, 1, -1), padding=(0, len(kernel) // 2))
        flat = functional.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(len(kernel) // 2, 0))
        return flat.view_as(values)

    change = blur((edited - source) * mask) / blur(mask).clamp_min(1e-3)
    return (composite + mask * change).clamp(0, 1)
