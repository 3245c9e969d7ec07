"""Any other harmonization method, run as a command or from an exported network."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch.nn.functional as F
from annotated_types import Ge, Gt, Le, MinLen
from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.errors import ConfigError, ModelError
from diffharmon.method import external_model
from diffharmon.method.baseline import keep_background, outcome
from diffharmon.method.program import Program
from diffharmon.types import Composite, Cost, Observer, Outcome

PLACES = ("{image}", "{mask}", "{output}")


class External:
    """Harmonizes by a program or an exported network; the background stays the photo's, whatever it returns.

    A program reads the composite and its mask as PNG files and writes the result as an image file of the same size.
    A network maps image "1 3 h w" in [0, 1] and mask "1 1 h w" to an image "1 3 h w" in [0, 1], on the CPU.

    Args:
        command: Program and arguments, started without a shell; ``{image}``, ``{mask}`` and ``{output}`` inside an
            argument become file names.
        model: A ``torch.export`` (.pt2) or ONNX (.onnx) file, instead of a command.
        size: Side of the square that the input is resized to (Lanczos), and the result back from (bicubic); 0 keeps
            the photo's own size.
        timeout: Seconds after which a program is killed.
        allow_code: Load .pt2 files, which can run any code; a .onnx file cannot.

    Raises:
        ConfigError: If not exactly one of ``command`` and ``model`` is given, or the command lacks a place.
        ModelError: If the program or the file cannot be found or loaded.
    """

    def __init__(
        self,
        command: Annotated[Sequence[str], MinLen(1)] | None = None,
        model: str | None = None,
        size: Annotated[int, Ge(0), Le(16384)] = 0,
        timeout: Annotated[float, Gt(0)] = 600.0,
        allow_code: bool = False,
    ) -> None:
        if (command is None) == (model is None):
            given = "neither is" if command is None else "both are"
            raise ConfigError(f"command: either this or model is expected; {given} given")
        if 0 < size < images.SMALLEST_SIDE:
            raise ConfigError(f"size: got {size}, expected 0 or at least {images.SMALLEST_SIDE} pixels")
        self.program = None if command is None else Program(command, PLACES, timeout, "method.command")
        self.network = None if model is None else external_model.load(model, allow_code)
        self.size = size

    def harmonize(self, composite: Composite, observe: Observer) -> Outcome:
        """Return the composite with the foreground that the program or the network made.

        Raises:
            ModelError: If it fails, takes too long or returns no image of the size it was given.
        """
        start = time.perf_counter()
        image, mask = composite.image, composite.mask
        if self.size:
            image, mask = (images.resize(value, (self.size, self.size)) for value in (image, mask))
        if self.network is not None:
            picture = external_model.apply(self.network, image[None], mask[None])[0]
        elif self.program is not None:
            picture = self.program.run(replace(composite, image=image, mask=mask))
            _same_size(picture, image)
        if self.size:
            full = tuple(composite.image.shape[-2:])
            picture = F.interpolate(picture[None], full, mode="bicubic", antialias=True, align_corners=False)[0]
        return outcome(keep_background(composite, picture), 0, {"external": Cost(time.perf_counter() - start)})


def _same_size(picture: Float[Tensor, "3 v u"], image: Float[Tensor, "3 h w"]) -> None:
    if picture.shape != image.shape:
        height, width = picture.shape[-2:]
        raise ModelError(
            f"method.command made an image of {width} x {height} pixels, expected {image.shape[-1]} x {image.shape[-2]}"
        )
