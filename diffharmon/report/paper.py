"""A pivot table for a paper: a compact LaTeX table, a macro per number, and figures."""

import re
from collections.abc import Iterator
from pathlib import Path

from diffharmon.columns import Column, format_number
from diffharmon.report.content import Content
from diffharmon.report.figures import draw
from diffharmon.report.grids import header
from diffharmon.report.pivot import Entry, Key, Pivot
from diffharmon.report.statistics import MIN_PAIRS
from diffharmon.report.text import latex, latex_text

SIGNIFICANT = 0.05
MAX_COLUMNS = 9  # Numbers in a line that fit the width of a page; a wider table is scaled.
DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def write_paper(content: Content, folder: Path) -> list[Path]:
    """Write ``table.tex``, ``numbers.tex``, ``appendix.tex`` and the figures as PDF and SVG.

    Args:
        content: A report with pivot tables.
        folder: Where to write.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    pivots = [section.pivot for section in content.sections if section.pivot is not None and section.pivot.entries]
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "table.tex": f"% {content.made_of}\n"
        + "\n".join(table(pivot, number) for number, pivot in enumerate(pivots, start=1)),
        "numbers.tex": f"% {content.made_of}\n{macros(pivots)}",
        "appendix.tex": latex(content),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    figures = [path for number, pivot in enumerate(pivots, start=1) for path in draw(pivot, folder, number)]
    return [*(folder / name for name in texts), *figures]


def table(pivot: Pivot, number: int = 1) -> str:
    """Lay out a pivot table with booktabs: best bold, second underlined, significance as a star."""
    count = len(pivot.values)
    total = len(pivot.columns) * count
    sides = len(pivot.sides)
    spans = [rf"\multicolumn{{{count}}}{{c}}{{{latex_text(pivot.name(column))}}}" for column in pivot.columns]
    starts = range(sides + 1, sides + total, count)
    rules = "".join(rf"\cmidrule(lr){{{start}-{start + count - 1}}}" for start in starts)
    titles = [latex_text(header(value)) for value in pivot.values] * len(pivot.columns)
    wide = total > MAX_COLUMNS
    return "\n".join(
        [
            "% Needs \\usepackage{booktabs}" + " and \\usepackage{graphicx}." * wide,
            r"\begin{table*}[t]",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{caption(pivot)}}}",
            rf"\label{{tab:harmonization-{number}}}",
            *([r"\resizebox{\textwidth}{!}{%"] * wide),
            rf"\begin{{tabular}}{{{'l' * sides}{'r' * total}}}",
            r"\toprule",
            " & " * (sides - 1) + " & " + " & ".join(spans) + r" \\",
            rules,
            " & ".join([*(latex_text(side.capitalize()) for side in pivot.sides), *titles]) + r" \\",
            r"\midrule",
            *(" & ".join(line(pivot, row)) + r" \\" for row in pivot.rows),
            r"\bottomrule",
            r"\end{tabular}" + "}" * wide,
            r"\end{table*}",
            "",
        ]
    )


def caption(pivot: Pivot) -> str:
    """Explain the marks and where the numbers come from."""
    entries = pivot.entries.values()
    parts = [f"Means over images ({pivot.title}; {pivot.counts})", "Best bold, second best underlined"]
    if any(len(entry.seeds) > 1 for entry in entries):
        parts.append("± is the standard deviation over seeds")
    if any(map(is_significant, entries)):
        parts.append(
            f"* differs from {pivot.name(pivot.baseline)} with p < {SIGNIFICANT} (Wilcoxon signed-rank test over "
            f"images, two-sided, at least {MIN_PAIRS} pairs, Holm-corrected over the lines of a column)"
        )
    return latex_text(". ".join(parts) + ".")


def is_significant(entry: Entry) -> bool:
    """Return whether an entry differs from the baseline's after the correction."""
    return entry.comparison is not None and entry.comparison.adjusted < SIGNIFICANT


def line(pivot: Pivot, row: Key) -> Iterator[str]:
    """Yield the cells of one line."""
    for part in row:
        yield latex_text(pivot.names.get(part, part))
    for column in pivot.columns:
        for value in pivot.values:
            entry = pivot.entries.get((row, column, value.key))
            yield "--" if entry is None else cell(entry, value, pivot.rank(row, column, value))


def cell(entry: Entry, value: Column, rank: int | None) -> str:
    """Format one number with its marks."""
    text = latex_text(format_number(entry.mean, value.decimals))
    text = {0: rf"\textbf{{{text}}}", 1: rf"\underline{{{text}}}"}.get(-1 if rank is None else rank, text)
    spread = ""
    if len(entry.seeds) > 1:
        spread = rf"{{\scriptsize$\pm${latex_text(format_number(entry.deviation, value.decimals))}}}"
    return text + spread + "$^{*}$" * is_significant(entry)


def macros(pivots: list[Pivot]) -> str:
    """Define a macro for each number, so that a paper's text and its table never disagree."""
    lines, taken = [], set()
    for pivot in pivots:
        for (row, column, key), entry in pivot.entries.items():
            value = next(value for value in pivot.values if value.key == key)
            name = plain = "dh" + "".join(map(letters, (*row, *column, key)))
            number = 1
            while name in taken:
                number += 1
                name = plain + letters(str(number))
            taken.add(name)
            comment = " ".join(f"{pivot.name(row)}, {pivot.name(column)}, {value.title}".split())
            text = latex_text(format_number(entry.mean, value.decimals))
            lines.append(rf"\newcommand{{\{name}}}{{{text}}}% {comment}")
    return "\n".join([*lines, ""])


def letters(text: str) -> str:
    """Spell a setting with letters only, as names of LaTeX macros are: ``HAdobe5k`` becomes ``HAdobeFivek``."""
    spelled = re.sub(r"[0-9]", lambda digit: DIGITS[int(digit[0])], text)
    words = re.findall("[A-Za-z]+", spelled)
    return "".join(word[0].upper() + word[1:] for word in words)
