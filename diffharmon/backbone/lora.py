"""LoRA weights (arXiv 2106.09685) merged into a model when it is loaded."""

import inspect
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diffharmon.errors import ConfigError, ModelError


def check_lora(lora: Sequence[str], weights: Sequence[float]) -> None:
    """Refuse LoRA settings that cannot be used, before any weights are read.

    Raises:
        ConfigError: There are not as many weights as LoRAs, or peft is not installed.
        ModelError: A local file or folder does not exist, or a file is a pickle.
    """
    if weights and len(weights) != len(lora):
        raise ConfigError(f"lora_weights: expected one for each of {len(lora)} LoRAs, got {len(weights)}")
    if lora and find_spec("peft") is None:
        raise ConfigError("lora: LoRA weights need peft, which is not installed: pip install 'diffharmon[lora]'")
    for path in lora:
        named = Path(path).expanduser()
        if named.suffix and named.suffix != ".safetensors" and named.is_file():
            raise ModelError(f"lora: {path} is a file of another kind; expected .safetensors")
        if not named.exists() and (named.is_absolute() or path.count("/") != 1 or named.suffix == ".safetensors"):
            raise ModelError(f"lora: {path} does not exist; expected a .safetensors file, a folder, or a hub id")


def merge_lora(pipeline: Any, model: Any, texts: Sequence[str], lora: Sequence[str], weights: Sequence[float]) -> None:
    """Add LoRA weights to the weights of a model's parts, which stay of their own classes.

    Args:
        pipeline: The diffusers pipeline that knows how its family's LoRAs are named.
        model: The backbone, with ``network`` and ``vae``.
        texts: Its text encoders and tokenizers, of the same names in the pipeline.
        lora: Files, folders or hub ids.
        weights: How much of each is added; empty for all of each.

    Raises:
        ModelError: A LoRA cannot be read, or does not fit the model.
    """
    if not lora:
        return
    wanted = inspect.signature(pipeline).parameters
    given = {"unet": model.network, "transformer": model.network, "vae": model.vae, "requires_safety_checker": False}
    given |= {name: getattr(model, name) for name in texts}
    required = (name for name, parameter in wanted.items() if parameter.default is inspect.Parameter.empty)
    holder = pipeline(**(dict.fromkeys(required) | {name: part for name, part in given.items() if name in wanted}))
    for number, (name, weight) in enumerate(zip(lora, weights or [1.0] * len(lora), strict=True)):
        adapter = f"lora_{number}"
        try:
            holder.load_lora_weights(str(Path(name).expanduser()), adapter_name=adapter, use_safetensors=True)
            holders = [part for part, adapters in holder.get_list_adapters().items() if adapter in adapters]
            if not holders:
                raise ValueError("it has no weights for this kind of model")
            holder.fuse_lora(components=holders, lora_scale=weight, adapter_names=[adapter])
        except Exception as error:  # files that do not fit raise anything
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ModelError(
                f"lora: {name} cannot be added: {reason}; expected a LoRA for {pipeline.__name__}"
            ) from error
        finally:
            holder.unload_lora_weights()
