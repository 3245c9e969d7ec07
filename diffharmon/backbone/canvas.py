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


def bucket(height: int, width: int, side: int, multiple: int) -> tuple[int, int]:
    """Return the SDXL training resolution whose aspect is nearest to a photo's (arXiv 2307.01952, appendix I).

    At side 1024 they are the multiples of 64 with 90 to 100 % of the square's pixels, from 1 : 4 to 4 : 1; at another
    side all is in proportion.

    Args:
        height: Of the photo, in pixels.
        width: Of the photo, in pixels.
        side: Side of the square with the largest number of pixels.
        multiple: Both sides of the canvas are multiples of it.
    """
    step = max(1, round(side / 16 / multiple)) * multiple
    sides = range(step, 2 * side + 1, step)
    fitting = [(rows, columns) for rows in sides for columns in sides if 0.9 <= rows * columns / side**2 <= 1]
    allowed = [(rows, columns) for rows, columns in fitting if 0.25 <= rows / columns <= 4] or [(side, side)]
    return min(allowed, key=lambda size: (abs(math.log(size[0] / size[1] * width / height)), -size[0] * size[1]))
