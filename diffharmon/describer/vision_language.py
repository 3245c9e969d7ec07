"""Any local image-text-to-text model of transformers as describer."""

from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge, Le

from diffharmon.describer.prompted import PromptedDescriber
from diffharmon.language_model.local import LocalModel
from diffharmon.protocols import Describer
from diffharmon.types import Attempt, Composite, Description


class VisionLanguage:
    """Asks a vision-language model that runs here, with the prompt and the rules of `Gemini` (paper section 3.1).

    Any model that transformers loads as image-text-to-text and that has a chat template will do (LLaVA, Idefics,
    Gemma, ...). Models whose processor also reads video (Qwen-VL, SmolVLM) need torchvision beside torch. The model is
    loaded when the first image is described, so stored descriptions need none.

    Args:
        model: Folder or hub id.
        revision: Commit or tag of a hub model.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto`` for an accelerator where there is one.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        temperature: Sampling temperature; 0 takes the most likely words.
        seed: Equal seeds give equal answers on one machine.
        max_new_tokens: Upper bound on the length of an answer.
        prompt: Prompt template with ``{vocabulary}`` where the word lists go; None is the built-in one.
        width: Width in pixels at which composite and mask are given to the model's own processor.
        answers: How often the model may answer before its answers count as unusable.
        cache: Folder of stored descriptions; None stores none.
        fallback: Who describes an image when this model cannot; None makes that an error.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        device: str = "auto",
        dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16",
        temperature: Annotated[float, Ge(0)] = 0.3,
        seed: Annotated[int, Ge(0)] = 0,
        max_new_tokens: Annotated[int, Ge(1)] = 256,
        prompt: str | None = None,
        width: Annotated[int, Ge(1), Le(16384)] = 1024,
        answers: Annotated[int, Ge(1)] = 3,
        cache: str | None = None,
        fallback: Describer | None = None,
    ) -> None:
        self.language_model = LocalModel(
            model, "describer.model", revision, device, dtype, temperature, seed, max_new_tokens
        )
        identity = model if revision is None else f"{model}@{revision}"
        self.describer = PromptedDescriber(
            f"vlm ({identity})", identity, self.language_model.ask, prompt, width, answers, cache, fallback
        )

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Describe a composite differently from everything in ``previous``.

        Raises:
            DescriberError: when the model cannot be loaded or gave no usable description, and there is no fallback.
        """
        return self.describer.describe(composite, previous)
