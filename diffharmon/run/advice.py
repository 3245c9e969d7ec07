"""What went wrong with an image in one line, and what helps where memory ran out."""

import torch

from diffharmon.errors import DiffharmonError

SMALLER_MODEL = "backbone.dtype=bfloat16, backbone.offload=text or all, or a smaller backbone.size"
CHECKPOINTS = "backbone.gradient_checkpointing=true, backbone.offload=text, backbone.dtype=bfloat16"
NO_GRADIENTS = "embedding=[] with sampler.direct_inversion=true"
SMALLER_PHOTO = "a smaller photo, or output=minimal: this stage works on the photo at full size"
# What helps where memory ran out, by the stage in which it did; peaks by stage are in experiments/cost.
REMEDIES = {
    "text": f"{CHECKPOINTS}, or {NO_GRADIENTS}",
    "unconditional": f"{CHECKPOINTS}, embedding.unconditional.decode=half, or {NO_GRADIENTS}",
    "edit": f"{SMALLER_MODEL}, or on the CPU a smaller method.kept",
    **dict.fromkeys(("read", "recompose", "evaluate"), SMALLER_PHOTO),
}


def explain(error: Exception, stage: str = "read", together: int = 1) -> str:
    """Say in one line what went wrong with an image, and what helps where memory ran out in a stage.

    Args:
        error: What was raised.
        stage: In which stage.
        together: How many images were harmonized side by side.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text:
        fewer = f"a trainer.batch of fewer than {together}, " if together > 1 else ""
        return f"out of memory ({text[:200]}); try {fewer}{REMEDIES.get(stage, SMALLER_MODEL)}"
    return text if isinstance(error, DiffharmonError) else f"{type(error).__name__}: {text}"
