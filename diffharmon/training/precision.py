"""The precision that this machine trains fastest in."""

from collections.abc import Mapping

import torch


def bfloat16_is_fast() -> bool:
    """Return whether hardware computes bfloat16 here: an accelerator, or a CPU with instructions for it.

    A CPU without them computes it in software; there training is several times slower than
    in float32.
    """
    if torch.accelerator.is_available():
        return True
    # Only newer versions of torch tell what the CPU has; float32 is right, if slower, where nothing is known.
    capabilities: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16"))


def training_precision() -> str:
    """Return Lightning's name of the precision to train in."""
    return "bf16-mixed" if bfloat16_is_fast() else "32-true"
