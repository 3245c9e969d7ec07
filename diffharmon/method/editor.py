"""Anyone's edited picture of a composite, brought back to the photo: its light, on the photo's own pixels.

An editor (a person's image program, an instruction-following model, a service) returns a picture of its own size, often
zoomed or shifted by a few percent, softened and recompressed. The edit is registered on the background that both
pictures show, freed of a colour drift that the background shows too, and handed to the recomposer as the edited
branch beside the composite as the source branch.
"""

import time
from typing import Annotated

import cv2
import numpy as np
import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Float
from torch import Tensor

from diffharmon import images
from diffharmon.errors import ConfigError
from diffharmon.method.baseline import keep_background, outcome
from diffharmon.method.edits.folder import Folder
from diffharmon.method.registration import register
from diffharmon.protocols import EditSource, Recomposer
from diffharmon.types import Composite, Cost, Edited, Observer, Outcome

_RIDGE = 1e-3  # of the drift's colour map, in squared units of [0, 1]
_BLEND = 4.0  # blur of a change before it is carried beyond the edit's border, pixels


class Editor:
    """Harmonizes by edited pictures of the composites.

    Args:
        recomposer: Carries the change of light to the full-size photo.
        edits: Folder of edited pictures of any size: ``NAME.png``, ``NAME.jpg``, ... for composite ``NAME``.
        source: What makes the edited pictures, instead of a folder.
        side: Longer side at which edit and composite are compared, in pixels.
        correct_drift: Remove the change of colour that the edit made to the background as well.

    Raises:
        ConfigError: There is no such folder, or not exactly one of ``edits`` and ``source`` is given.
    """

    def __init__(
        self,
        recomposer: Recomposer,
        edits: str | None = None,
        source: EditSource | None = None,
        side: Annotated[int, Ge(64), Le(4096)] = 512,
        correct_drift: bool = True,
    ) -> None:
        if source is None:
            if edits is None:
                raise ConfigError(
                    "edits: a folder of edited pictures is expected, or what makes them by method/source=program, "
                    "pipeline or google_genai; neither is given"
                )
            source = Folder(edits)
        elif edits is not None:
            raise ConfigError(f"edits: got {edits!r} and a source as well; expected one of them")
        self.source = source
        self.recomposer = recomposer
        self.side = side
        self.correct_drift = correct_drift

    def harmonize(self, composite: Composite, observe: Observer) -> Outcome:
        """Return the composite with the light that the edit gave its foreground.

        Raises:
            InputError: There is no edit of this name, or more than one, or it cannot be read.
            DescriberError: The words for the instruction could not be had.
            ModelError: What makes the edit failed, or the edit cannot be registered on the composite.
        """
        start = time.perf_counter()
        edit = self.source.edit(composite)
        found = time.perf_counter()
        result = self.bring_back(composite, edit.picture)
        costs = {"edit": Cost(found - start), "recompose": Cost(time.perf_counter() - found)}
        return outcome(keep_background(composite, result), 0, costs, edit.description)

    def bring_back(self, composite: Composite, edit: Float[Tensor, "3 v u"]) -> Float[Tensor, "3 h w"]:
        """Register the edit, remove its drift and carry its change of light to the full-size photo."""
        small, mask = _working_size(composite, self.side)
        photo, picture = _array(small), _array(edit)
        aligned, covered = register(photo, picture, mask).align(picture, *photo.shape[:2])
        if self.correct_drift:
            aligned = remove_drift(photo, aligned, covered & (mask <= 0))
        edited = torch.from_numpy(extend(photo, aligned, covered)).permute(2, 0, 1)
        branches = Edited(small, edited.to(small), small)
        return self.recomposer.recompose(composite, composite.image, branches)


def remove_drift(
    photo: Float[np.ndarray, "y x 3"], edit: Float[np.ndarray, "y x 3"], compared: Bool[np.ndarray, "y x"]
) -> Float[np.ndarray, "y x 3"]:
    """Undo the affine map of colour that leads from the photo to the edit where nothing should have changed.

    Args:
        photo: The composite.
        edit: The edit in the composite's frame.
        compared: Where both show the same background.
    """
    source, target = edit[compared].astype(np.float64), photo[compared].astype(np.float64)
    if len(source) < 64:
        return edit
    centre, shift = source.mean(0), target.mean(0) - source.mean(0)
    spread = source - centre
    normal = spread.T @ spread / len(source) + _RIDGE * np.eye(3)
    # Ridge towards the identity: a flat background says nothing about contrast.
    gain = np.linalg.solve(normal, spread.T @ (target - source - shift) / len(source))
    return (edit + (edit - centre) @ gain + shift).clip(0, 1).astype(np.float32)


def extend(
    photo: Float[np.ndarray, "y x 3"], edit: Float[np.ndarray, "y x 3"], covered: Bool[np.ndarray, "y x"]
) -> Float[np.ndarray, "y x 3"]:
    """Continue the change of an edit into the border that it does not cover, from the nearest place that it does."""
    if covered.all() or not covered.any():
        return edit
    weight = cv2.GaussianBlur(covered.astype(np.float32), (0, 0), _BLEND)[..., None]
    change = cv2.GaussianBlur(np.where(covered[..., None], edit - photo, 0), (0, 0), _BLEND) / np.maximum(weight, 1e-3)
    # The label of an uncovered pixel is that of the nearest covered one.
    _, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros((labels.max() + 1, 3), np.float32)
    nearest[labels[covered]] = change[covered]
    return np.where(covered[..., None], edit, (photo + nearest[labels]).clip(0, 1)).astype(np.float32)


def _working_size(composite: Composite, side: int) -> tuple[Float[Tensor, "3 y x"], Float[np.ndarray, "y x"]]:
    height, width = composite.image.shape[-2:]
    scale = min(side / max(height, width), 1)
    size = (max(round(height * scale), 1), max(round(width * scale), 1))
    mask = cv2.resize(composite.mask[0].cpu().numpy(), (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return images.resize(composite.image, size, "box", composite.alpha), mask


def _array(image: Float[Tensor, "3 y x"]) -> Float[np.ndarray, "y x 3"]:
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
