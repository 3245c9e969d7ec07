"""What each quirk of the public code changes: `experiment=reference_quirks` with all but one off, on one image.

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
from diffharmon.reference import quirks
from diffharmon.results import picture_folder
from diffharmon.run import execute, quiet_libraries

HERE = Path(__file__).parent
# Two iterations, so that what only shows in the second has a chance; the last one is looked at.
SETTINGS = [
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
    "seed=0",
]
# One opaque image with one description shows nothing of these.
UNSEEN = {
    "method.seed_by_name",
    "method.descriptions",
    "method.policy.redescribe",
    "method.policy.include_composite",
    "structure.pidinet.opaque",
}
QUIRKS = [quirk for quirk in quirks.QUIRKS if quirk.key not in UNSEEN]


def run(overrides: list[str], folder: Path) -> tuple[torch.Tensor, dict]:
    """Run one job; gives its image and row."""
    if not os.environ.get("PIDINET_WEIGHTS"):
        overrides = [*(o for o in overrides if "structure.pidinet" not in o), "~structure.pidinet"]
    execute(composed(overrides), folder)
    row = json.loads((folder / "rows-rank0.jsonl").read_text().splitlines()[-1])
    return read_image(picture_folder(folder, row) / "harmonized.png").image, row


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="keep the run folders here")
    parser.add_argument("override", nargs="*", help="further Hydra overrides, for all runs")
    arguments = parser.parse_args()
    quiet_libraries()
    output = arguments.output or Path(tempfile.mkdtemp(prefix="quirks-"))
    settings = SETTINGS + arguments.override
    paper = composed(["experiment=paper", *settings])
    base = ["experiment=reference_quirks", *settings]
    switched_off = {quirk: quirks.off(quirk, paper) for quirk in QUIRKS}
    plain, first = run(base + list(switched_off.values()), output / "paper")
    lines = ["| quirk | what it is | option | foreground changed by | fPSNR |", "|---|---|---|---|---|"]
    lines.append(f"| none | `experiment=paper` | | | {first['fpsnr']:.2f} dB |")
    for quirk in [*QUIRKS, None]:
        name, meaning, option = "all", "all of the above", "experiment=reference_quirks"
        if quirk is not None:
            name, meaning, option = quirk.number, quirk.behaviour, f"{quirk.key}={str(quirk.value).lower()}"
        if name == "Q3" and not os.environ.get("PIDINET_WEIGHTS"):
            lines.append(f"| {name} | {meaning} | `{option}` | not run: no PIDINET_WEIGHTS | |")
            continue
        others = [] if quirk is None else [change for other, change in switched_off.items() if other != quirk]
        image, row = run(base + others, output / name)
        if image.shape == plain.shape:
            touched = (image - plain).abs().amax(dim=0) > 0
            shift = (image - plain).abs()[:, touched].mean().item() * 255 if touched.any() else 0.0
            changed = f"{shift:.2f} levels, {touched.float().mean().item() / row['area']:.0%} of it"
        else:
            changed = f"output {image.shape[-1]} x {image.shape[-2]}"
        lines.append(f"| {name} | {meaning} | `{option}` | {changed} | {row['fpsnr']:.2f} dB |")
        print(lines[-1], flush=True)
    (HERE / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"written: {HERE / 'table.md'}")


if __name__ == "__main__":
    main()
