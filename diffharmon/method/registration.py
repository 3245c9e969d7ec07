"""Finding where the pixels of a composite went in an edited picture of it, by the background that both show.

Editors and image models zoom, shift, rotate or squash what they return by a few percent. The background is the same
scene in both pictures, so the geometry is estimated there: an affine map by maximization of the enhanced correlation
coefficient (Evangelidis and Psarakis, TPAMI 2008) from coarse to fine, and a homography where it fits clearly better.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float

from diffharmon.errors import ModelError

LEVELS = (64, 128, 256, 512)  # longer sides of the pyramid, pixels
_SHIFTS = (-0.05, 0.0, 0.05)  # starts of the search, as fractions of the picture
_ITERATIONS = 50
_MIN_FEATURES = 8
_DISTINCT = 0.75  # ratio to the second nearest feature below which a match counts (Lowe, section 7.1)
_CERTAIN = 0.8  # agreement at which no second start is tried
_SMOOTH = 5  # side of the Gaussian that ECC applies, pixels
_MIN_BACKGROUND = 0.02  # share of the picture
_MAX_DISTORTION = 0.2  # of scale, shear and shift, as a fraction of the picture
_MIN_AGREEMENT = 0.35  # correlation of the aligned backgrounds' fine structure; unrelated photos stay below 0.2
_CLEARLY_BETTER = 0.002  # gain of correlation that justifies a homography
_DETAIL_SIGMA = 3.0  # structure finer than this counts in the agreement, pixels
_CONTRAST_SIGMA = 16.0  # surroundings in which the contrast of fine structure is measured, pixels
_NOISE = 0.01  # contrast below this is recompression


@dataclass(frozen=True)
class Registration:
    """How composite coordinates map into the edit, both in fractions of their picture's width and height.

    Attributes:
        matrix: Homography from composite to edit on [0, 1] coordinates.
        agreement: Correlation of the aligned backgrounds' fine structure, at most 1.
    """

    matrix: Float[np.ndarray, "3 3"]
    agreement: float

    def align(
        self, edit: Float[np.ndarray, "v u 3"], height: int, width: int
    ) -> tuple[Float[np.ndarray, "y x 3"], Bool[np.ndarray, "y x"]]:
        """Bring an edit into the composite's frame; the second value is true where the edit covers it.

        Args:
            edit: RGB of the size it came in.
            height: Height of the result.
            width: Width of the result.
        """
        to_edit = _denormalized(self.matrix, (edit.shape[0], edit.shape[1]), (height, width))
        shrink = min(edit.shape[0] / height, edit.shape[1] / width)
        smooth = cv2.GaussianBlur(edit, (0, 0), 0.4 * shrink) if shrink > 1.5 else edit
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        aligned = cv2.warpPerspective(smooth, to_edit, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        inside = np.ones(edit.shape[:2], np.float32)
        covered = cv2.warpPerspective(inside, to_edit, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return aligned.clip(0, 1), covered > 0.999


def register(
    photo: Float[np.ndarray, "y x 3"], edit: Float[np.ndarray, "v u 3"], mask: Float[np.ndarray, "y x"]
) -> Registration:
    """Estimate the geometry of an edit of ``photo`` by their backgrounds.

    Args:
        photo: The composite, RGB in [0, 1].
        edit: The edited picture, RGB in [0, 1], of any size and aspect ratio.
        mask: Foreground mask in [0, 1]; where it is above 0 nothing is compared.

    Raises:
        ModelError: There is too little background, or the backgrounds do not show the same scene.
    """
    if (mask <= 0).mean() < _MIN_BACKGROUND:
        raise ModelError("the edit cannot be registered: the mask leaves almost no background to compare")
    finest = _pair(photo, edit, mask, LEVELS[-1])
    texture = _texture(finest)
    matrix, value = np.eye(3), -1.0
    for start in _starts(photo, edit, mask, finest):
        refined = start
        for side in LEVELS[1:]:
            refined = _refine(_pair(photo, edit, mask, side), refined, cv2.MOTION_AFFINE)
        by_texture = (_refine(texture, found, cv2.MOTION_AFFINE) for found in (refined, start))
        for candidate in (start, refined, *by_texture, _refine(finest, refined, cv2.MOTION_HOMOGRAPHY)):
            found = _agreement(texture, candidate)
            if found > value + _CLEARLY_BETTER:
                matrix, value = candidate, found
        if value > _CERTAIN:
            break
    agreement = _agreement(finest, matrix)
    if agreement < _MIN_AGREEMENT or _distortion(matrix) > _MAX_DISTORTION:
        raise ModelError(
            f"the edit does not show the composite's background (agreement {agreement:.2f}, expected at least "
            f"{_MIN_AGREEMENT}): is it an edit of this image?"
        )
    return Registration(matrix.astype(np.float64), agreement)


@dataclass(frozen=True)
class _Pair:
    """Composite and edit in grey at one working size, and where they may be compared."""

    photo: Float[np.ndarray, "y x"]
    edit: Float[np.ndarray, "y x"]
    background: Bool[np.ndarray, "y x"]


def _pair(photo: np.ndarray, edit: np.ndarray, mask: np.ndarray, side: int) -> _Pair:
    scale = min(side / max(photo.shape[:2]), 1)
    size = (max(round(photo.shape[1] * scale), 16), max(round(photo.shape[0] * scale), 16))
    greys = [cv2.cvtColor(_resized(picture, size), cv2.COLOR_RGB2GRAY) for picture in (photo, edit)]
    return _Pair(greys[0], greys[1], _resized(mask, size) <= 0.01)


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = size[0] < picture.shape[1] or size[1] < picture.shape[0]
    return cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _starts(photo: np.ndarray, edit: np.ndarray, mask: np.ndarray, finest: _Pair) -> Iterator[np.ndarray]:
    """Yield maps to begin with, each found only when it is asked for: by shifts, then by features.

    A background out of focus has no features; those of the foreground, which light changes little, then count too.
    """
    yield _coarse(_pair(photo, edit, mask, LEVELS[0]))
    yield _by_features(finest)
    yield _by_features(replace(finest, background=np.ones_like(finest.background)))


def _coarse(pair: _Pair) -> np.ndarray:
    """Try several shifts at the smallest size and return the affine map under which the pictures agree best."""
    starts = [np.array([[1, 0, x], [0, 1, y], [0, 0, 1]]) for y in _SHIFTS for x in _SHIFTS]
    return max((_refine(pair, start, cv2.MOTION_AFFINE) for start in starts), key=lambda found: _agreement(pair, found))


def _texture(pair: _Pair) -> _Pair:
    """Keep the fine structure alone in units of its local contrast: light leaves it in place in the foreground too."""
    photo, edit = (_fine(picture) for picture in (pair.photo, pair.edit))
    return _Pair(photo, edit, np.ones_like(pair.background))


def _fine(picture: np.ndarray) -> np.ndarray:
    fine = picture - cv2.GaussianBlur(picture, (0, 0), _DETAIL_SIGMA)
    contrast = cv2.GaussianBlur(fine**2, (0, 0), _CONTRAST_SIGMA)
    return fine / np.sqrt(contrast + _NOISE**2)


def _by_features(pair: _Pair) -> np.ndarray:
    """Estimate an affine map from matched SIFT features (Lowe, IJCV 2004); the identity where there are too few."""
    finder: Any = cv2.SIFT_create(nfeatures=2000)  # type: ignore[attr-defined]  # missing from OpenCV's stubs
    inside = pair.background.astype(np.uint8) * 255
    photo, edit = ((picture.clip(0, 1) * 255).astype(np.uint8) for picture in (pair.photo, pair.edit))
    places, features = finder.detectAndCompute(photo, inside)
    others, candidates = finder.detectAndCompute(edit, None)
    if min(len(places), len(others)) < _MIN_FEATURES:
        return np.eye(3)
    nearest = cv2.BFMatcher().knnMatch(features, candidates, k=2)
    good = [first for first, second in nearest if first.distance < _DISTINCT * second.distance]
    if len(good) < _MIN_FEATURES:
        return np.eye(3)
    source = np.array([places[match.queryIdx].pt for match in good])
    target = np.array([others[match.trainIdx].pt for match in good])
    warp, _ = cv2.estimateAffine2D(source, target, ransacReprojThreshold=2.0)
    return np.eye(3) if warp is None else _normalized(np.vstack((warp, [0, 0, 1])), pair.photo.shape)


def _refine(pair: _Pair, matrix: np.ndarray, motion: int) -> np.ndarray:
    """Improve a map at one size; returned as it is where the correlation has no maximum nearby."""
    shape = pair.photo.shape
    start = _denormalized(matrix, shape, shape).astype(np.float32)
    warp: Any = start if motion == cv2.MOTION_HOMOGRAPHY else np.ascontiguousarray(start[:2])
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ITERATIONS, 1e-5)
    inside = pair.background.astype(np.uint8) * 255
    try:
        _, warp = cv2.findTransformECC(pair.photo, pair.edit, warp, motion, criteria, inside, _SMOOTH)
    except cv2.error:
        return matrix
    whole = warp if motion == cv2.MOTION_HOMOGRAPHY else np.vstack((warp, [0, 0, 1]))
    return _normalized(whole, shape)


def _agreement(pair: _Pair, matrix: np.ndarray) -> float:
    """Correlate the fine structure of both backgrounds, the edit aligned."""
    shape = pair.photo.shape
    warp = _denormalized(matrix, shape, shape)
    size, flags = (shape[1], shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(pair.edit, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpPerspective(np.ones_like(pair.edit), warp, size, flags=flags) > 0.999
    inside = pair.background & covered
    if inside.sum() < 64:
        return 0.0
    fine = [picture - cv2.GaussianBlur(picture, (0, 0), _DETAIL_SIGMA) for picture in (pair.photo, moved)]
    first, second = (values[inside] - values[inside].mean() for values in fine)
    norm = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / norm) if norm > 0 else 0.0


def _distortion(matrix: np.ndarray) -> float:
    """Return the largest move of a corner, as a fraction of the picture."""
    corners = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], np.float64)
    moved = corners @ matrix.T
    return float(np.abs(moved[:, :2] / moved[:, 2:] - corners[:, :2]).max())


def _scaling(shape: tuple[int, ...]) -> np.ndarray:
    """Map fractions of a picture to its pixel coordinates, whose integers are pixel centres."""
    height, width = shape[:2]
    return np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]], np.float64)


def _denormalized(matrix: np.ndarray, edit: tuple[int, ...], photo: tuple[int, ...]) -> np.ndarray:
    """Turn a map between fractions into one from the photo's pixels to the edit's."""
    return _scaling(edit) @ matrix @ np.linalg.inv(_scaling(photo))


def _normalized(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    whole = np.linalg.inv(_scaling(shape)) @ matrix @ _scaling(shape)
    return whole / whole[2, 2]
