"""The regions that the reader of light compares: foreground, both sides of its edge, near and far background."""

import cv2
import numpy as np
from jaxtyping import Bool, Float

REGIONS = ("foreground", "inner_edge", "outer_edge", "near", "far")
NEAR = 0.25  # reach of the near background, as a fraction of the longer side of the foreground's bounding box
EDGE = 0.08  # reach of both sides of the edge, likewise
_ENOUGH = 50  # pixels; a smaller far background is replaced by the whole background


def regions(mask: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "5 h w"]:
    """Divide a picture by distance from the foreground's edge, in the order of `REGIONS`.

    Args:
        mask: Foreground mask in [0, 1]; neither empty nor full at a threshold of one half.
    """
    foreground = mask > 0.5
    rows, columns = np.nonzero(foreground)
    side = max(np.ptp(rows), np.ptp(columns)) + 1
    outside = cv2.distanceTransform((~foreground).astype(np.uint8), cv2.DIST_L2, 3)
    inside = cv2.distanceTransform(foreground.astype(np.uint8), cv2.DIST_L2, 3)
    background = ~foreground
    near = background & (outside <= max(1.5, NEAR * side))
    far = background & ~near
    if far.sum() < _ENOUGH:
        far = background
    edge = max(2, EDGE * side)
    return np.stack([foreground, foreground & (inside <= edge), background & (outside <= edge), near, far])
