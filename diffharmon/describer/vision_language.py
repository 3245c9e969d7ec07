"""Any local image-text-to-text model of transformers as describer."""

import hashlib
import threading
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Le
from PIL import Image

from diffharmon.describer.prompted import PromptedDescriber
from diffharmon.errors import DescriberError, ModelError
from diffharmon.files import loading
from diffharmon.protocols import Describer
from diffharmon.types import Attempt, Composite, Description

HELP = "`describer.model` expects the folder or hub id of an image-text-to-text model with safetensors weights."


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
        self.model = model
        self.revision = revision
        self.device = device
        self.dtype = getattr(torch, dtype)
        self.temperature = temperature
        self.seed = seed
        self.max_new_tokens = max_new_tokens
        identity = model if revision is None else f"{model}@{revision}"
        self.describer = PromptedDescriber(
            f"vlm ({identity})", identity, self._send, prompt, width, answers, cache, fallback
        )
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Describe a composite differently from everything in ``previous``.

        Raises:
            DescriberError: when the model cannot be loaded or gave no usable description, and there is no fallback.
        """
        return self.describer.describe(composite, previous)

    def _send(self, text: str, pictures: Sequence[Image.Image]) -> str:
        content = [*({"type": "image", "image": picture} for picture in pictures), {"type": "text", "text": text}]
        with self._lock, torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(int.from_bytes(hashlib.sha256(f"{self.seed} {text}".encode()).digest()[:7], "big"))
            processor, model = self._load()
            inputs = processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            ).to(model.device, self.dtype)
            sampling = {"do_sample": True, "temperature": self.temperature} if self.temperature > 0 else {}
            tokens = model.generate(**inputs, max_new_tokens=self.max_new_tokens, **({"do_sample": False} | sampling))
            return processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForImageTextToText, AutoProcessor

            try:
                with loading("vision-language model", self.model, HELP):
                    processor = AutoProcessor.from_pretrained(self.model, revision=self.revision)
                    model: Any = AutoModelForImageTextToText.from_pretrained(
                        self.model, revision=self.revision, dtype=self.dtype, use_safetensors=True
                    )
            except ModelError as error:  # As any other failure to describe, so that the fallback takes over.
                raise DescriberError(str(error)) from None
            if not processor.chat_template:
                raise DescriberError(
                    f"describer.model={self.model} has no chat template; expected an instruction model"
                )
            self._loaded = processor, self._placed(model.eval())
        return self._loaded

    def _placed(self, model: Any) -> Any:
        place = self.device
        if place == "auto":
            accelerator = torch.accelerator.current_accelerator(check_available=True)
            place = "cpu" if accelerator is None else accelerator.type
        try:
            return model.to(place)
        except (RuntimeError, AssertionError) as error:  # torch asserts that CUDA was compiled in
            raise DescriberError(f"describer.device={place} cannot be used: {str(error).splitlines()[0]}") from None
