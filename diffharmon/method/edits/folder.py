"""Edited pictures in a folder, under the names of their composites: what a person's image program exported."""

from pathlib import Path

from diffharmon import images
from diffharmon.errors import ConfigError, InputError
from diffharmon.types import Composite, Edit

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


class Folder:
    """Reads ``NAME.png``, ``NAME.jpg``, ... for composite ``NAME``.

    Args:
        folder: Folder of edited pictures of any size.

    Raises:
        ConfigError: There is no such folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise ConfigError(f"edits: expected a folder of edited pictures, got {folder!r}")

    def edit(self, composite: Composite) -> Edit:
        """Read the edited picture of a composite.

        Raises:
            InputError: There is none of this name, or more than one, or it cannot be read.
        """
        paths = [path for path in sorted(self.folder.iterdir()) if path.stem == composite.name]
        paths = [path for path in paths if path.suffix.lower() in SUFFIXES]
        if len(paths) != 1:
            raise InputError(
                f"expected one edited picture named {composite.name} ({', '.join(SUFFIXES)}) in {self.folder}, "
                f"found {', '.join(path.name for path in paths) or 'none'}"
            )
        return Edit(images.read_image(paths[0]).image)
