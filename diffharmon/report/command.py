"""The ``diffharmon-report`` command."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from diffharmon.command import exit_codes


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(
        prog="diffharmon-report",
        description="Merge the rows of runs and sweeps into report.md, report.tex, report.csv and report.html.",
    )
    made.add_argument("paths", nargs="+", type=Path, metavar="RUN_OR_SWEEP", help="folder of a run, or of several")
    made.add_argument("--baseline", metavar="NAME", help="run that gains are over (default: the unchanged composite)")
    made.add_argument("--output", type=Path, metavar="DIR", help="where to write (default: the first folder)")
    made.add_argument("--published", type=Path, metavar="CSV", help="published results to lay beside ours")
    made.add_argument("--gallery", type=int, default=24, metavar="N", help="pictures of each run (default: 24)")
    made.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")
    return made


def write_report(options: argparse.Namespace) -> list[Path]:
    """Make the report and return the files written.

    Raises:
        DiffharmonError: A folder or file cannot be read, or no run has the baseline's name.
    """
    from diffharmon.report import page, text
    from diffharmon.report.content import make_content
    from diffharmon.report.published import read_published
    from diffharmon.report.runs import collect
    from diffharmon.report.terminal import table

    published = read_published(options.published) if options.published else []
    content = make_content(collect(options.paths), options.baseline, published, options.seed)
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
    print(page.summary(content))
    for section in content.sections:
        print(f"\n{table(section.runs, section.title)}")
    print()
    return [folder / name for name in written]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error that a user can mend is one clear line and exit code 2."""
    made = parser()
    options = made.parse_args(arguments)
    if options.gallery < 0:
        made.error(f"--gallery: expected 0 or more, got {options.gallery}")
    with exit_codes(OSError):
        for path in write_report(options):
            print(path)


if __name__ == "__main__":
    main()
