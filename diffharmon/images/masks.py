"""Foreground masks: one rule for which part of a file is the mask, and refusal where the file leaves doubt.

1. ``mask_channel`` or ``label``, where given, decides.
2. Alpha that divides the image into foreground and background is the mask, whatever the colours: a cut-out.
3. A palette of two labels is a binary mask; more labels are refused, unless the colours are grey levels.
4. Equal colour channels are the mask; of unequal ones the only one that is not black, or the only colour beside black.
   Anything else is refused.

The levels of the mask are its coverage: 0 to 1 for a file that holds only 0 and 1, 0 to 255 also in a file of 16 bits
that holds no more, else 0 to the file's peak. A file with two levels is a binary mask. Small levels that are not 0,
as JPEG leaves them, are background.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.errors import DoubtfulMask, InputError
from diffharmon.images.decoding import Pixels, decode
from diffharmon.images.opening import MAX_MEGAPIXELS
from diffharmon.images.planes import MASK_THRESHOLD, Plane, full_scale, histogram, two_levels
from diffharmon.types.levels import hold

CHANNELS = ("alpha", "grey", "red", "green", "blue")
MASK_FLOOR = 16  # Levels of 255. Artefacts of JPEG reach it; as coverage it is 6 %.

_STRAY = 0.001  # The share of pixels that compression may spoil.
_MAX_LEVELS = 32  # More levels than that are a soft mask.
_PLATEAU = 0.01, 7  # A region of one level between black and white: share of the image, and its width in pixels.


@dataclass(frozen=True)
class MaskRule:
    """How to read mask files.

    Args:
        channel: ``alpha``, ``grey``, ``red``, ``green`` or ``blue``; its levels are taken as they are.
        label: The label of the foreground in a label map: an index of the palette, or a grey level as stored.
        floor: Levels of 255 up to this one are background.

    Raises:
        InputError: For another channel, a negative label, both, or a floor outside 0 to 99.
    """

    channel: str | None = None
    label: int | None = None
    floor: int = MASK_FLOOR

    def __post_init__(self) -> None:
        if self.channel is not None and self.channel not in CHANNELS:
            raise InputError(f"dataset.mask_channel must be one of {', '.join(CHANNELS)}, or null, got {self.channel}")
        if self.label is not None and (isinstance(self.label, bool) or not 0 <= self.label <= 65535):
            raise InputError(f"dataset.label must be a label from 0 to 65535 or null, got {self.label}")
        if self.label is not None and self.channel is not None:
            raise InputError("dataset.label and dataset.mask_channel exclude each other, expected one of them")
        if not 0 <= self.floor < MASK_THRESHOLD * 255:
            raise InputError(f"dataset.mask_floor must be a level from 0 to 99, got {self.floor}")


@dataclass(frozen=True)
class Mask:
    """A foreground mask in [0, 1] (1 is foreground) and the part of the file it was read from, such as ``alpha``."""

    values: Float[Tensor, "1 h w"]
    source: str


def load_mask(path: Path, rule: MaskRule | None = None, max_megapixels: float = MAX_MEGAPIXELS) -> Mask:
    """Read a foreground mask of a file; raises ``InputError`` as ``mask_of``, or where it cannot be read."""
    return mask_of(decode(path, max_megapixels), path, rule)


def mask_of(pixels: Pixels, path: Path | str, rule: MaskRule | None = None) -> Mask:
    """Find the foreground mask among decoded samples by the rule at the top of this module.

    Args:
        pixels: The samples.
        path: Their file, or what else to call them in messages.
        rule: The settings that decide where the samples leave doubt.

    Raises:
        DoubtfulMask: They leave in doubt what the mask is; the message names the channels or labels that were found and
            the settings that decide.
    """
    rule = rule or MaskRule()
    if rule.label is not None:
        return _of_label(pixels, rule.label, path)
    if rule.channel is not None:
        plane = full_scale(_channel(pixels, rule.channel, path), pixels.peak)
        return _mask(plane, rule.channel, rule.floor)
    found = _of_alpha(pixels, path) or _of_palette(pixels, path) or _of_colour(pixels, path)
    values, source = found
    if source in ("grey", "alpha"):
        _refuse_labels(values, pixels.peak, source, path)
    plane = two_levels(full_scale(values, pixels.peak))
    _refuse_grey_background(plane, rule.floor, source, path)
    return _mask(plane, source, rule.floor)


def check_mask(mask: Float[Tensor, "1 h w"], image: Float[Tensor, "3 y x"], name: str) -> None:
    """Refuse a mask that does not belong to the image or that selects nothing or everything.

    Args:
        mask: Foreground mask in [0, 1].
        image: The image it should fit.
        name: What to call the mask in the message, such as its file.

    Raises:
        InputError: For another size, or no or every pixel above 100/255.
    """
    given, expected = tuple(mask.shape[-2:]), tuple(image.shape[-2:])
    if given != expected:
        raise InputError(
            f"mask {name} is {given[1]} x {given[0]} pixels, expected {expected[1]} x {expected[0]} "
            "(width x height) as its image"
        )
    foreground = mask > MASK_THRESHOLD
    if not foreground.any():
        raise InputError(f"mask {name} is empty: no pixel is brighter than 100 of 255, expected a foreground")
    if foreground.all():
        raise InputError(f"mask {name} covers the whole image, expected some background around the foreground")


def _mask(plane: Plane, source: str, floor: int) -> Mask:
    return Mask(plane.only(plane.above(floor / 255)), source)


def _of_label(pixels: Pixels, label: int, path: Path | str) -> Mask:
    labels = pixels.labels
    if labels is None:
        if not _alike(pixels.values[..., :3], 0.0) or pixels.peak == 1:
            raise InputError(f"dataset.label={label} needs a palette or grey levels, {path} has colours or fractions")
        labels = pixels.values[..., 0]
    chosen = labels == label
    if not chosen.any():
        raise InputError(f"dataset.label={label} is not in {path}, which holds the labels {_some(np.unique(labels))}")
    return Mask(hold(torch.from_numpy(chosen.astype(np.uint8))[None], 1.0), f"label {label}")


def _channel(pixels: Pixels, name: str, path: Path | str) -> np.ndarray:
    values = pixels.values
    count = values.shape[2]
    if name == "alpha":
        if count not in (2, 4):
            raise InputError(f"dataset.mask_channel=alpha is not in {path}, which has no transparency")
        return values[..., -1]
    if name == "grey" or count < 3:
        weights = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L
        equal = count < 3 or _alike(values[..., :3], 0.0)
        grey = values[..., 0] if equal else values[..., :3].astype(np.float64) @ np.array(weights)
        return grey if values.dtype.kind == "f" else np.rint(grey).astype(values.dtype)
    return values[..., ("red", "green", "blue").index(name)]


def _of_alpha(pixels: Pixels, path: Path | str) -> tuple[np.ndarray, str] | None:
    """The alpha channel, where it divides the image and no other mask lies in the colours."""
    if pixels.values.shape[2] not in (2, 4):
        return None
    colour, stored = pixels.values[..., :-1], pixels.values[..., -1]
    alpha = full_scale(stored, pixels.peak).above(MASK_THRESHOLD)
    if alpha.all() or not alpha.any():
        return None
    if _alike(colour, pixels.peak):
        grey = full_scale(colour[..., 0], pixels.peak)
        bright = grey.above(MASK_THRESHOLD)
        worth = grey.values[bright].astype(np.float32) / np.float32(grey.peak)
        bilevel = (worth >= worth.max() - MASK_FLOOR / 255).mean() > 0.8 if bright.any() else False
        if bilevel and not bright.all() and (bright != alpha).sum() > 0.1 * (bright | alpha).sum():
            raise DoubtfulMask(
                f"{path} holds two masks that differ, one in its grey channel and one in its alpha channel",
                "set dataset.mask_channel to grey or alpha",
            )
    return stored, "alpha"


def _of_palette(pixels: Pixels, path: Path | str) -> tuple[np.ndarray, str] | None:
    """The foreground of a palette with two labels; None where the colours of the palette are grey levels."""
    if pixels.labels is None or _alike(pixels.values[..., :3], pixels.peak):
        return None
    used, places = np.unique(pixels.labels, return_index=True)
    colours = pixels.values.reshape(-1, pixels.values.shape[2])[places, :3]
    dark = [label for label, colour in zip(used, colours, strict=True) if colour.max() <= MASK_FLOOR]
    background = dark if dark else [0] if 0 in used else []
    if len(used) != 2 or len(background) != 1:
        raise DoubtfulMask(
            f"{path} is a label map: its palette holds the labels {_some(used)}, expected two with black or 0 as "
            "background",
            "set dataset.label to the label of the foreground",
        )
    foreground = next(int(label) for label in used if label != background[0])
    return np.where(pixels.labels == foreground, 255, 0).astype(np.uint8), f"palette label {foreground}"


def _of_colour(pixels: Pixels, path: Path | str) -> tuple[np.ndarray, str]:
    colour = pixels.values[..., :-1] if pixels.values.shape[2] in (2, 4) else pixels.values
    if _alike(colour, pixels.peak):
        return colour[..., 0], "grey"
    level = MASK_FLOOR / 255 * pixels.peak
    varying = [place for place in range(3) if (colour[..., place] > level).mean() > _STRAY]
    if varying and _alike(colour[..., varying], pixels.peak):
        return colour[..., varying[0]], ("red", "green", "blue")[varying[0]]
    found = _distinct_colours(colour)
    black = [one for one in found if max(one) <= level]
    if len(found) == 2 and len(black) == 1:
        return np.where((colour > level).any(axis=2), pixels.peak, 0).astype(colour.dtype), "colour on black"
    spans = [
        f"{name} {colour[..., place].min()} to {colour[..., place].max()}" for place, name in enumerate(CHANNELS[2:])
    ]
    kind = "a label map or a photo" if len(found) > 2 else "two colours, neither black"
    raise DoubtfulMask(
        f"{path} leaves in doubt which channel is the mask: its channels differ ({', '.join(spans)}; {kind}), expected "
        "a grey image",
        "set dataset.mask_channel to one of red, green, blue, grey",
    )


def _distinct_colours(colour: np.ndarray) -> list[tuple[float, ...]]:
    """Up to three colours of an image."""
    rest = colour.reshape(-1, 3)
    found: list[tuple[float, ...]] = []
    while len(rest) and len(found) < 3:
        found.append(tuple(float(value) for value in rest[0]))
        rest = rest[(rest != rest[0]).any(axis=1)]
    return found


def _alike(channels: np.ndarray, peak: float) -> bool:
    """Whether channels are equal but for what compression does to them; with ``peak`` 0, equal."""
    if channels.shape[2] == 1:
        return True
    wide = channels.astype(np.int32 if channels.dtype.kind in "ui" else np.float32)
    apart = (np.abs(wide[..., 1:] - wide[..., :1]) > MASK_FLOOR / 255 * peak).any(axis=2)
    return bool(apart.mean() <= (_STRAY if peak else 0))


def _refuse_labels(values: np.ndarray, peak: float, source: str, path: Path | str) -> None:
    """Refuse levels that are labels: all of them dark, or whole regions of one level between black and white."""
    if values.dtype.kind == "f" or values.max() <= 1:
        return
    scale = 255.0 if values.max() <= 255 else peak
    counts = histogram(values)
    levels = np.flatnonzero(counts)
    help_text = "set dataset.label to the label of the foreground, or dataset.mask_channel to take levels as coverage"
    if len(levels) > 1 and levels.max() <= MASK_THRESHOLD * scale:
        raise DoubtfulMask(
            f"mask {path} is empty or a label map: the levels of its {source} channel are {_some(levels)}, none above "
            "100 of 255",
            help_text,
        )
    if not 2 < len(levels) <= _MAX_LEVELS:
        return
    share, width = _PLATEAU
    near = MASK_FLOOR / 255 * scale
    between = [level for level in levels[1:] if near < level < levels.max() - near]
    for level in between:
        region = (values == level).astype(np.uint8)
        inside = cv2.erode(region, np.ones((width, width), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        if counts[level] > share * values.size and inside.any():
            raise DoubtfulMask(
                f"mask {path} looks like a label map or trimap: its {source} channel holds whole regions of the levels "
                f"{_some(levels)}, expected black and white with soft borders",
                help_text,
            )


def _refuse_grey_background(plane: Plane, floor: int, source: str, path: Path | str) -> None:
    """Refuse a mask whose background is grey: it would change all of the image a little."""
    count = (~plane.above(MASK_THRESHOLD)).sum()
    if floor and count and (~plane.above(floor / 255)).sum() < 0.05 * count:
        raise DoubtfulMask(
            f"mask {path} has a background that is not black: the darkest level of its {source} channel is "
            f"{plane.worth(plane.values.min()) * 255:.0f} of 255, expected levels up to {floor}",
            f"make it black, or set dataset.mask_channel={source if source in CHANNELS else 'grey'} to take levels as "
            "coverage",
        )


def _some(labels: np.ndarray, count: int = 12) -> str:
    return ", ".join(str(label) for label in labels[:count]) + (", ..." if len(labels) > count else "")
