"""A report as Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Iterator

from diffharmon.report.content import Content
from diffharmon.report.grids import Cell, Grid, error_grid, grids, run_grid
from diffharmon.report.preferences import preference_grids
from diffharmon.report.resolutions import resolution_grid

CSV_COLUMNS = (
    *("metrics", "kind", "group", "run", "images", "metric", "mean", "low", "high"),
    *("baseline", "pairs", "gain", "gain_low", "gain_high", "better", "p", "p_holm"),
)
LONG_TEXT = 40  # characters
PAGE_WIDTH, COLUMN_GAP = 100, 3  # in small characters
# An interval and what else belongs to a number stand below it, so that a table of many columns can still be read.
STACK = r"\providecommand{\dhstack}[1]{\begin{tabular}[t]{@{}r@{}}#1\end{tabular}}"
LONG_COLUMN = "p{6cm}"
BREAKS = re.compile(r"(?<=[=,+/])(?=\S)")
BREAK = r"\\allowbreak{}"
LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "–": "--",
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
}


def markdown(content: Content) -> str:
    """The whole report but plots and pictures."""
    lines = [f"# {content.title}", "", content.made_of, "", *markdown_grid(run_grid(content), 2)]
    protocols = resolution_grid(content)
    lines += markdown_grid(protocols, 2) if protocols else []
    for grid in preference_grids(content.sessions):
        lines += markdown_grid(grid, 2)
    for section in content.sections:
        lines += [f"## {section.title}", "", section.statement or "No metric measured anything.", ""]
        lines += [f"- {note}" for note in section.notes] + [""] * bool(section.notes)
        for grid in grids(section):
            lines += markdown_grid(grid, grid.level)
    if content.errors:
        lines += markdown_grid(error_grid(content), 2)
    if content.without_rows:
        lines += ["## Jobs without any image", "", *(f"- {job}" for job in content.without_rows), ""]
    return "\n".join(lines)


def markdown_grid(grid: Grid, level: int) -> list[str]:
    """One table with its heading and note."""
    rows = [[markdown_cell(Cell(title)) for title in grid.header], ["---"] * len(grid.header)]
    rows += [[markdown_cell(cell) for cell in row] for row in grid.rows]
    note = [grid.note, ""] if grid.note else []
    return [f"{'#' * level} {grid.title}", "", *note, *(f"| {' | '.join(row)} |" for row in rows), ""]


def markdown_cell(cell: Cell) -> str:
    """Keep a cell on its line and in its column."""
    text = cell.text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
    return f"**{text}**" if cell.best and text else text


def latex(content: Content) -> str:
    """All tables for a paper, wide ones scaled to the page; needs the packages booktabs and graphicx."""
    lines = [r"% Needs \usepackage{booktabs} and \usepackage{graphicx}.", f"% {content.made_of}", STACK]
    lines += latex_grid(run_grid(content), content.made_of)
    protocols = resolution_grid(content)
    lines += latex_grid(protocols, "") if protocols else []
    for grid in preference_grids(content.sessions):
        lines += latex_grid(grid, "")
    for section in content.sections:
        for grid in grids(section):
            lines += latex_grid(grid, section.statement)
    if content.errors:
        lines += latex_grid(error_grid(content), "")
    return "\n".join(lines)


def latex_grid(grid: Grid, statement: str) -> list[str]:
    """One table environment; the metrics' settings stand in its caption."""
    caption = " ".join(f"{part.rstrip('.')}." for part in (grid.title, grid.note, statement) if part)
    kinds = [latex_column(grid, place) for place in range(len(grid.header))]
    rows = [" & ".join(map(latex_cell, row, kinds)) + r" \\" for row in grid.rows]
    wide = sum(latex_width(grid, place) + COLUMN_GAP for place in range(len(grid.header))) > PAGE_WIDTH
    return [
        r"\begin{table*}",
        r"\centering\small",
        rf"\caption{{{latex_text(caption)}}}",
        *([r"\resizebox{\textwidth}{!}{%"] * wide),
        rf"\begin{{tabular}}{{{''.join(kinds)}}}",
        r"\toprule",
        " & ".join(map(latex_text, grid.header)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}" + "}" * wide,
        r"\end{table*}",
        "",
    ]


def latex_column(grid: Grid, place: int) -> str:
    """Numbers stand right, texts left, long texts in lines of 6 cm."""
    if grid.is_number(place):
        return "r"
    return LONG_COLUMN if any(len(row[place].text) > LONG_TEXT for row in grid.rows) else "l"


def latex_width(grid: Grid, place: int) -> int:
    """About how many characters a column is wide."""
    texts = [part for row in grid.rows for part in (row[place].parts if grid.is_number(place) else [row[place].text])]
    return max(len(grid.header[place]), min(LONG_TEXT, max(map(len, texts), default=0)))


def latex_cell(cell: Cell, kind: str) -> str:
    """Escape a cell of a column; the best of a column is bold, what belongs to a number stands below it."""
    if kind == LONG_COLUMN:
        return rf"\rightskip 0pt plus 1fil {BREAKS.sub(BREAK, latex_text(cell.text))}"  # \raggedright redefines \\
    number, *details = cell.parts if kind == "r" else [cell.text]
    text = latex_text(number)
    text = rf"\textbf{{{text}}}" if cell.best and text else text
    below = "".join(rf"\\ {{\scriptsize {latex_text(detail)}}}" for detail in details if detail)
    return rf"\dhstack{{{text}{below}}}" if below else text


def latex_text(text: str) -> str:
    """Escape what LaTeX would read as markup."""
    return "".join(LATEX.get(char, char) for char in text.replace("\n", " "))


def csv_text(content: Content) -> str:
    """All estimates in long form, at full precision: a line per section, group, run and metric."""
    file = io.StringIO()
    writer = csv.DictWriter(file, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(csv_lines(content))
    return file.getvalue()


def csv_lines(content: Content) -> Iterator[dict[str, object]]:
    """The lines of ``csv_text``; a value that does not exist is empty."""
    for section in content.sections:
        for table in section.tables:
            for line in table.lines:
                for key, estimate in line.estimates.items():
                    found: dict[str, object] = {
                        "metrics": "+".join(section.metrics),
                        "kind": table.kind,
                        "group": table.group,
                        "run": line.run,
                        "images": line.count,
                        "metric": key,
                        "mean": estimate.mean,
                        "low": estimate.low,
                        "high": estimate.high,
                    }
                    comparison = line.comparisons.get(key)
                    if comparison is not None:
                        gain = comparison.gain
                        found |= {"baseline": table.baseline, "pairs": gain.count, "better": comparison.better}
                        found |= {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high}
                        found |= {"p": comparison.p, "p_holm": comparison.adjusted}
                    yield {name: "" if value != value else value for name, value in found.items()}
