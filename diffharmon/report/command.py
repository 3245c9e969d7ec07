"""The ``diffharmon-report`` command."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffharmon.command import exit_codes

if TYPE_CHECKING:
    from diffharmon.report.pivot import Layout


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(
        prog="diffharmon-report",
        description="Merge the rows of runs and sweeps into report.md, report.tex, report.csv and report.html.",
    )
    made.add_argument("paths", nargs="+", type=Path, metavar="RUN_OR_SWEEP", help="folder of a run, or of several")
    made.add_argument("--baseline", metavar="NAME", help="run that gains are over (default: the unchanged composite)")
    made.add_argument("--output", type=Path, metavar="DIR", help="where to write (default: the first folder)")
    made.add_argument("--published", metavar="NAME_OR_CSV", help="published results beside ours: iharmony4, or a CSV")
    made.add_argument("--rows", metavar="KEYS", help="group choices or configuration keys that make the lines")
    made.add_argument("--columns", metavar="KEYS", help="keys that make the columns; subset splits the images")
    made.add_argument("--values", metavar="KEYS", help="numbers of a cell, such as fpsnr,psnr (default: psnr,mse,fmse)")
    made.add_argument("--names", type=Path, metavar="YAML", help="names of settings, in the order of the lines")
    made.add_argument("--paper", action="store_true", help="write paper/: LaTeX table, macros, appendix, figures")
    made.add_argument("--hub", metavar="DATASET_ID", help="write .eval_results/ for a benchmark of the hub")
    made.add_argument(
        "--answers", type=Path, action="append", metavar="FILE", help="answers of a study, or their folder"
    )
    made.add_argument("--gallery", type=int, default=24, metavar="N", help="images in the gallery (default: 24)")
    made.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")
    return made


def layout_of(options: argparse.Namespace) -> "Layout | None":
    """Return the layout of the pivot table; None where no option asks for one.

    Raises:
        InputError: The file of names cannot be read.
    """
    from diffharmon.report.pivot import Layout
    from diffharmon.report.settings import read_names

    given = {
        key: tuple(getattr(options, key).split(",")) for key in ("rows", "columns", "values") if getattr(options, key)
    }
    names = read_names(options.names) if options.names else {}
    return Layout(**given, names=names) if given or names or options.paper else None


def write_report(options: argparse.Namespace) -> list[Path]:
    """Make the report and return the files written.

    Raises:
        DiffharmonError: A folder or file cannot be read, or no run has the baseline's name.
    """
    from diffharmon.preference.answers import read_sessions
    from diffharmon.report import page, text
    from diffharmon.report.content import make_content
    from diffharmon.report.grids import pivot_grid
    from diffharmon.report.paper import write_paper
    from diffharmon.report.preferences import preference_grids
    from diffharmon.report.published import find_published, read_published
    from diffharmon.report.runs import collect
    from diffharmon.report.terminal import grid_table, table

    published = read_published(find_published(options.published)) if options.published else []
    sessions = read_sessions(options.answers) if options.answers else []
    layout = layout_of(options)
    content = make_content(collect(options.paths), options.baseline, published, options.seed, layout, sessions)
    folder = options.output or options.paths[0]
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        "report.md": text.markdown(content),
        "report.tex": text.latex(content),
        "report.csv": text.csv_text(content),
        "report.html": page.page(content, options.gallery),
    }
    for name, value in written.items():
        (folder / name).write_text(value, encoding="utf-8")
    print(content.made_of)
    for section in content.sections:
        print(f"\n{table(section.runs, section.title)}")
        if section.pivot is not None:
            print(f"\n{grid_table(pivot_grid(section.pivot))}")
    for grid in preference_grids(content.sessions):
        print(f"\n{grid.title}\n{grid_table(grid)}")
    print()
    further = write_paper(content, folder / "paper") if options.paper else []
    if options.hub:
        from diffharmon.report.hub import write_hub

        further += write_hub(content, options.hub, folder)
    return [*(folder / name for name in written), *further]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error that a user can fix is one clear line and exit code 2."""
    made = parser()
    options = made.parse_args(arguments)
    if options.gallery < 0:
        made.error(f"--gallery: expected 0 or more, got {options.gallery}")
    with exit_codes():
        for path in write_report(options):
            print(path)


if __name__ == "__main__":
    main()
