"""The size at which a backbone works on a photo."""

import math


def fitted(height: int, width: int, side: int, multiple: int) -> tuple[int, int]:
    """Return the canvas of a photo's aspect with about ``side`` x ``side`` pixels.

    Args:
        height: Of the photo, in pixels.
        width: Of the photo, in pixels.
        side: Side of the square with the same number of pixels.
        multiple: Both sides of the canvas are multiples of it, at least one.
    """
    stretch = math.sqrt(height / width)
    rows, columns = (max(1, round(length / multiple)) for length in (side * stretch, side / stretch))
    return rows * multiple, columns * multiple
