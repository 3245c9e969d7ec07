"""The ``diffharmon-study`` command."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from diffharmon.command import exit_codes

QUESTION = "In which picture does the outlined object look more as if it had always been there?"


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(
        prog="diffharmon-study",
        description="Make a page on which people choose between the results of runs, two at a time. The page needs no "
        "server and asks for no personal data; it saves a file of answers that diffharmon-report --answers reads.",
    )
    made.add_argument("paths", nargs="+", type=Path, metavar="RUN_OR_SWEEP", help="folder of a run, or of several")
    made.add_argument("--output", type=Path, metavar="FILE", help="the page (default: study.html in the first folder)")
    made.add_argument("--images", type=int, default=24, metavar="N", help="images shown (default: 24)")
    made.add_argument("--trials", type=int, default=40, metavar="N", help="choices asked of one person (default: 40)")
    made.add_argument("--catch", type=int, default=4, metavar="N", help="trials with a spoiled picture (default: 4)")
    made.add_argument("--side", type=int, default=640, metavar="PX", help="longest side of a picture (default: 640)")
    made.add_argument("--question", default=QUESTION, metavar="TEXT", help="what is asked")
    return made


def write_study(options: argparse.Namespace) -> str:
    """Make the page and return a line on what it holds.

    Raises:
        DiffharmonError: The runs cannot be read, or cannot be compared.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from diffharmon.files import write_text
    from diffharmon.preference.answers import FORMAT, HARMONY
    from diffharmon.report.runs import collect
    from diffharmon.study.trials import make_study

    study = make_study(collect(options.paths).runs, options.images, options.side)
    possible = len(study.images) * len(study.runs) * (len(study.runs) - 1) // 2
    trials = min(options.trials, possible)
    data = {**study.to_json(), "format": FORMAT, "axis": HARMONY, "trials": trials, "catch": options.catch}
    environment = Environment(
        loader=PackageLoader("diffharmon.study"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("study.html").render(question=options.question, data=data)
    path = options.output or options.paths[0] / "study.html"
    write_text(path, page)
    size = path.stat().st_size / 1e6
    return f"{path}: {len(study.runs)} runs, {len(study.images)} images, {trials} choices a person, {size:.1f} MB"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error that a user can fix is one clear line and exit code 2."""
    made = parser()
    options = made.parse_args(arguments)
    for name, least in (("images", 1), ("trials", 1), ("catch", 0), ("side", 64)):
        if getattr(options, name) < least:
            made.error(f"--{name}: expected {least} or more, got {getattr(options, name)}")
    with exit_codes():
        print(write_study(options))


if __name__ == "__main__":
    main()
