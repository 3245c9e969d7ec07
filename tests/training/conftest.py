"""A handful of generated photos with masks, laid out as the recipes expect them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from diffharmon.training.photos import Photos


@pytest.fixture(scope="session")
def photo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four 72 x 60 photos of discs on gradients; three quarters have a mask."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    rows = []
    for index in range(24):
        source = root / ("shapes" if index < 18 else "weather")
        (source / "masks").mkdir(parents=True, exist_ok=True)
        corners = generator.integers(30, 220, (2, 2, 3)).astype(np.uint8)
        image = Image.fromarray(corners).resize((72, 60), Image.Resampling.BICUBIC)
        x, y, r = [*generator.integers(20, 40, 2).tolist(), int(generator.integers(10, 18))]
        box = (x - r, y - r, x + r, y + r)
        ImageDraw.Draw(image).ellipse(box, fill=tuple(generator.integers(0, 256, 3).tolist()))
        image.save(source / f"p{index:02d}.jpg", quality=95)
        if index < 18:
            mask = Image.new("1", image.size)
            ImageDraw.Draw(mask).ellipse(box, fill=1)
            mask.save(source / "masks" / f"p{index:02d}__0__{'carLeft' if index % 2 else 'salient'}.png")
        rows.append((source, f"p{index:02d}", "" if index < 18 else "rain"))
    for source in (root / "shapes", root / "weather"):
        lines = [f"{stem}\t{label}\tnote" for folder, stem, label in rows if folder == source]
        (source / "labels.tsv").write_text("stem\tclass\tnote\n" + "\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def photos(photo_root: Path) -> Photos:
    """All training-side photos at 32 px."""
    return Photos(photo_root, size=32, share=0.3)
