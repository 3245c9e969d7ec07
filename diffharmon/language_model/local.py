"""A vision-language model that runs here: any image-text-to-text model of transformers with a chat template."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from PIL import Image

from diffharmon.errors import DescriberError, ModelError
from diffharmon.files import loading

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass
class LocalModel:
    """Answers a question about pictures; loaded when it is first asked.

    Attributes:
        model: Folder or hub id.
        setting: The setting that names the model, for messages.
        revision: Commit or tag of a hub model.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto`` for an accelerator where there is one.
        dtype: Precision of the weights.
        temperature: Sampling temperature; 0 takes the most likely words.
        seed: Equal seeds give equal answers on one machine.
        max_new_tokens: Upper bound on the length of an answer.
    """

    model: str
    setting: str
    revision: str | None = None
    device: str = "auto"
    dtype: Precision = "bfloat16"
    temperature: float = 0.3
    seed: int = 0
    max_new_tokens: int = 256
    _loaded: tuple[Any, Any] | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def ask(self, text: str, pictures: Sequence[Image.Image]) -> str:
        """Return the model's answer.

        Raises:
            DescriberError: The model cannot be loaded, has no chat template or the device is not there.
        """
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
            ).to(model.device, getattr(torch, self.dtype))
            sampling = {"do_sample": True, "temperature": self.temperature} if self.temperature > 0 else {}
            tokens = model.generate(**inputs, max_new_tokens=self.max_new_tokens, **({"do_sample": False} | sampling))
            return processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForImageTextToText, AutoProcessor

            wanted = "the folder or hub id of an image-text-to-text model with safetensors weights"
            try:
                with loading("vision-language model", self.model, f"`{self.setting}` expects {wanted}."):
                    processor = AutoProcessor.from_pretrained(self.model, revision=self.revision)
                    model: Any = AutoModelForImageTextToText.from_pretrained(
                        self.model, revision=self.revision, dtype=getattr(torch, self.dtype), use_safetensors=True
                    )
            except ModelError as error:  # As any other failure to describe, so that a fallback takes over.
                raise DescriberError(str(error)) from None
            if not processor.chat_template:
                raise DescriberError(f"{self.setting}={self.model} has no chat template; expected an instruction model")
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
            setting = f"{self.setting.rpartition('.')[0]}.device"
            raise DescriberError(f"{setting}={place} cannot be used: {str(error).splitlines()[0]}") from None
