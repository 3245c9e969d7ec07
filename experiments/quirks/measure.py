"""What each quirk of the public code changes: `experiment=paper` with one quirk at a time, on one composite.

    python experiments/quirks/measure.py [--output DIR] [--backbone tiny] [OVERRIDE ...]

Writes `table.md` beside this file. Learned edges take part where PIDINET_WEIGHTS is set.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import torch

from diffharmon.config import composed
from diffharmon.images import read_image
from diffharmon.run import execute, quiet_libraries

HERE = Path(__file__).parent
# Two iterations, so that what only shows in the second has a chance; the last one is looked at.
BASE = [
    "experiment=paper",
    "dataset=demo",
    "describer=fixed",
    "describer.object=cup",
    "describer.foreground=[dim,cool]",
    "describer.background=[bright,warm]",
    "evaluator=none",
    "method.policy.iterations=2",
    "method.policy.ties=last",
    "method.policy.include_composite=false",
    "method.descriptions=1",
]
QUIRKS = {
    "Q2": ("Sobel target measured on [-1, 1], output on [0, 1]", ["structure.sobel.reference_range=signed"]),
    "Q3": ("the learned edges have no gradient", ["structure.pidinet.detach=true"]),
    "Q5": ("inversion and denoising one level apart, last step left out", ["backbone.inversion=shifted"]),
    "Q6": ("refinement on latents denoised anew without text", ["embedding.text.latents=denoised"]),
    "Q7": ("posterior sampled instead of its mode", ["method.sample_posterior=true"]),
    "Q8": ("everything squashed to the model's square", ["method.resolution=model"]),
    "Q10": ("attention mask reduced without antialiasing", ["embedding.text.mask_antialias=false"]),
    "Q14": ("softmax over softmax of the fusion weights", ["embedding.text.weighting=softmax_again"]),
    "Q19": ("stale foreground embedding in each step's first update", ["embedding.unconditional.stale_first=true"]),
    "Q22": ("decoded images cut to 8 bits downwards", ["method.truncate=true"]),
    "Q33": ("encoded image channels last", ["backbone.channels_last=true"]),
    "edges": ("edge losses on the decoded noisy latent", ["embedding.unconditional.edges_on=step"]),
    "drift": ("structure kept from the former iteration", ["method.structure_from=current"]),
}
ALL = [change for _, changes in QUIRKS.values() for change in changes]


def run(overrides: list[str], folder: Path) -> tuple[torch.Tensor, dict]:
    """Run one job; gives its image and row."""
    if not os.environ.get("PIDINET_WEIGHTS"):
        overrides = [*(o for o in overrides if not o.startswith("structure.pidinet")), "~structure.pidinet"]
    execute(composed(overrides), folder)
    row = json.loads((folder / "rows-rank0.jsonl").read_text().splitlines()[-1])
    return read_image(folder / row["name"] / "harmonized.png").image, row


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="keep the run folders here")
    parser.add_argument("override", nargs="*", help="further Hydra overrides, for all runs")
    arguments = parser.parse_args()
    quiet_libraries()
    output = arguments.output or Path(tempfile.mkdtemp(prefix="quirks-"))
    base = BASE + arguments.override
    plain, first = run(base, output / "paper")
    lines = ["| quirk | what it is | option | foreground changed by | fPSNR |", "|---|---|---|---|---|"]
    lines.append(f"| none | `experiment=paper` | | | {first['fpsnr']:.2f} dB |")
    cases = {**QUIRKS, "all": ("all of the above", ALL)}
    for name, (meaning, changes) in cases.items():
        if name == "Q3" and not os.environ.get("PIDINET_WEIGHTS"):
            lines.append(f"| {name} | {meaning} | `{' '.join(changes)}` | not run: no PIDINET_WEIGHTS | |")
            continue
        image, row = run(base + changes, output / name)
        option = "`experiment=reference_quirks`" if name == "all" else f"`{' '.join(changes)}`"
        if image.shape == plain.shape:
            touched = (image - plain).abs().amax(dim=0) > 0
            shift = (image - plain).abs()[:, touched].mean().item() * 255 if touched.any() else 0.0
            changed = f"{shift:.2f} levels, {touched.float().mean().item() / row['area']:.0%} of it"
        else:
            changed = f"output {image.shape[-1]} x {image.shape[-2]}"
        lines.append(f"| {name} | {meaning} | {option} | {changed} | {row['fpsnr']:.2f} dB |")
        print(lines[-1], flush=True)
    (HERE / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"written: {HERE / 'table.md'}")


if __name__ == "__main__":
    main()
