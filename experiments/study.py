"""Run a study: the cases of `experiments/<study>/cases.yaml` on the built-in benchmark and on iHarmony4, into a table.

    python experiments/study.py STUDY OUTPUT [--mini 8] [--iharmony4 4] [OVERRIDE ...]

Each case is a list of Hydra overrides on top of the study's own; OVERRIDE goes to all cases. `dataset=mini` is run with
its true words unless a case sets a describer, so that the cases differ in nothing else; iHarmony4 (IHARMONY4_ROOT) has
no true words and takes those of `describer=clip`. Runs lie in OUTPUT and are continued when the command is given again.
The table goes to `experiments/<study>/table.md`.
"""

import argparse
import hashlib
import math
import os
import statistics
from pathlib import Path
from typing import Any

import yaml

from diffharmon.config import composed
from diffharmon.errors import InputError, ModelError
from diffharmon.files import ASSETS
from diffharmon.results import read_rows
from diffharmon.run import execute, quiet_libraries

HERE = Path(__file__).parent
COST = ("network_samples", "seconds")
WORDS = ("describer=file", "describer.path=${asset:mini/triples.jsonl}")


def run(overrides: list[str], values: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """Run or continue one case on one dataset; gives its finished rows by image."""
    try:
        execute(composed(overrides, values), folder)
    except (InputError, ModelError) as error:
        print(f"{folder}: {error}")
    return {row["name"]: row for row in read_rows(folder) if row["status"] == "ok"}


def gains(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """FPSNR over the composite's, by image."""
    return {name: row["fpsnr"] - row["composite_fpsnr"] for name, row in rows.items()}


def cells(rows: dict[str, dict[str, Any]], first: dict[str, float]) -> str:
    """Mean gain and better share, and the mean paired difference to the first case with its 95 % interval."""
    found = gains(rows)
    if not found:
        return "- | - | -"
    better = 100 * sum(gain > 0 for gain in found.values()) / len(found)
    paired = [gain - first[name] for name, gain in found.items() if name in first]
    half = 1.96 * statistics.stdev(paired) / math.sqrt(len(paired)) if len(paired) > 1 else math.nan
    difference = f"{statistics.mean(paired):+.2f} ± {half:.2f}" if paired and any(paired) else ""
    return f"{statistics.mean(found.values()):+.2f} | {better:.0f} | {difference}"


def weights() -> str:
    """The first digits of the embedded UNet's checksum."""
    path = ASSETS / "tiny" / "unet" / "diffusion_pytorch_model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def main() -> None:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=sorted(path.parent.name for path in HERE.glob("*/cases.yaml")))
    parser.add_argument("output", type=Path)
    parser.add_argument("--mini", type=int, default=8, help="images of dataset=mini")
    parser.add_argument("--iharmony4", type=int, default=4, help="images of iHarmony4; 0 leaves it out")
    parser.add_argument("override", nargs="*", help="further Hydra overrides, for all cases")
    options = parser.parse_intermixed_args()
    quiet_libraries()
    study = yaml.safe_load((HERE / options.study / "cases.yaml").read_text(encoding="utf-8"))
    datasets = {"mini": ["dataset=mini", f"dataset.limit={options.mini}", *WORDS]}
    if options.iharmony4 and os.environ.get("IHARMONY4_ROOT"):
        datasets["iharmony4"] = ["dataset=iharmony4", f"dataset.limit={options.iharmony4}", "describer=clip"]
    head = "| case | overrides | " + " | ".join(
        f"{name}: gain in fPSNR, dB | better, % | against the first case, dB (95 %)" for name in datasets
    )
    lines = [head + " | UNet samples an image | seconds an image |", "|---" * (4 + 3 * len(datasets)) + "|"]
    counts = f"{options.mini} images of mini" + (f", {options.iharmony4} of iHarmony4" if len(datasets) > 1 else "")
    shared = " ".join([*study["base"], *options.override]) or "defaults"
    note = f"\nBase: `{shared}`. {counts}; embedded UNet {weights()}.\n"
    firsts: dict[str, dict[str, float]] = {}
    for case, overrides in study["cases"].items():
        if any("pidinet" in override for override in overrides) and not os.environ.get("PIDINET_WEIGHTS"):
            lines.append(f"| {case} | not run: no PIDINET_WEIGHTS |" + " |" * (2 + 3 * len(datasets)))
            continue
        parts: list[str] = []
        everything: list[dict[str, Any]] = []
        for name, base in datasets.items():
            given = [*base, *study["base"], *overrides, *options.override]
            rows = run(chosen(given), {}, options.output / name / case.replace(" ", "_").replace("/", "-"))
            firsts.setdefault(name, gains(rows))
            parts.append(cells(rows, firsts[name]))
            everything += rows.values()
        cost = [statistics.mean(row[key] for row in everything) if everything else 0 for key in COST]
        shown = f"`{' '.join(overrides)}`" if overrides else ""
        lines.append(f"| {case} | {shown} | {' | '.join(parts)} | {cost[0]:.0f} | {cost[1]:.1f} |")
        print(lines[-1], flush=True)
        (HERE / options.study / "table.md").write_text("\n".join([*lines, note]), encoding="utf-8")


def chosen(overrides: list[str]) -> list[str]:
    """Let a case's choice of a group win over the study's: of two choices of one group the later one stays."""
    latest = {override.split("=")[0]: place for place, override in enumerate(overrides)}
    kept = [override for place, override in enumerate(overrides) if latest[override.split("=")[0]] == place]
    kept = [override for override in kept if override != "experiment=null"]
    told = "describer=file" in kept
    return [override for override in kept if told or not override.startswith("describer.path=")]


if __name__ == "__main__":
    main()
