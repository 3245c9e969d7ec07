"""What each stage takes at Stable Diffusion 2's size and on which memory it fits, counted without weights.

    python experiments/cost/stages.py [OVERRIDE ...]

Prints FLOPs and peak memory by stage for the default and the paper's settings, plain and with what spares memory, and
the first of those settings under which all stages fit on a device of 8, 12, 24 and 80 GB.
"""

import sys

from diffharmon.config import composed
from diffharmon.pricing.price import Price, price_of
from diffharmon.run import quiet_libraries

MODEL = ("backbone=sd2_base", "backbone.dtype=bfloat16", "dataset=mini", "describer=fixed", "describer.object=cup",
         "describer.foreground=dim", "describer.background=bright", "evaluator=none")  # fmt: skip
SETTINGS = {
    "default": (),
    "paper": ("experiment=paper", "~structure.pidinet", "method.descriptions=1", "method.policy.iterations=1"),
}
CHECKPOINTS = "backbone.gradient_checkpointing=true"
SPARING: tuple[tuple[str, ...], ...] = (
    (),
    ("backbone.offload=text",),
    (CHECKPOINTS,),
    (CHECKPOINTS, "backbone.offload=text"),
    (CHECKPOINTS, "backbone.offload=text", "embedding.unconditional.decode=half"),
    (CHECKPOINTS, "backbone.offload=all", "embedding.unconditional.decode=half"),
)
MEMORIES = (8, 12, 24, 80)
GIGABYTE = 1e9
# What the driver, the kernels and the allocator's gaps take besides tensors: an assumption.
RESERVED = 1.0


def main() -> None:
    """Count and print."""
    quiet_libraries()
    for name, settings in SETTINGS.items():
        chosen = [*settings, *MODEL]
        prices: dict[tuple[str, ...], Price] = {}
        for sparing in SPARING:
            if name == "paper" or not any("gradient" in one or "embedding" in one for one in sparing):
                prices[sparing] = price_of(composed([*chosen, *sparing, *sys.argv[1:]]), 1)
        stages = [*next(iter(prices.values())).flops]
        print(f"\n## {name}\n\n| settings | {' | '.join(stages)} | all |\n|---|{'---|' * (len(stages) + 1)}")
        for sparing, price in prices.items():
            cells = [f"{price.flops[stage] / 1e12:.3g} T, {price.peaks[stage] / 2**30:.1f}" for stage in stages]
            total = f"{sum(price.flops.values()) / 1e15:.3g} P, {max(price.peaks.values()) / 2**30:.1f}"
            print(f"| {wording(sparing)} | {' | '.join(cells)} | {total} |")
        print(f"\n| memory | {' | '.join(stages)} |\n|---|{'---|' * len(stages)}")
        for memory in MEMORIES:
            print(f"| {memory} GB | {' | '.join(fitting(prices, stage, memory) for stage in stages)} |")


def fitting(prices: dict[tuple[str, ...], Price], stage: str, memory: int) -> str:
    """Return the first settings under which a stage fits."""
    room = (memory - RESERVED) * GIGABYTE
    return next((wording(sparing) for sparing, price in prices.items() if price.peaks[stage] <= room), "does not fit")


def wording(sparing: tuple[str, ...]) -> str:
    """Return settings as they are typed, without their group."""
    return " ".join(f"`{one.split('.', 1)[1]}`" for one in sparing) or "plain"


if __name__ == "__main__":
    main()
