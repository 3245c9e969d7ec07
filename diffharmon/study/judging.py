"""The ``diffharmon-judge`` command: a vision-language model chooses between the results of runs, as people do."""

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from diffharmon.command import exit_codes

if TYPE_CHECKING:
    from diffharmon.preference.judging import Ask

GEMINI = "gemini-2.5-flash"


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(
        prog="diffharmon-judge",
        description="Ask a vision-language model which of two results fits better, every pair in both orders, and "
        "write a file of answers for diffharmon-report --answers.",
    )
    made.add_argument("paths", nargs="+", type=Path, metavar="RUN_OR_SWEEP", help="folder of a run, or of several")
    made.add_argument("--model", metavar="DIR_OR_HUB_ID", help="an image-text-to-text model that runs here")
    made.add_argument("--gemini", nargs="?", const=GEMINI, metavar="NAME", help=f"a Gemini model (default: {GEMINI})")
    made.add_argument("--endpoint", metavar="URL", help="another server that speaks Gemini's protocol")
    made.add_argument("--device", default="auto", help="cpu, cuda, mps or auto, for --model")
    made.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16", "float16"), help="for --model")
    made.add_argument("--axes", metavar="NAMES", help="of brightness,colour,plausibility (default: all)")
    made.add_argument("--images", type=int, default=24, metavar="N", help="images compared (default: 24)")
    made.add_argument("--output", type=Path, metavar="FILE", help="answers (default: judge.json in the first folder)")
    return made


def model_of(options: argparse.Namespace) -> tuple[str, "Ask"]:
    """Return the judge's name and what asks it."""
    if options.model:
        from diffharmon.language_model.local import LocalModel

        local = LocalModel(options.model, "--model", None, options.device, options.dtype, 0.0, max_new_tokens=8)
        return options.model, local.ask
    from diffharmon.language_model.genai import GenAI, asker
    from diffharmon.language_model.retry import Pace, Retry

    return options.gemini, asker(GenAI(options.gemini, "--gemini", options.endpoint, 60.0, Pace(0.0)), Retry())


def judge(options: argparse.Namespace, axes: Sequence[str]) -> str:
    """Compare all runs, write the answers, and return the tables of scores.

    Raises:
        DiffharmonError: The runs cannot be read or compared, or the model cannot be asked.
    """
    from diffharmon.errors import DescriberError
    from diffharmon.preference.answers import Answer, Session, write_session
    from diffharmon.preference.judging import Judge, outlined
    from diffharmon.report.gallery import pictures_of
    from diffharmon.report.preferences import preference_grids
    from diffharmon.report.runs import collect
    from diffharmon.report.terminal import grid_table
    from diffharmon.study.trials import comparable

    runs = collect(options.paths).runs
    name, ask = model_of(options)
    answers: list[Answer] = []
    for image in comparable(runs, options.images):
        parts = {run.label: pictures_of(run, image) or {} for run in runs}
        shown = parts[runs[0].label]
        composite = outlined(shown["composite"], shown["mask"].convert("L"))
        for one, other in combinations(parts, 2):
            first, second = ((label, parts[label]["result"]) for label in (one, other))
            answers += Judge(ask, tuple(axes)).compare(image, first, second, composite)
    if not answers:
        raise DescriberError(f"{name} gave no usable answer")
    session = Session(name, tuple(answers))
    path = options.output or options.paths[0] / "judge.json"
    write_session(path, session)
    tables = [f"{grid.title}\n{grid.note}\n{grid_table(grid)}\n" for grid in preference_grids([session])]
    return "\n".join([*tables, str(path)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error that a user can fix is one clear line and exit code 2."""
    made = parser()
    options = made.parse_args(arguments)
    if bool(options.model) == bool(options.gemini):
        made.error("expected one of --model and --gemini")
    if options.images < 1:
        made.error(f"--images: expected 1 or more, got {options.images}")
    from diffharmon.preference.judging import AXES

    axes = options.axes.split(",") if options.axes else list(AXES)
    if unknown := [axis for axis in axes if axis not in AXES]:
        made.error(f"--axes: expected some of {', '.join(AXES)}, got {', '.join(unknown)}")
    with exit_codes():
        print(judge(options, axes))


if __name__ == "__main__":
    main()
