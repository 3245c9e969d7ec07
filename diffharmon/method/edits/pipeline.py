"""Edited pictures made by any editing pipeline of diffusers: InstructPix2Pix, FLUX.1 Kontext, Qwen-Image-Edit, ..."""

import hashlib
import inspect
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import diffusers
import torch
from annotated_types import Ge, Le
from diffusers.pipelines import auto_pipeline as auto
from PIL import Image

from diffharmon import images
from diffharmon.errors import ConfigError, ModelError
from diffharmon.files import loading
from diffharmon.method.describing import describe
from diffharmon.method.edits.instruction import INSTRUCTION, check_template, instruct
from diffharmon.protocols import Describer
from diffharmon.types import Composite, Edit, ignore

HELP = "`method.source.model` expects the folder or hub id of a diffusers pipeline that edits images by instruction."
_MULTIPLE = 16  # of both sides: autoencoder cells of 8 pixels, packed in pairs


class Pipeline:
    """Asks a diffusers pipeline for the edit, with an instruction made from the description.

    The pipeline's own class is used where it takes an image and a prompt, as instruction-following pipelines do; of a
    text-to-image model its image-to-image pipeline (Meng et al., SDEdit, arXiv 2108.01073). A setting that the
    pipeline does not take is refused before its weights load.

    Args:
        model: Folder or hub id.
        describer: Finds the words of the instruction.
        instruction: Template of the instruction with ``{object}``, ``{foreground}`` and ``{background}``.
        size: Longer side of the picture that the pipeline is given, in pixels.
        steps: Denoising steps; as ``guidance``, ``image_guidance`` and ``strength`` None is the pipeline's own.
        guidance: Weight of the instruction (``guidance_scale``).
        image_guidance: Weight of the picture (``image_guidance_scale``, of InstructPix2Pix).
        strength: Share of the noise that is put on the picture, of image-to-image pipelines.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        revision: Commit or tag of a hub model.
        seed: Draws the noise, together with a composite's name.

    Raises:
        ConfigError: The pipeline does not take one of the settings.
        ModelError: It cannot be loaded, or edits no images by words.
    """

    def __init__(
        self,
        model: str,
        describer: Describer,
        instruction: str = INSTRUCTION,
        size: Annotated[int, Ge(64), Le(4096)] = 512,
        steps: Annotated[int, Ge(1), Le(1000)] | None = None,
        guidance: Annotated[float, Ge(0), Le(1000)] | None = None,
        image_guidance: Annotated[float, Ge(0), Le(1000)] | None = None,
        strength: Annotated[float, Ge(0), Le(1)] | None = None,
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        revision: str | None = None,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.describer = describer
        self.instruction = check_template(instruction)
        self.size = size
        self.seed = seed
        given = {
            "steps": ("num_inference_steps", steps),
            "guidance": ("guidance_scale", guidance),
            "image_guidance": ("image_guidance_scale", image_guidance),
            "strength": ("strength", strength),
        }
        kind = _kind(model, revision)
        taken = _taken(kind)
        for name, (argument, value) in given.items():
            if value is not None and argument not in taken:
                raise ConfigError(f"{name}: {kind.__name__} takes no {argument}; expected null")
        self.settings = {argument: value for argument, value in given.values() if value is not None}
        self.pipeline = _load(model, kind, getattr(torch, dtype), revision)

    def edit(self, composite: Composite) -> Edit:
        """Return what the pipeline makes of a composite.

        Raises:
            DescriberError: The words could not be had.
            ModelError: The pipeline's safety checker withheld the picture.
        """
        description = describe(self.describer, None, composite, (), ignore)
        picture = _sent(composite, self.size)
        digest = hashlib.sha256(f"{self.seed}/{composite.name}".encode()).digest()
        sides = {"height": picture.height, "width": picture.width}
        taken = _taken(type(self.pipeline))
        found = self.pipeline.to(composite.image.device)(
            image=picture,
            prompt=instruct(self.instruction, description),
            generator=torch.Generator().manual_seed(int.from_bytes(digest[:4], "big")),
            output_type="np",
            **{name: value for name, value in sides.items() if name in taken},
            **self.settings,
        )
        if any(getattr(found, "nsfw_content_detected", None) or ()):
            raise ModelError(f"the pipeline's safety checker withheld its picture of {composite.name}")
        return Edit(torch.from_numpy(found.images[0].copy()).permute(2, 0, 1).float(), description)


def _sent(composite: Composite, size: int) -> Image.Image:
    """Shrink or enlarge a composite to the pipeline's size; registration undoes the squash by some pixels."""
    height, width = composite.image.shape[-2:]
    scale = size / max(height, width)
    sides = tuple(max(round(side * scale / _MULTIPLE), 1) * _MULTIPLE for side in (height, width))
    small = images.to_uint8(images.resize(composite.image, (sides[0], sides[1]), "lanczos", composite.alpha))
    return Image.fromarray(small.permute(1, 2, 0).cpu().numpy())


def _kind(model: str, revision: str | None) -> type[Any]:
    """Find the class of pipeline that will be used, by the model's index alone."""
    with loading("editing pipeline", model, HELP):
        config: Mapping[str, Any] = diffusers.DiffusionPipeline.load_config(model, revision=revision)
        name = str(config.get("_class_name"))
        kind: Any = getattr(diffusers, name, None)
        if kind is None:
            raise ModelError(f"method.source.model={model}: diffusers has no pipeline {name}. {HELP}")
        if "image" not in _taken(kind):
            families = (family for family, one in auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.items() if one is kind)
            kind = auto.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING.get(next(families, ""), kind)
        if not {"image", "prompt"} <= _taken(kind):
            raise ModelError(f"method.source.model={model}: {kind.__name__} edits no images by words. {HELP}")
    return kind


def _taken(kind: type[Any]) -> frozenset[str]:
    return frozenset(inspect.signature(kind.__call__).parameters)


def _load(model: str, kind: type[Any], dtype: torch.dtype, revision: str | None) -> Any:
    with loading("editing pipeline", model, HELP):
        pipeline = kind.from_pretrained(model, torch_dtype=dtype, revision=revision)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
