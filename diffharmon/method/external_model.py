"""Exported networks that map image and mask to the harmonized image."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.errors import ConfigError, ModelError

Network = Callable[[Float[Tensor, "1 3 h w"], Float[Tensor, "1 1 h w"]], Any]


def load(path: str, allow_code: bool = False) -> Network:
    """Load a ``torch.export`` (.pt2) or ONNX (.onnx) file as a function of image and mask.

    A .pt2 file can hold pickled objects, which run as code when it is loaded; it is refused unless ``allow_code``.

    Raises:
        ConfigError: If the file is a .pt2 and ``allow_code`` is off.
        ModelError: If there is no such file, or it cannot be loaded.
    """
    file = Path(path).expanduser()
    readers = {".pt2": _load_export, ".onnx": _load_onnx}
    if file.suffix not in readers:
        raise ModelError(f"method.model is {path!r}, expected a file that ends in .pt2 (torch.export) or .onnx")
    if not file.is_file():
        raise ModelError(f"method.model: there is no file {path!r}")
    if file.suffix == ".pt2" and not allow_code:
        raise ConfigError(
            f"method.model {path!r} is a .pt2 file, which can run any code when it is loaded; set "
            "method.allow_code=true for a file that you trust, or export the network to ONNX (.onnx)"
        )
    return readers[file.suffix](file)


def _load_export(file: Path) -> Network:
    if not zipfile.is_zipfile(file):  # torch logs a long trace before it raises
        raise ModelError(f"method.model: {file} is no torch.export file: it is no zip archive")
    try:
        return torch.export.load(file).module()
    except (RuntimeError, OSError, ValueError, KeyError, AttributeError, AssertionError) as error:
        raise ModelError(f"method.model: {file} is no torch.export file: {error}") from error


def _load_onnx(file: Path) -> Network:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(f"method.model: {file} needs onnxruntime: pip install onnxruntime") from error
    faults = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except (
        faults.Fail,
        faults.InvalidProtobuf,
        faults.InvalidGraph,
        faults.InvalidArgument,
        faults.NotImplemented,
    ) as error:
        raise ModelError(f"method.model: {file} is no ONNX file that onnxruntime can run: {error}") from error
    names = [value.name for value in session.get_inputs()]
    if len(names) != 2:
        raise ModelError(f"method.model: {file} has the inputs {names}, expected two: image and mask")

    def run(image: Float[Tensor, "1 3 h w"], mask: Float[Tensor, "1 1 h w"]) -> Tensor:
        values = dict(zip(names, (image.numpy(), mask.numpy()), strict=True))
        try:
            (first, *_) = session.run(None, values)
        except (faults.Fail, faults.InvalidArgument, faults.RuntimeException) as error:
            raise RuntimeError(str(error)) from error
        return torch.from_numpy(np.array(first))

    return run


@torch.no_grad()
def apply(network: Network, image: Float[Tensor, "1 3 h w"], mask: Float[Tensor, "1 1 h w"]) -> Tensor:
    """Run the network on the CPU and check what it returns.

    Returns:
        The image, "1 3 h w", finite but not clipped.

    Raises:
        ModelError: If it fails, or returns something else than an image of the same size.
    """
    shape = tuple(image.shape)
    try:
        result = network(image.float().cpu(), mask.float().cpu())
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        reason = str(error).strip()[:300]
        raise ModelError(
            f"method.model failed on an image {shape} and a mask {tuple(mask.shape)}: {reason}; "
            "method.size brings the input to the size a network was exported for"
        ) from error
    if not isinstance(result, Tensor) or tuple(result.shape) != shape:
        given = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        raise ModelError(f"method.model returned {given}, expected one image {shape}")
    if not result.isfinite().all():
        raise ModelError("method.model returned values that are not finite, expected an image in [0, 1]")
    return result.float()
