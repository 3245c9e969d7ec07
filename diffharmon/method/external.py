"""Any other harmonization method, run as a command or from an exported network."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch.nn.functional as F
from annotated_types import Ge, Gt, Le, MinLen
from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.errors import ConfigError, InputError, ModelError
from diffharmon.method import external_model
from diffharmon.method.baseline import keep_background, outcome
from diffharmon.types import Composite, Cost, Observer, Outcome

PLACES = ("{image}", "{mask}", "{output}")


class External:
    """Harmonizes by a program or an exported network; the background stays the photo's, whatever it returns.

    A program reads the composite and its mask as PNG files and writes the result as an image file of the same size.
    A network maps image "1 3 h w" in [0, 1] and mask "1 1 h w" to an image "1 3 h w" in [0, 1], on the CPU.

    Args:
        command: Program and arguments, started without a shell; ``{image}``, ``{mask}`` and ``{output}`` inside an
            argument become file names.
        model: A ``torch.export`` (.pt2) or ONNX (.onnx) file, instead of a command.
        size: Side of the square that the input is resized to (Lanczos), and the result back from (bicubic); 0 keeps
            the photo's own size.
        timeout: Seconds after which a program is killed.
        allow_code: Load .pt2 files, which can run any code; a .onnx file cannot.

    Raises:
        ConfigError: If not exactly one of ``command`` and ``model`` is given, or the command lacks a place.
        ModelError: If the program or the file cannot be found or loaded.
    """

    def __init__(
        self,
        command: Annotated[Sequence[str], MinLen(1)] | None = None,
        model: str | None = None,
        size: Annotated[int, Ge(0), Le(16384)] = 0,
        timeout: Annotated[float, Gt(0)] = 600.0,
        allow_code: bool = False,
    ) -> None:
        if (command is None) == (model is None):
            given = "neither is" if command is None else "both are"
            raise ConfigError(f"command: either this or model is expected; {given} given")
        if 0 < size < images.SMALLEST_SIDE:
            raise ConfigError(f"size: got {size}, expected 0 or at least {images.SMALLEST_SIDE} pixels")
        self.command = None if command is None else _checked(command)
        self.network = None if model is None else external_model.load(model, allow_code)
        self.size = size
        self.timeout = timeout

    def harmonize(self, composite: Composite, observe: Observer) -> Outcome:
        """Return the composite with the foreground that the program or the network made.

        Raises:
            ModelError: If it fails, takes too long or returns no image of the size it was given.
        """
        start = time.perf_counter()
        image, mask = composite.image, composite.mask
        if self.size:
            image, mask = (images.resize(value, (self.size, self.size)) for value in (image, mask))
        if self.network is not None:
            picture = external_model.apply(self.network, image[None], mask[None])[0]
        else:
            picture = self.run(image, mask)
        if self.size:
            full = tuple(composite.image.shape[-2:])
            picture = F.interpolate(picture[None], full, mode="bicubic", antialias=True, align_corners=False)[0]
        return outcome(keep_background(composite, picture), 0, {"external": Cost(time.perf_counter() - start)})

    def run(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"]) -> Float[Tensor, "3 h w"]:
        """Run the program on files in a folder of its own and read its result."""
        with tempfile.TemporaryDirectory(prefix="diffharmon-") as folder:
            files = {place: str(Path(folder) / f"{place.strip('{}')}.png") for place in PLACES}
            images.write_image(files["{image}"], image)
            images.write_image(files["{mask}"], mask)
            words = [_filled(word, files) for word in self.command or ()]
            _finish(words, self.timeout)
            try:
                result = images.read_image(files["{output}"]).image
            except InputError as error:
                raise ModelError(f"method.command {words[0]!r} ended well but left no image: {error}") from error
        if result.shape != image.shape:
            height, width = result.shape[-2:]
            raise ModelError(
                f"method.command {words[0]!r} made an image of {width} x {height} pixels, "
                f"expected {image.shape[-1]} x {image.shape[-2]}"
            )
        return result


def _checked(command: Sequence[str]) -> tuple[str, ...]:
    if isinstance(command, str) or not command or not all(isinstance(word, str) for word in command):
        raise ConfigError(f"command: got {command!r}, expected a list of words such as [python, x.py, ...]")
    missing = [place for place in PLACES if not any(place in word for word in command)]
    if missing:
        raise ConfigError(f"command: {list(command)} lacks {' and '.join(missing)}")
    if shutil.which(command[0]) is None:
        raise ModelError(f"method.command: there is no program {command[0]!r}")
    return tuple(command)


def _filled(word: str, files: dict[str, str]) -> str:
    for place, file in files.items():
        word = word.replace(place, file)
    return word


def _finish(words: Sequence[str], timeout: float) -> None:
    """Run a program to its end; after ``timeout`` seconds it and what it started are killed."""
    try:
        process = subprocess.Popen(
            words,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise ModelError(f"method.command: {words[0]!r} cannot be started: {error}") from error
    try:
        _, complaint = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"method.command {words[0]!r} took longer than {timeout:g} s and was killed") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        output = " | ".join(complaint.strip().splitlines()[-3:]) or "nothing"
        raise ModelError(f"method.command {words[0]!r} ended with code {process.returncode}; its last lines: {output}")
