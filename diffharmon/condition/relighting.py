"""Relighting with measured illuminations: the polynomial colour matrices of ccHarmony."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_SCALE = 255.0  # the matrices were fitted on 0-255 values


@dataclass(frozen=True)
class Relighting:
    """Matrices from a photo's illumination to a common reference, and back.

    Attributes:
        forward: one 3 x 11 matrix per illumination, on 0-255 values.
        backward: the matching matrices from the reference to each illumination.
    """

    forward: Float[Tensor, "n 3 11"]
    backward: Float[Tensor, "n 3 11"]

    @classmethod
    def from_archive(cls, archive: Path) -> "Relighting":
        """Read `<id>.npy` and `<id>_reverse.npy` pairs from ccHarmony's archive of coefficients.

        Raises:
            ValueError: when the archive holds no such pair.
        """
        forward: list[Tensor] = []
        backward: list[Tensor] = []
        with zipfile.ZipFile(archive) as opened:
            names = {Path(name).stem: name for name in opened.namelist() if name.endswith(".npy")}
            for stem in sorted(names):
                if stem.endswith("_reverse") or f"{stem}_reverse" not in names:
                    continue
                for name, matrices in ((names[stem], forward), (names[f"{stem}_reverse"], backward)):
                    matrix = np.load(io.BytesIO(opened.read(name)), allow_pickle=False)
                    matrices.append(torch.from_numpy(matrix.astype(np.float32)).reshape(3, 11))
        if not forward:
            raise ValueError(f"{archive} holds no pair of <id>.npy and <id>_reverse.npy")
        return cls(torch.stack(forward), torch.stack(backward))

    def sample(
        self,
        image: Float[Tensor, "3 h w"],
        generator: torch.Generator,
        largest_shift: float = 0.22,
        attempts: int = 8,
    ) -> Float[Tensor, "3 h w"]:
        """Relight an image as by a random change between two measured illuminations.

        Args:
            image: RGB in [0, 1].
            generator: source of randomness.
            largest_shift: a change of the mean colour beyond this counts as extreme and is drawn again.
            attempts: draws before the image is returned as it is.
        """
        for _ in range(attempts):
            first, second = torch.randint(len(self.forward), (2,), generator=generator).tolist()
            relit = polynomial(polynomial(image, self.forward[first]), self.backward[second])
            if (relit - image).mean((1, 2)).abs().max() <= largest_shift:
                return relit
        return image


def polynomial(image: Float[Tensor, "3 h w"], matrix: Float[Tensor, "3 11"]) -> Float[Tensor, "3 h w"]:
    """Apply a colour matrix to the monomials r g b rg rb gb r2 g2 b2 rgb 1 of an RGB image in [0, 1], clipped."""
    r, g, b = image * _SCALE
    monomials = torch.stack([r, g, b, r * g, r * b, g * b, r * r, g * g, b * b, r * g * b, torch.ones_like(r)])
    return (torch.einsum("oc,chw->ohw", matrix, monomials) / _SCALE).clamp(0, 1)
