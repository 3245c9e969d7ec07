"""The demo composite: a cup photographed in warm light, put under dim, cool light."""

from pathlib import Path

import cv2
import numpy as np
import skimage
import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition.grades import to_display, to_linear
from diffharmon.images import from_uint8, read_image, to_uint8
from diffharmon.types import Composite, Description

_EXPOSURE = -1.3  # stops
_TEMPERATURE = -1.4  # stops between red and blue; below 0 is cooler
# Outline of cup, saucer and spoon in the 600 x 400 photo, drawn by hand: x, y.
_OUTLINE = (
    (181, 68), (187, 60), (203, 44), (223, 30), (250, 21), (277, 18), (304, 18), (330, 23), (353, 32), (375, 47),
    (388, 60), (396, 71), (402, 68), (410, 67), (419, 70), (424, 77), (422, 87), (417, 100), (419, 106), (433, 118),
    (451, 138), (464, 161), (473, 183), (479, 205), (480, 223), (478, 246), (471, 270), (460, 295), (442, 319),
    (420, 342), (393, 359), (366, 374), (339, 383), (313, 388), (286, 389), (254, 387), (222, 381), (190, 369),
    (163, 353), (136, 332), (116, 309), (100, 286), (89, 263), (81, 237), (77, 214), (77, 196), (80, 179), (87, 156),
    (98, 136), (114, 117), (134, 98), (156, 81),
)  # fmt: skip


class Demo:
    """One composite with its ground truth, which needs no files beside the dependencies.

    The photo is scikit-image's ``coffee.png`` by Rachel Michetti, CC0 (public domain). Its foreground, the cup with
    saucer and spoon, is darkened by 1.3 stops and cooled by 1.4 stops between red and blue, both in linear light.
    The ground truth is the untouched photo.

    Attributes:
        description: The words for this composite.
    """

    description = Description("cup", ("dim", "cool"), ("bright", "warm"), "demo")

    def __len__(self) -> int:
        """Count one."""
        return 1

    def __getitem__(self, index: int) -> Composite:
        """Make the composite, 400 x 600 pixels."""
        name = self.name(index)
        real = read_image(Path(skimage.__file__).parent / "data" / "coffee.png").image
        mask = _outlined(real.shape[-2], real.shape[-1])
        graded = from_uint8(to_uint8(_grade(real)))
        return Composite(name, "demo", torch.where(mask > 0, graded, real), mask, real)

    def name(self, index: int) -> str:
        """Return the name of the only composite."""
        if index != 0:
            raise IndexError(f"the demo has index 0 only, got {index}")
        return "coffee"


def _outlined(height: int, width: int) -> Float[Tensor, "1 h w"]:
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillPoly(canvas, [np.array(_OUTLINE, np.int32)], 255)
    return from_uint8(torch.from_numpy(canvas)[None])


def _grade(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Change exposure and white balance in linear light."""
    stops = torch.tensor([_TEMPERATURE / 2, 0.0, -_TEMPERATURE / 2]) + _EXPOSURE
    return to_display(to_linear(image) * torch.exp2(stops)[:, None, None])
