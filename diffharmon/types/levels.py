"""Images that are held at the depth of their file, and are floats in [0, 1] to whoever reads them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.utils._pytree import tree_map_only

_aten: Any = torch.ops.aten
WORTH_HOLDING = 1 << 21  # pixels; fewer are at most 24 MiB of floats in three channels
_BAND = 1 << 18  # pixels worked on at a time, so that what lies between fits a core's cache
_AS_THEY_ARE = (_aten.detach.default, _aten.alias.default, _aten.expand.default, _aten.select.int)
_COMPARISONS = tuple(getattr(_aten, name).Scalar for name in ("gt", "ge", "lt", "le", "eq", "ne"))


def bands(height: int, width: int) -> Iterator[slice]:
    """Cut an image of this size into bands of rows from top to bottom."""
    rows = max(1, _BAND // max(width, 1))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


@dataclass(frozen=True)
class Patch:
    """Values in [0, 1] that stand in an image from row ``top`` and column ``left`` on."""

    top: int
    left: int
    values: Float[Tensor, "c v u"]

    def within(self, axis: int, start: int, stop: int) -> "Patch | None":
        """Return the part between two places of an axis of the image, counted from the first; None where there is none.

        Args:
            axis: 0 for channels, 1 for rows, 2 for columns.
            start: The first place.
            stop: The one after the last.
        """
        first = (0, self.top, self.left)[axis]
        low, high = max(start, first), min(stop, first + self.values.shape[axis])
        if low >= high:
            return None
        values = self.values.narrow(axis, low - first, high - low)
        top, left = (low - start if axis == place else own for place, own in ((1, self.top), (2, self.left)))
        return Patch(top, left, values)


class Levels(Tensor):
    """A float32 image in [0, 1] whose memory holds the levels of its file: a quarter of it for 8 bits.

    It is read like any tensor and cannot be written to. Cut to rows, columns or channels it stays as it is held;
    whatever else is done with it is done with its values as floats, made for the occasion. They are the levels over
    the peak, in float32, bit for bit.

    Attributes:
        levels: Unsigned integers of 8 or 16 bits; in three axes ``c h w`` where there are patches.
        peak: The level of white.
        patches: What stands over the levels, such as a result's foreground, whose values are no levels.
    """

    levels: Tensor
    peak: float
    patches: tuple[Patch, ...]

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # dispatch is enough

    @staticmethod
    def __new__(cls: type["Levels"], levels: Tensor, peak: float, patches: tuple[Patch, ...] = ()) -> "Levels":
        """Hold levels; nothing is copied."""
        made: Levels = Tensor._make_wrapper_subclass(cls, levels.shape, dtype=torch.float32, device=levels.device)
        made.levels, made.peak, made.patches = levels, peak, patches
        return made

    def __init__(self, levels: Tensor, peak: float, patches: tuple[Patch, ...] = ()) -> None:
        """See ``__new__``."""

    def floats(self) -> Float[Tensor, "..."]:
        """Return the values as a plain tensor of its own memory, made by bands."""
        made = torch.empty(self.shape, device=self.device)
        peak = torch.tensor(self.peak, device=self.device)  # by a number, GPUs would multiply with its rounded inverse
        for rows in _rows(self.levels):
            made[rows] = self.levels[rows].float().div_(peak)
        for patch in self.patches:
            height, width = patch.values.shape[1:]
            made[:, patch.top : patch.top + height, patch.left : patch.left + width] = patch.values
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Keep what only looks at a part; do everything else with floats."""
        kwargs = kwargs or {}
        held = args[0] if args else None
        if not isinstance(held, cls):
            return _with_floats(func, args, kwargs)
        if func._schema.is_mutable:
            raise RuntimeError("an image that is held at its file's depth is read only, expected a clone() of it")
        with torch.inference_mode(held.is_inference()):  # a part is what the whole is
            kept = held._kept(func, args, kwargs)
            if kept is not None:
                return kept
            return held._compared(func, *args[1:]) if func in _COMPARISONS else _with_floats(func, args, kwargs)

    def numpy(self, *, force: bool = False) -> Any:
        """Return the values as an array of its own memory."""
        return self.floats().numpy(force=force)

    def tolist(self) -> Any:
        """Return the values as nested lists."""
        return self.floats().tolist()

    def __deepcopy__(self, memo: Any) -> "Levels":
        """Return itself, which is read only."""
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the levels, as an array: torch does not pickle 16 unsigned bits."""
        return _restored, (self.levels.cpu().numpy(), self.peak, self.patches)

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        """Say what is held, without making floats of it."""
        return f"Levels({tuple(self.shape)}, {self.levels.dtype}, white at {self.peak:g}, {len(self.patches)} patches)"

    def _kept(self, func: Any, args: Any, kwargs: Any) -> "Levels | None":
        """Return a part, or the same on another device, as it is held; None for any other operation."""
        if func is _aten.slice.Tensor:
            return self._sliced(*args[1:], **kwargs)
        if func is _aten._to_copy.default and set(kwargs) == {"device"} and kwargs["device"] != self.device:
            moved = (Patch(patch.top, patch.left, patch.values.to(**kwargs)) for patch in self.patches)
            return Levels(self.levels.to(**kwargs), self.peak, tuple(moved))
        if func in (_aten.detach.default, _aten.alias.default):
            return Levels(self.levels, self.peak, self.patches)
        if func in _AS_THEY_ARE and not self.patches:
            return Levels(func(self.levels, *args[1:], **kwargs), self.peak)
        return None

    def _sliced(self, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> "Levels | None":
        if step != 1 and self.patches:
            return None
        cut = _aten.slice.Tensor(self.levels, dim, start, end, step)
        first, last, _ = slice(start, end).indices(self.shape[dim])
        parts = (patch.within(dim % self.ndim, first, last) for patch in self.patches)
        return Levels(cut, self.peak, tuple(part for part in parts if part is not None))

    def _compared(self, func: Any, number: int | float) -> Tensor:
        made = torch.empty(self.shape, dtype=torch.bool, device=self.device)
        for rows in _rows(self.levels):
            made[rows] = func(floats(self[rows]), number)
        return made


def _restored(levels: np.ndarray, peak: float, patches: tuple[Patch, ...]) -> Levels:
    return Levels(torch.from_numpy(levels), peak, patches)


def _with_floats(func: Any, args: Any, kwargs: Any) -> Any:
    args, kwargs = tree_map_only(Levels, Levels.floats, (args, kwargs))
    return func(*args, **kwargs)


def _rows(levels: Tensor) -> Iterator[Any]:
    """Cut values of any number of axes into bands of rows, the last axis but one."""
    if levels.ndim < 2:
        return iter([...])
    return (
        (..., rows, slice(None)) for rows in bands(levels.shape[-2], levels.shape[-1] * math.prod(levels.shape[:-2]))
    )


def hold(levels: Shaped[Tensor, "c h w"], peak: float) -> Float[Tensor, "c h w"]:
    """Return levels of 8 or 16 bits as an image in [0, 1]: held, or as floats where that saves next to nothing."""
    held = Levels(levels, peak)
    return held if levels.shape[1] * levels.shape[2] >= WORTH_HOLDING else held.floats()


def floats(image: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return an image as a plain tensor: itself, or the floats of held levels."""
    return image.floats() if isinstance(image, Levels) else image


def patched(image: Float[Tensor, "c h w"], patches: Sequence[Patch]) -> Float[Tensor, "c h w"]:
    """Return an image with other values in some places; of held levels, the rest stays held as it is."""
    if isinstance(image, Levels) and not image.patches:
        return Levels(image.levels, image.peak, tuple(patches))
    made = floats(image) if isinstance(image, Levels) else image.clone()
    for patch in patches:
        height, width = patch.values.shape[1:]
        made[:, patch.top : patch.top + height, patch.left : patch.left + width] = patch.values
    return made
