"""Golden cases, and the method of ``experiment=reference_quirks`` with their settings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from diffharmon import images
from diffharmon.config import build, composed
from diffharmon.errors import InputError
from diffharmon.method.diffusion import Diffusion
from diffharmon.types import Composite


@dataclass(frozen=True)
class GoldenCase:
    """One recorded run of the reference code."""

    folder: Path
    inputs: Path
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The case's folder name."""
        return self.folder.name

    @property
    def iterations(self) -> int:
        """How many harmonization iterations were recorded."""
        return int(self.settings["iterations"])

    def golden(self, iteration: int) -> dict[str, np.ndarray]:
        """Arrays of one iteration."""
        with np.load(self.folder / f"iter{iteration:02d}.npz") as arrays:
            return dict(arrays)

    def blend(self, iteration: int) -> Any:
        """The recorded result of an iteration, RGB in [0, 1]: the input of the next."""
        return images.read_image(self.folder / f"blend_iter{iteration:02d}.png").image

    @cached_property
    def composite(self) -> Composite:
        """The input composite, transparency included."""
        picture = images.read_image(self.inputs / self.settings["composite"])
        # The public code takes small levels as they are.
        mask = images.read_mask(self.inputs / self.settings["mask"], images.MaskRule(floor=0))
        return Composite(self.name, "parity", picture.image, mask, alpha=picture.alpha)


def read_case(folder: Path, inputs: Path) -> GoldenCase:
    """Read a case folder.

    Raises:
        InputError: It holds no ``case.json``.
    """
    path = folder / "case.json"
    if not path.is_file():
        raise InputError(f"{folder}: expected a golden case with case.json, found none")
    return GoldenCase(folder, inputs, json.loads(path.read_text(encoding="utf-8")))


def quirks_config(pipeline: Path, case: GoldenCase, pidinet: Path | None) -> DictConfig:
    """Compose ``experiment=reference_quirks`` with a case's settings."""
    settings = case.settings
    foreground, background = (settings[f"{side}_prompt"].split() for side in ("foreground", "background"))
    values = {
        "backbone.path": str(pipeline),
        "backbone.size": settings["size"],
        "sampler.steps": settings["diffusion_steps"],
        "method.guidance": settings["guidance_scale"],
        "method.policy.iterations": settings["iterations"],
        "seed": settings["seed"],
        "embedding.text.divisor": 32,
        "embedding.text.learning_rate": settings["text_learning_rate"],
        "embedding.text.updates": settings["text_updates_per_step"],
        "embedding.text.regularization": settings["regularisation_weight"],
        "embedding.unconditional.learning_rate": settings["unconditional_learning_rate"],
        "describer.object": foreground[0],
        "describer.foreground": foreground[1:],
        "describer.background": background[1:],
    }
    if settings["edge_loss"] and pidinet is not None:
        values["structure.pidinet.detector.weights"] = str(pidinet)
    unused = ["sobel"] * (not settings["edge_loss"]) + ["pidinet"] * (not settings["edge_loss"] or pidinet is None)
    removed = [f"~structure.{part}" for part in unused]
    return composed(["experiment=reference_quirks", "describer=fixed", *removed], values)


def quirks_method(pipeline: Path, case: GoldenCase, pidinet: Path | None) -> Diffusion:
    """Build the method of a case."""
    method: Diffusion = build(quirks_config(pipeline, case, pidinet).method)
    return method
