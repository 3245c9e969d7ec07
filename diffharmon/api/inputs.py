"""What a call is given, read and put together as a composite."""

import os
from dataclasses import replace
from numbers import Integral
from typing import Any

from diffharmon import images
from diffharmon.api.pictures import Loaded, load, load_mask
from diffharmon.errors import InputError
from diffharmon.images.cut_out import lay_over
from diffharmon.types import Composite


def read_composite(
    composite: Any, mask: Any, max_megapixels: float = images.MAX_MEGAPIXELS, colour: bool = False
) -> tuple[Loaded, Composite]:
    """Read a composite and its mask from any kind of picture.

    Args:
        composite: The composite.
        mask: Its foreground mask.
        max_megapixels: The largest number of pixels of a file in millions.
        colour: Treat a grey composite as one with colours.

    Raises:
        InputError: One of them cannot be read, they differ in size, or the mask selects nothing or everything.
    """
    source = load(composite, "composite", max_megapixels)
    if colour:
        source = replace(source, picture=images.coloured(source.picture))
    if mask is None:
        raise InputError("mask: expected the foreground mask of the composite, got none")
    foreground = load_mask(mask, max_megapixels)
    named = os.fspath(mask) if isinstance(mask, str | os.PathLike) else "given"
    images.check_mask(foreground, source.picture.image, named)
    return source, source.picture.composite(source.name, "call", foreground)


def compose_cut_out(
    cut_out: Any, background: Any, position: Any, max_megapixels: float = images.MAX_MEGAPIXELS
) -> tuple[Loaded, Composite]:
    """Lay a cut-out over a background, in whose colour space they are blended; its alpha becomes the foreground mask.

    Args:
        cut_out: A picture with transparency.
        background: The photo beneath, which gives the result its size.
        position: Column and row of the cut-out's upper left corner; what lies outside is cut off.
        max_megapixels: The largest number of pixels of a file in millions.

    Raises:
        InputError: A picture is missing, the cut-out has no transparency, or nothing of it lies inside.
    """
    if cut_out is None or background is None:
        raise InputError(
            "expected a composite and its mask, or foreground= a cut-out with alpha and background= a photo"
        )
    if len(tuple(position)) != 2 or not all(isinstance(place, Integral) for place in position):
        raise InputError(f"position: expected a column and a row in whole pixels, got {position!r}")
    front = load(cut_out, "foreground", max_megapixels).picture
    behind = load(background, "background", max_megapixels)
    photo, cover = lay_over(front, behind.picture, tuple(map(int, position)))
    return behind, photo.composite(behind.name, "call", cover)
