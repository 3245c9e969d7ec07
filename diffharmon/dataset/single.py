"""One image and its mask, given on the command line."""

from pathlib import Path

from diffharmon.dataset.reading import read_composite
from diffharmon.errors import InputError
from diffharmon.types import Composite


class Single:
    """One composite.

    Args:
        image: The composite photo.
        mask: Its foreground mask, of the same size.
        real: The photo as it really was, where known; metrics need it.

    Raises:
        InputError: For a file that does not exist.
    """

    def __init__(self, image: str, mask: str, real: str | None = None) -> None:
        self.image = Path(image).expanduser()
        self.mask = Path(mask).expanduser()
        self.real = None if real is None else Path(real).expanduser()
        for what, path in (("image", self.image), ("mask", self.mask), ("real", self.real)):
            if path is not None and not path.exists():
                raise InputError(f"dataset.{what} {path} does not exist, expected an image file")

    def __len__(self) -> int:
        """Count one."""
        return 1

    def __getitem__(self, index: int) -> Composite:
        """Read the composite; raises ``InputError`` naming the file when it cannot be used."""
        return read_composite(self.name(index), "single", self.image, self.mask, self.real)

    def name(self, index: int) -> str:
        """Return the image file's stem."""
        if index != 0:
            raise IndexError(f"a single image has index 0 only, got {index}")
        return self.image.stem
