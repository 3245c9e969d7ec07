"""One image and its mask, given on the command line."""

from pathlib import Path

from diffharmon.dataset.reading import FileSettings, read_composite
from diffharmon.images import MASK_FLOOR, MAX_MEGAPIXELS, require_regular
from diffharmon.types import Composite


class Single:
    """One composite.

    Args:
        image: The composite photo.
        mask: Its foreground mask, of the same size.
        real: The photo as it really was, where known; metrics need it.
        mask_channel: Which channel of a mask file is the mask: alpha, grey, red, green or blue; None follows the rule
            in ``images.masks``, which refuses a file that leaves it in doubt.
        label: The label of the foreground in mask files that are label maps.
        mask_floor: Levels of a mask up to this one, of 255, are background; 0 takes all levels as they are, as the
            public code does.
        max_megapixels: The largest number of pixels of a file, in millions.
        colour: Treat grey photos as ones with colours, which their results may then have.

    Raises:
        InputError: For a file that does not exist or is no regular file, or settings that do not fit.
    """

    def __init__(
        self,
        image: str,
        mask: str,
        real: str | None = None,
        mask_channel: str | None = None,
        label: int | None = None,
        mask_floor: int = MASK_FLOOR,
        max_megapixels: int | float = MAX_MEGAPIXELS,
        colour: bool = False,
    ) -> None:
        self.settings = FileSettings(mask_channel, label, mask_floor, max_megapixels, colour)
        self.image = Path(image).expanduser()
        self.mask = Path(mask).expanduser()
        self.real = None if real is None else Path(real).expanduser()
        for what, path in (("image", self.image), ("mask", self.mask), ("real", self.real)):
            if path is not None:
                require_regular(path, "an image file", key=f"dataset.{what}")

    def __len__(self) -> int:
        """Count one."""
        return 1

    def __getitem__(self, index: int) -> Composite:
        """Read the composite; raises ``InputError`` naming the file when it cannot be used."""
        return read_composite(self.name(index), "single", self.image, self.mask, self.real, settings=self.settings)

    def files(self, index: int) -> dict[str, Path]:
        """Return the files that the composite is read from."""
        found = {"photo": self.image, "mask": self.mask}
        return found if self.real is None else {**found, "real": self.real}

    def name(self, index: int) -> str:
        """Return the image file's stem."""
        if index != 0:
            raise IndexError(f"a single image has index 0 only, got {index}")
        return self.image.stem
