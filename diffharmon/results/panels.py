"""Pictures for people, in 8 bits: comparison strips and attention overlays."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from diffharmon.files import replacing
from diffharmon.images import from_uint8, resize, to_uint8
from diffharmon.types.levels import bands

GAP = 8
CAPTION = 30
_FONT_SIZE = 20
_MAX_HEIGHT = 480  # pixels, so that a strip of large photos stays small enough to look at
_MAX_WIDTH = 640
_MIN_SIDE = 256

Picture = Float[Tensor, "c h w"] | UInt8[Tensor, "c h w"]  # values in [0, 1], or their levels


def comparison(
    composite: Float[Tensor, "3 h w"],
    result: Float[Tensor, "3 h w"],
    mask: Float[Tensor, "1 h w"],
    real: Float[Tensor, "3 h w"] | None = None,
    amplify: float = 4.0,
) -> UInt8[Tensor, "3 y x"]:
    """Lay composite, result, real photo (where given), mask and amplified difference side by side with captions.

    The difference is that of the result to the real photo where given, else to the composite.
    """
    return strip(comparison_parts(composite, result, mask, real, amplify))


def comparison_parts(
    composite: Float[Tensor, "3 h w"],
    result: Float[Tensor, "3 h w"],
    mask: Float[Tensor, "1 h w"],
    real: Float[Tensor, "3 h w"] | None = None,
    amplify: float = 4.0,
) -> dict[str, Float[Tensor, "3 y x"]]:
    """Return the pictures of a comparison by caption, each shrunk or enlarged by ``fit`` to be looked at."""
    seen = {"composite": composite, "result": result} | ({} if real is None else {"real": real})
    parts = {name: fit(picture) for name, picture in seen.items()} | {"mask": fit(mask).expand(3, -1, -1)}
    what = "composite" if real is None else "real"
    return parts | {f"|result - {what}| x{amplify:g}": fit(_difference(result, seen[what], amplify))}


def _difference(result: Float[Tensor, "3 h w"], reference: Float[Tensor, "3 h w"], amplify: float) -> Picture:
    """Amplify the difference; of a large photo on 8 bits, on which ``fit`` shrinks it anyway."""
    height, width = result.shape[1:]
    if height <= _MAX_HEIGHT and width <= _MAX_WIDTH:
        return ((result - reference).abs() * amplify).clamp(0, 1)
    levels = torch.empty(result.shape, dtype=torch.uint8)
    for rows in bands(height, width):
        levels[:, rows] = to_uint8((result[:, rows] - reference[:, rows]).abs_().mul_(amplify))
    return levels


def strip(parts: Mapping[str, Float[Tensor, "3 _ _"]]) -> UInt8[Tensor, "3 y x"]:
    """Lay pictures of one size side by side, each under its caption, each fitted to 640 x 480."""
    captioned = [_captioned(fit(picture), caption) for caption, picture in parts.items()]
    gap = _gap(captioned[0])
    pieces = [piece for picture in captioned for piece in (picture, gap)]
    return torch.cat(pieces[:-1], dim=2)


def attention_overlay(
    image: Float[Tensor, "3 h w"], attention: Float[Tensor, "r c"], word: str | None = None
) -> UInt8[Tensor, "3 y x"]:
    """Lay an attention map over the image as a heat map from its minimum to its maximum; a word stands above it."""
    picture = fit(image)
    size = (picture.shape[2], picture.shape[1])
    values = attention.detach().float().cpu().numpy()
    lowest, span = float(values.min()), float(values.max() - values.min())
    relative = (values - lowest) / span if span > 0 else np.zeros_like(values)
    smooth = np.clip(cv2.resize(relative, size, interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = cv2.applyColorMap((smooth * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    heat = from_uint8(torch.from_numpy(colours.copy()).permute(2, 0, 1))
    grey = picture.mean(0, keepdim=True)
    weight = 0.25 + 0.55 * torch.from_numpy(smooth)[None]
    overlay = (1 - weight) * grey + weight * heat
    return to_uint8(overlay) if word is None else _captioned(overlay, word)


def attention_strip(image: Float[Tensor, "3 h w"], words: Mapping[str, Float[Tensor, "_ _"]]) -> UInt8[Tensor, "3 y x"]:
    """Lay the image and the overlays of all words side by side."""
    picture = fit(image)  # which the overlays then leave as it is
    pieces: Sequence[Tensor] = [
        _captioned(picture, "image"),
        *(attention_overlay(picture, attention, word) for word, attention in words.items()),
    ]
    gap = _gap(pieces[0])
    return torch.cat([part for piece in pieces for part in (gap, piece)][1:], dim=2)


def fit(image: Picture) -> Float[Tensor, "c y x"]:
    """Shrink a picture to fit 640 x 480, or repeat its pixels until a side has 256; the aspect ratio stays.

    A picture that came out of it comes out of it again as it is.
    """
    image = image.detach().cpu()
    height, width = image.shape[1:]
    scale = min(_MAX_HEIGHT / height, _MAX_WIDTH / width, 1.0)
    if scale < 1:
        return resize(image, (max(round(height * scale), 1), max(round(width * scale), 1)), "box")
    image = from_uint8(image) if image.dtype == torch.uint8 else image.float()
    times = min(math.ceil(_MIN_SIDE / max(height, width)), _MAX_HEIGHT // height, _MAX_WIDTH // width)
    return image.repeat_interleave(times, 1).repeat_interleave(times, 2)


def write(path: Path, picture: UInt8[Tensor, "3 y x"]) -> None:
    """Write a picture as PNG, complete or not at all; at low compression, which saves most of the time.

    Args:
        path: The file; its folder is made when missing.
        picture: RGB.
    """
    with replacing(path) as partial:
        _pillow(picture).save(partial, format="PNG", compress_level=1)


def write_small(path: Path, picture: Float[Tensor, "3 h w"]) -> None:
    """Write a picture as JPEG of quality 90, fitted to 640 x 480: for pages, not for measuring."""
    with replacing(path) as partial:
        _pillow(to_uint8(fit(picture))).save(partial, format="JPEG", quality=90, optimize=True)


def _pillow(picture: UInt8[Tensor, "3 y x"]) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())


def _gap(beside: UInt8[Tensor, "3 y _"]) -> UInt8[Tensor, "3 y _"]:
    return torch.full((3, beside.shape[1], GAP), 255, dtype=torch.uint8)


def _captioned(image: Float[Tensor, "3 h w"], caption: str) -> UInt8[Tensor, "3 y w"]:
    """Put a line of black text on white above a picture; the text is cut to the picture's width."""
    canvas = Image.new("RGB", (image.shape[2], CAPTION), "white")
    font = ImageFont.load_default(_FONT_SIZE)
    draw = ImageDraw.Draw(canvas)
    text = caption
    while text and draw.textlength(text, font=font) > canvas.width - 4:
        text = text[:-1]
    draw.text((2, 2), text, fill="black", font=font)
    title = torch.from_numpy(np.array(canvas)).permute(2, 0, 1)
    return torch.cat((title, to_uint8(image)), dim=1)
