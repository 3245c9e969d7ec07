import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from diffharmon.condition.relighting import Relighting, polynomial

IDENTITY = np.zeros((3, 11))
IDENTITY[:, :3] = np.eye(3)


def archive(path: Path, **matrices: np.ndarray) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name, matrix in matrices.items():
            data = io.BytesIO()
            np.save(data, matrix)
            opened.writestr(f"folder/{name}.npy", data.getvalue())
    return path


def test_the_identity_changes_nothing(tmp_path: Path) -> None:
    image = torch.rand(3, 8, 8)
    relighting = Relighting.from_archive(archive(tmp_path / "m.zip", a=IDENTITY, a_reverse=IDENTITY))
    assert torch.allclose(relighting.sample(image, torch.Generator().manual_seed(0)), image, atol=1e-6)


def test_monomials_agree_with_numpy() -> None:
    image = torch.rand(3, 5, 4)
    matrix = torch.randn(3, 11) * torch.tensor([1.0] * 3 + [1 / 255] * 6 + [1 / 255**2, 50.0])
    r, g, b = (image.numpy() * 255).astype(np.float64)
    terms = np.stack([r, g, b, r * g, r * b, g * b, r * r, g * g, b * b, r * g * b, np.ones_like(r)])
    expected = np.clip(np.tensordot(matrix.numpy().astype(np.float64), terms, 1) / 255, 0, 1)
    assert np.allclose(polynomial(image, matrix).numpy(), expected, atol=1e-4)


def test_extreme_changes_are_drawn_again(tmp_path: Path) -> None:
    white = np.zeros((3, 11))
    white[:, 10] = 255
    relighting = Relighting.from_archive(archive(tmp_path / "m.zip", a=white, a_reverse=IDENTITY))
    image = torch.rand(3, 8, 8) * 0.3
    assert torch.equal(relighting.sample(image, torch.Generator().manual_seed(0)), image)


def test_an_archive_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pair"):
        Relighting.from_archive(archive(tmp_path / "m.zip", a=IDENTITY))


def test_the_measured_matrices_relight_moderately(shared: Path) -> None:
    found = shared / "weights" / "ccharmony" / "polynomial_matching_coefficients.zip"
    relighting = Relighting.from_archive(found)
    assert len(relighting.forward) == len(relighting.backward) == 350
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 16, 16, generator=generator) * 0.6 + 0.2
    shifts = [(relighting.sample(image, generator) - image).mean((1, 2)).abs().max() for _ in range(20)]
    assert max(shifts) <= 0.22
    assert max(shifts) > 0.01
