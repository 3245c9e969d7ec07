"""A cut-out laid over a background: a composite whose foreground mask is the cut-out's transparency."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.errors import InputError
from diffharmon.images import Picture, check_mask, coloured, from_srgb


def lay_over(
    cut_out: Picture, background: Picture, position: Sequence[int], what: str = "foreground"
) -> tuple[Picture, Float[Tensor, "1 h w"]]:
    """Lay a cut-out over a background, in whose colour space they are blended; return the photo and its mask.

    Args:
        cut_out: A picture with transparency.
        background: The photo beneath, which gives the result its size, depth and colour space; grey gets colours.
        position: Column and row of the cut-out's upper left corner; what lies outside is cut off.
        what: What the cut-out is, for messages.

    Raises:
        InputError: The cut-out has no transparency, or nothing or everything of the background is covered.
    """
    if cut_out.alpha is None:
        raise InputError(f"{what}: expected a cut-out with an alpha channel, got a picture without one")
    photo = coloured(background)
    size = tuple(photo.image.shape[-2:])
    colour, cover = (_placed(part, size, position) for part in (cut_out.image, cut_out.alpha))
    check_mask(cover, photo.image, f"{what} (its alpha at this position)")
    if photo.encoded is not None:
        photo = replace(photo, encoded=_over(from_srgb(colour, photo.profile), cover, photo.encoded))
    return replace(photo, image=_over(colour, cover, photo.image)), cover


def _over(
    front: Float[Tensor, "3 h w"], cover: Float[Tensor, "1 h w"], behind: Float[Tensor, "3 h w"]
) -> Float[Tensor, "3 h w"]:
    """Lay one picture over another, which stays bit for bit where nothing covers it."""
    return torch.where(cover > 0, cover * front + (1 - cover) * behind, behind)


def _placed(picture: Float[Tensor, "c v u"], size: tuple[int, ...], position: Sequence[int]) -> Float[Tensor, "c h w"]:
    """Put a picture on an empty canvas."""
    canvas = picture.new_zeros(len(picture), *size)
    inside, cut = zip(
        *(_overlap(*ends) for ends in zip(position[::-1], picture.shape[-2:], size, strict=True)), strict=True
    )
    canvas[:, inside[0], inside[1]] = picture[:, cut[0], cut[1]]
    return canvas


def _overlap(start: int, length: int, size: int) -> tuple[slice, slice]:
    """Return where a piece lies on an axis of ``size``, and which part of the piece that is."""
    first, last = max(start, 0), max(min(start + length, size), max(start, 0))
    first = min(first, last)
    return slice(first, last), slice(first - start, last - start)
