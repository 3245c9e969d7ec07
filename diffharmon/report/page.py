"""The report as one page of HTML that asks for nothing outside itself."""

import json
import math
import re
from html import escape
from importlib.resources import files
from typing import Any

from diffharmon.report.content import Content, Section
from diffharmon.report.gallery import gallery
from diffharmon.report.grids import Cell, Grid, error_grid, grids, run_grid
from diffharmon.report.plots import plots
from diffharmon.report.runs import UNCHANGED

MOST_ROWS = 12  # of a long table, before it scrolls
CONTROLS = """<div class="controls">
<label>first <select id="order"><option value="worst">worst</option><option value="best">best</option>
<option value="name">by name</option><option value="area">smallest foreground</option></select></label>
<label>run <select id="run"><option value="">all</option></select></label>
<label>subset <select id="source"><option value="">all</option></select></label>
<label>right side <select id="show"><option value="result">result</option>
<option value="real">real photo</option></select></label>
<label>name <input type="search" id="text" placeholder="part of a name"></label>
<span class="note" id="shown" role="status"></span></div>"""
GALLERY_NOTE = (
    "Move over a picture: composite on the left, result on the right. "
    "Of each run at most {most} images are here: its worst and its best."
)


def page(content: Content, most: int = 24) -> str:
    """The whole page.

    Args:
        content: The report.
        most: Largest number of gallery pictures of one run.
    """
    pictures = gallery(content, most)
    parts = [heading(content, bool(pictures["cards"])), "<main>", *grid_html(run_grid(content), "h2", "runs")]
    for place, section in enumerate(content.sections):
        parts += section_html(section, place)
    if pictures["cards"]:
        note = GALLERY_NOTE.format(most=most)
        parts += ['<h2 id="gallery">Gallery</h2>', f'<p class="note">{note}</p>', CONTROLS]
        parts.append('<div class="cards" id="cards"></div>')
    if content.errors:
        parts += grid_html(error_grid(content), "h2", "failed")
    if content.without_rows:
        jobs = "".join(f"<li>{escape(job)}</li>" for job in content.without_rows)
        parts += ['<h2 id="empty">Jobs without any image</h2>', f"<ul>{jobs}</ul>"]
    parts += ["</main>", "<footer>Made by diffharmon-report; this page holds everything it shows.</footer>"]
    # A "</script>" inside a name must not end the element.
    data = json.dumps(finite(pictures), allow_nan=False).replace("<", "\\u003c")
    parts.append(f'<script type="application/json" id="gallery-data">{data}</script>')
    return document(content.title, "\n".join(parts))


def document(title: str, body: str) -> str:
    """Put the body between head and script."""
    folder = files("diffharmon.report")
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title>\n<style>{style}</style></head>\n<body>\n{body}\n<script>{script}</script>"
        "</body></html>\n"
    )


def heading(content: Content, has_gallery: bool) -> str:
    """Title, one sentence of what is in it, and links to the parts."""
    links = [("runs", "Runs"), *((f"section-{i}", section.title) for i, section in enumerate(content.sections))]
    links += [("gallery", "Gallery")] * has_gallery
    links += [("failed", f"Failed images ({len(content.errors)})")] * bool(content.errors)
    links += [("empty", "Jobs without images")] * bool(content.without_rows)
    anchors = "".join(f'<a href="#{target}">{escape(text)}</a>' for target, text in links)
    return (
        f'<header><h1>{escape(content.title)}</h1><p class="lead">{escape(summary(content))}</p></header>'
        f"<nav><div>{anchors}</div></nav>"
    )


def summary(content: Content) -> str:
    """Runs, images and failures in one sentence."""
    finished = sum(len(run.rows) for run in content.runs)
    parts = [counted(len(content.runs), "run"), f"{counted(finished, 'image')} finished"]
    parts.append(f"{len(content.errors)} failed" if content.errors else "none failed")
    if content.without_rows:
        parts.append(f"{counted(len(content.without_rows), 'job')} left nothing")
    return ", ".join(parts) + "."


def counted(count: int, noun: str) -> str:
    """A number and its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def section_html(section: Section, place: int) -> list[str]:
    """One protocol: its settings, notes, plots and tables."""
    parts = [f'<h2 id="section-{place}">{escape(section.title)}</h2>']
    parts.append(f'<p class="note">{escape(section.statement or "No metric measured anything.")}</p>')
    if section.notes:
        parts.append(f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in section.notes)}</ul>')
    found = grids(section)
    # Plots follow the first table and its gains, before what was published and before parts of the images.
    first = next((i for i, grid in enumerate(found) if i and (grid.level == 3 or grid.is_long)), len(found))
    for grid in found[:first]:
        parts += grid_html(grid, f"h{grid.level}")
    for title, drawing in plots(section):
        parts += [f"<h3>{escape(title)}</h3>", drawing]
    for grid in found[first:]:
        parts += grid_html(grid, f"h{grid.level}")
    return parts


def grid_html(grid: Grid, tag: str, target: str = "") -> list[str]:
    """One sortable table with its heading and note."""
    numeric = [any(not math.isnan(row[i].value) for row in grid.rows) for i in range(len(grid.header))]
    titles = "".join(
        f"<th{' class=number' if right else ''}>{escape(title)}</th>"
        for title, right in zip(grid.header, numeric, strict=True)
    )
    rows = "\n".join(
        f"<tr{' class=unchanged' if row[0].text == UNCHANGED else ''}>{''.join(map(cell_html, row, numeric))}</tr>"
        for row in grid.rows
    )
    anchor = f' id="{target}"' if target else ""
    note = [f'<p class="note">{escape(grid.note)}</p>'] if grid.note else []
    frame = "tall" if grid.is_long and len(grid.rows) > MOST_ROWS else "wide"
    table = f'<div class="{frame}"><table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table></div>'
    return [f"<{tag}{anchor}>{escape(grid.title)}</{tag}>", *note, table]


def cell_html(cell: Cell, right: bool) -> str:
    """One cell; an interval is set smaller, what follows a semicolon stands below."""
    kinds = ["number"] * right + ["best"] * cell.best + ["long"] * (not right)
    value = f' data-value="{cell.value:.10g}"' if math.isfinite(cell.value) else ""
    if math.isinf(cell.value):
        value = f' data-value="{"" if cell.value > 0 else "-"}Infinity"'
    head, *details = cell.text.split("; ") if right else [cell.text]
    text = escape(head)
    if right:
        text = re.sub(r"(\[.*\])", r'<span class="range">\1</span>', text)
        text += "".join(f'<span class="detail">{escape(detail)}</span>' for detail in details)
    return f'<td class="{" ".join(kinds)}"{value}>{text}</td>'


def finite(value: Any) -> Any:
    """Replace what JSON has no word for: infinite numbers and NaN become null."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
