"""Measure how well the embedded models harmonize, with the package's own runs.

    python experiments/bars/measure.py OUTPUT [--photos DATA] [--only NAMES] [--count 200] [OVERRIDE ...]

DATA is the training data (<source>/*.jpg with <source>/masks/*.png), of which only photos are used that no embedded
model saw; IHARMONY4_ROOT names a folder in iHarmony4's layout. What has no data is left out, and said so. OVERRIDE goes
to every run. Runs lie in OUTPUT and are continued when the command is given again; the table and the commands that made
its rows are written to OUTPUT/table.md.
"""

import argparse
import math
import os
import shlex
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photos import CLOSE, select, untouched

from diffharmon.config import composed
from diffharmon.errors import InputError
from diffharmon.results import read_rows
from diffharmon.run import execute, quiet_libraries

METHODS = ("diffusion", "reinhard", "reinhard_near", "colour_map", "mkl", "histogram", "identity")


@dataclass(frozen=True)
class Bar:
    """One row: what is run, and what is asked of it.

    Attributes:
        title: What it is run on.
        overrides: Hydra overrides.
        values: Paths, by configuration key.
        judge: Turns the finished rows into the cells of the table.
    """

    title: str
    overrides: tuple[str, ...]
    values: dict[str, Any]
    judge: Callable[[list[dict[str, Any]]], str]


def gains(rows: list[dict[str, Any]]) -> str:
    """Mean gain with its 95 % interval, and shares."""
    values = [row["fpsnr"] - row["composite_fpsnr"] for row in rows]
    half = 1.96 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    better, worse = (100 * sum(wanted) / len(values) for wanted in ([v > 0 for v in values], [v < 0 for v in values]))
    return f"{statistics.mean(values):+.2f} (± {half:.2f}) | {better:.0f} | {worse:.0f} | {min(values):+.2f} | |"


def changes(rows: list[dict[str, Any]]) -> str:
    """The share of photos that did not stay what they were."""
    changed = 100 * sum(row["psnr"] < CLOSE for row in rows) / len(rows)
    return f"| | | | {changed:.0f} |"


def bars(output: Path, photos: Path | None, count: int, seed: int) -> dict[str, Bar]:
    """All rows for which there is data, by the name of their run folder."""
    found = {}
    if photos is not None:
        held_out = select(photos, output, "report")
        words = str(output / "words.jsonl")
        made = {"dataset.photos": str(held_out), "dataset.count": count, "dataset.seed": seed}
        given = {**made, "dataset.words": words, "describer.path": words}
        alone = "evaluator=none"
        found["known"] = Bar("synthesized, words known", ("dataset=synthetic", "describer=file"), given, gains)
        found["offline"] = Bar("synthesized, defaults", ("dataset=synthetic",), made, gains)
        title = "synthesized, defaults, nothing left alone"
        found["offline_alone"] = Bar(title, ("dataset=synthetic", alone), made, gains)
        real = untouched(held_out, output)
        folder: dict[str, Any] = {"dataset.images": str(real / "images"), "dataset.masks": str(real / "masks")}
        folder |= {"dataset.reals": str(real / "images"), "dataset.limit": min(100, count)}
        found["untouched"] = Bar("untouched photos, defaults", ("dataset=folder",), folder, changes)
        title = "untouched photos, nothing left alone"
        found["untouched_alone"] = Bar(title, ("dataset=folder", alone), folder, changes)
    found["mini"] = Bar("`dataset=mini`, defaults", ("dataset=mini",), {}, gains)
    title = "`dataset=mini`, nothing left alone"
    found["mini_alone"] = Bar(title, ("dataset=mini", "evaluator=none"), {}, gains)
    table = "describer.path=${asset:mini/triples.jsonl}"
    given_mini = ("dataset=mini", "describer=file", table)
    found["mini_known"] = Bar("`dataset=mini`, words known", given_mini, {}, gains)
    if os.environ.get("IHARMONY4_ROOT"):
        for method in METHODS:
            title = f"iHarmony4 sample, {'defaults' if method == 'diffusion' else f'`method={method}`'}"
            found[f"iharmony4_{method}"] = Bar(title, ("dataset=iharmony4", f"method={method}"), {}, gains)
    return found


def run(bar: Bar, folder: Path, more: list[str]) -> str:
    """Run or continue one row; gives the row of the table."""
    config = composed([*bar.overrides, *more], bar.values)
    failed = ""
    try:
        execute(config, folder)
    except InputError as error:
        failed = f" ({error})"
    rows = {row["name"]: row for row in read_rows(folder) if row["status"] == "ok"}
    if not rows:
        return f"| {bar.title} | 0{failed} | | | | | | |"
    seconds = statistics.mean(row["seconds"] for row in rows.values())
    return f"| {bar.title} | {len(rows)}{failed} | {bar.judge(list(rows.values()))} {seconds:.1f} |"


def command(bar: Bar, more: list[str], output: Path) -> str:
    """The same as a line for a shell, with OUTPUT for the output folder."""
    pairs = [f"{key}={value}".replace(str(output), "OUTPUT") for key, value in bar.values.items()]
    return shlex.join(["diffharmon", *bar.overrides, *pairs, *more])


def main() -> None:
    """Run all rows and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--only", metavar="NAMES", help="rows by the names of their run folders, with commas")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("override", nargs="*", help="further Hydra overrides, for all runs")
    options = parser.parse_intermixed_args()
    quiet_libraries()
    options.output.mkdir(parents=True, exist_ok=True)
    found = bars(options.output, options.photos, options.count, options.seed)
    if options.photos is None:
        print("no --photos: nothing is synthesized and no untouched photo is looked at")
    if not os.environ.get("IHARMONY4_ROOT"):
        print("IHARMONY4_ROOT is not set: iHarmony4 is left out")
    names = options.only.split(",") if options.only else list(found)
    unknown = set(names) - set(found)
    if unknown:
        parser.error(f"unknown rows {', '.join(sorted(unknown))}; expected some of {', '.join(found)}")
    lines = [
        "| on | images | mean gain in fPSNR, dB (95 %) | better, % | worse, % | worst, dB "
        f"| changed by less than {CLOSE:.0f} dB PSNR, % | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    commands = []
    print("\n".join(lines), flush=True)
    for name in names:
        lines.append(run(found[name], options.output / name, options.override))
        commands.append(f"{command(found[name], options.override, options.output)} hydra.run.dir=OUTPUT/{name}")
        print(lines[-1], flush=True)
        text = "\n".join([*lines, "", "```", *commands, "```", ""])
        (options.output / "table.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
