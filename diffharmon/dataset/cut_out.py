"""A cut-out with transparency over a background, given on the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from annotated_types import Gt

from diffharmon.errors import InputError
from diffharmon.images import MAX_MEGAPIXELS, read_image, require_regular
from diffharmon.images.cut_out import lay_over
from diffharmon.types import Composite


class CutOut:
    """One composite made of two files; the cut-out's alpha channel is the foreground mask.

    Args:
        foreground: The cut-out, a file with transparency.
        background: The photo beneath, which gives the result its size, depth, colour space and name.
        position: Column and row of the cut-out's upper left corner in the background, in pixels; may lie outside.
        max_megapixels: The largest number of pixels of a file, in millions.

    Raises:
        InputError: For a file that does not exist or is no regular file, or a position of other than two numbers.
    """

    def __init__(
        self,
        foreground: str,
        background: str,
        position: Sequence[int] = (0, 0),
        max_megapixels: Annotated[float, Gt(0)] = MAX_MEGAPIXELS,
    ) -> None:
        if len(position) != 2:
            raise InputError(f"dataset.position: expected column and row, such as [120,80], got {list(position)}")
        self.foreground, self.background = Path(foreground).expanduser(), Path(background).expanduser()
        self.position, self.max_megapixels = tuple(position), max_megapixels
        for what, path in (("foreground", self.foreground), ("background", self.background)):
            require_regular(path, "an image file", key=f"dataset.{what}")

    def __len__(self) -> int:
        """Count one."""
        return 1

    def __getitem__(self, index: int) -> Composite:
        """Lay the cut-out over the background; raises ``InputError`` naming the file when it cannot be used."""
        name = self.name(index)
        front, behind = (read_image(path, self.max_megapixels) for path in (self.foreground, self.background))
        photo, cover = lay_over(front, behind, self.position, str(self.foreground))
        return photo.composite(name, "cut_out", cover, mask_source="alpha")

    def files(self, index: int) -> dict[str, Path]:
        """Return the files that the composite is made of."""
        return {"photo": self.background, "mask": self.foreground}

    def name(self, index: int) -> str:
        """Return the background file's stem."""
        if index != 0:
            raise IndexError(f"a single image has index 0 only, got {index}")
        return self.background.stem
