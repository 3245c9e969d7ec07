"""The report as one page of HTML that requests nothing from the network: facts here, layout in ``templates/``."""

import math
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from diffharmon.report.content import Content, Section
from diffharmon.report.gallery import gallery
from diffharmon.report.grids import error_grid, grids, run_grid
from diffharmon.report.plots import plots
from diffharmon.report.preferences import preference_grids
from diffharmon.report.resolutions import resolution_grid
from diffharmon.report.runs import UNCHANGED

MAX_ROWS = 12  # of a long table, before it scrolls


def page(content: Content, max_images: int = 24) -> str:
    """The whole page.

    Args:
        content: The report.
        max_images: Largest number of images in the gallery.
    """
    environment = Environment(
        loader=PackageLoader("diffharmon.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    environment.globals |= {"max_rows": MAX_ROWS, "unchanged": UNCHANGED}
    return environment.get_template("page.html").render(facts(content, max_images)).lstrip() + "\n"


def facts(content: Content, max_images: int) -> dict[str, Any]:
    """Everything that the template shows."""
    pictures = finite(gallery(content, max_images))
    return {
        "content": content,
        "links": links(content, bool(pictures["cards"])),
        "run_grid": run_grid(content),
        "protocol_grid": resolution_grid(content),
        "preference_grids": preference_grids(content.sessions),
        "sections": [section_facts(section) for section in content.sections],
        "error_grid": error_grid(content),
        "gallery": pictures,
        "max_pictures": max_images,
    }


def links(content: Content, has_gallery: bool) -> list[tuple[str, str]]:
    """Anchors and titles of the page's parts."""
    found = [("runs", "Runs"), *[("preference-0", "Preferences")] * bool(content.sessions)]
    found += [(f"section-{i}", section.title) for i, section in enumerate(content.sections)]
    found += [("compare", "Side by side"), ("gallery", "Gallery")] * has_gallery
    found += [("failed", f"Failed images ({len(content.errors)})")] * bool(content.errors)
    return found + [("empty", "Jobs without images")] * bool(content.without_rows)


def section_facts(section: Section) -> dict[str, Any]:
    """One section: its settings, notes, tables and plots.

    Plots follow the first table and its gains, before what was published and before parts of the images.
    """
    found = grids(section)
    first = next((i for i, grid in enumerate(found) if i and (grid.level == 3 or grid.is_long)), len(found))
    return {
        "title": section.title,
        "statement": section.statement,
        "notes": section.notes,
        "first": found[:first],
        "plots": plots(section),
        "rest": found[first:],
    }


def breakable(text: str) -> Markup:
    """Escape a text and let its lines break after the signs between a run's settings."""
    return Markup(re.sub(r"(?<=[=,+])(?=\S)", "<wbr>", str(escape(text))))


def finite(value: Any) -> Any:
    """Replace what JSON has no word for: infinite numbers and NaN become null."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
