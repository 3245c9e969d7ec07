"""How one region of a photo is shown to a model that looks at whole images."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from diffharmon.errors import InputError
from diffharmon.images import MASK_THRESHOLD
from diffharmon.types.levels import Levels, bands

GREY = 0.5


def hide(
    image: Float[Tensor, "... 3 h w"], region: Float[Tensor, "... 1 h w"], context: bool
) -> Float[Tensor, "... 3 h w"]:
    """Show a region and hide the rest under grey, or behind a grey screen that lets every second pixel through.

    Light is judged by comparison, so a model that was trained to look through the screen judges a region by its
    surroundings. The screen is a chessboard of single pixels: a patch embedding can tell it from any photo, and what
    lies behind it from the screen.

    Args:
        image: RGB in [0, 1].
        region: 1 for what is shown.
        context: The screen instead of plain grey.
    """
    cover: Float[Tensor, "h w"] | float = 1.0
    if context:
        rows, columns = (torch.arange(side, device=image.device) for side in image.shape[-2:])
        cover = ((rows[:, None] + columns) % 2).to(image)
    hidden = (1 - region) * cover
    return image * (1 - hidden) + GREY * hidden


def look_at(
    image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], margin: float | None, side: int | None
) -> Float[Tensor, "3 y x"]:
    """Cut an image to a square around its foreground, and show what surrounds it through a screen.

    Args:
        image: RGB in [0, 1].
        mask: Foreground mask.
        margin: Surroundings kept on each side, as a fraction of the foreground's longer side; None keeps the frame.
        side: Side in pixels of the squashed square that the screen is laid over; None leaves size and surroundings.

    Raises:
        InputError: If the mask is empty and a margin is given.
    """
    if margin is not None:
        top, bottom, left, right = box_around(mask, margin)
        image, mask = image[:, top:bottom, left:right], mask[:, top:bottom, left:right]
    if side is None:
        return image
    small, cover = (shrink(layer, side).clamp(0, 1) for layer in (image, mask.to(image)))
    return hide(small, cover, True)


def shrink(image: Float[Tensor, "c h w"], side: int) -> Float[Tensor, "c s s"]:
    """Squash a picture to a square, bilinear and antialiased.

    On the CPU one that is held as levels is squashed by bands, first its rows and then its columns, which is the order
    and gives the values of the whole at once.
    """

    def resized(layers: Tensor, height: int) -> Tensor:
        return functional.interpolate(layers[None], (height, side), mode="bilinear", antialias=True)[0]

    if not isinstance(image, Levels) or image.device.type != "cpu":
        return resized(image, side)
    narrow = [resized(image[:, rows], rows.stop - rows.start) for rows in bands(*image.shape[1:])]
    return resized(torch.cat(narrow, dim=1), side)


def close_up(layers: Float[Tensor, "c h w"], mask: Float[Tensor, "1 h w"]) -> Float[Tensor, "c y x"]:
    """Cut a photo to its foreground and as much around it on each side as half of the foreground's longer side.

    At least 45 % of the photo's longer side are kept, so that a small object does not become a blur.
    """
    top, bottom, left, right = box_around(mask, 0.5, 0.45)
    return layers[:, top:bottom, left:right]


def box_around(mask: Float[Tensor, "1 h w"], margin: float, smallest: float = 0.0) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of a square around the foreground, cut off at the image's border.

    Args:
        mask: Foreground mask; what exceeds 100/255 counts.
        margin: Added on each side, as a fraction of the foreground's longer side.
        smallest: Minimum side of the square, as a fraction of the image's longer side.

    Raises:
        InputError: If the mask is empty.
    """
    inside = mask[0] > MASK_THRESHOLD
    places = [inside.any(dim=1 - axis).nonzero() for axis in (0, 1)]
    if not len(places[0]):
        raise InputError("the foreground mask is empty, expected some pixels above 100/255")
    low, high = (torch.stack([found[place, 0] for found in places]) for place in (0, -1))
    high = high + 1
    half = max((high - low).max().item() * (0.5 + margin), smallest * max(mask.shape[1:]) / 2)
    bounds = []
    for first, last, length in zip(low.tolist(), high.tolist(), mask.shape[1:], strict=True):
        centre = (first + last) / 2
        bounds += [max(0, round(centre - half)), min(length, round(centre + half))]
    return bounds[0], bounds[1], bounds[2], bounds[3]
