"""Edited pictures made by an image-editing model of Google's service, through google-genai."""

import io
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from diffharmon import images
from diffharmon.errors import DescriberError, ModelError
from diffharmon.language_model import service
from diffharmon.language_model.faults import TransientError
from diffharmon.language_model.genai import GenAI, picture_of, text_of
from diffharmon.language_model.retry import Pace, Retry
from diffharmon.method.describing import describe
from diffharmon.method.edits.instruction import INSTRUCTION, check_template, instruct
from diffharmon.protocols import Describer
from diffharmon.types import Composite, Edit, ignore


class GoogleGenAI:
    """Asks the service for the edit, with an instruction made from the description (extra ``google-genai``).

    The composite is sent to the service. The key is read from ``GOOGLE_API_KEY`` or ``GEMINI_API_KEY`` for each
    request; this object does not keep it.

    Args:
        describer: Finds the words of the instruction.
        model: Name of the model.
        instruction: Template of the instruction with ``{object}``, ``{foreground}`` and ``{background}``.
        size: Longer side of the picture that is sent, in pixels.
        attempts: Requests for one picture when the service is busy, out of reach or answers without a picture.
        first_delay: Seconds before the second request; doubles from then on, with jitter.
        longest_delay: Upper bound on a wait in seconds.
        requests_per_minute: Upper bound over all threads of one process; 0 for none.
        timeout: Seconds to wait for a reply.
        endpoint: Address of another server with the same interface; None means Google's.
    """

    def __init__(
        self,
        describer: Describer,
        model: str = "gemini-2.5-flash-image",
        instruction: str = INSTRUCTION,
        size: Annotated[int, Ge(64), Le(4096)] = 1024,
        attempts: Annotated[int, Ge(1)] = 5,
        first_delay: Annotated[float, Ge(0)] = 1.0,
        longest_delay: Annotated[float, Ge(0)] = 60.0,
        requests_per_minute: Annotated[float, Ge(0)] = 0.0,
        timeout: Annotated[float, Gt(0)] = 120.0,
        endpoint: str | None = None,
    ) -> None:
        self.describer = describer
        self.instruction = check_template(instruction)
        self.size = size
        self.retry = Retry(attempts, first_delay, longest_delay)
        self.client = GenAI(model, "method.source.model", endpoint, timeout, Pace(requests_per_minute))

    def edit(self, composite: Composite) -> Edit:
        """Return what the service makes of a composite.

        Raises:
            DescriberError: The words could not be had.
            ModelError: The service refused, stayed out of reach or gave no picture.
        """
        description = describe(self.describer, None, composite, (), ignore)
        prompt = instruct(self.instruction, description)
        height, width = composite.image.shape[-2:]
        scale = min(self.size / max(height, width), 1)
        sides = (max(round(height * scale), 1), max(round(width * scale), 1))
        small = images.to_uint8(images.resize(composite.image, sides, "lanczos", composite.alpha))
        file = service.encode(Image.fromarray(small.permute(1, 2, 0).cpu().numpy()))
        try:
            picture = self.retry.run(lambda: self._request(prompt, file))
        except DescriberError as error:
            raise ModelError(f"{self.client.model} cannot edit {composite.name}: {error}") from None
        return Edit(picture, description)

    def _request(self, prompt: str, file: bytes) -> Float[Tensor, "3 v u"]:
        parts = self.client.ask(prompt, [file], {"response_modalities": ["TEXT", "IMAGE"]})
        found = picture_of(parts)
        if found is None:
            raise TransientError(f"the service answered without a picture: {text_of(parts)[:200] or 'nothing'!r}")
        try:
            with Image.open(io.BytesIO(found)) as opened:
                pixels = np.asarray(opened.convert("RGB"))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise TransientError(f"the service's picture cannot be read: {error}") from None
        return images.from_uint8(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
