"""Pictures of a report: small JPEGs inside the page, worst and best of every run."""

import base64
import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from diffharmon.columns import Column
from diffharmon.report.content import Content, Section
from diffharmon.report.runs import Run
from diffharmon.report.tables import gains, main_column
from diffharmon.results import picture_folder
from diffharmon.results.summary import is_number

LONGEST_SIDE = 384
QUALITY = 82


def gallery(content: Content, most: int) -> dict[str, Any]:
    """What the page's script shows: cards with numbers and, by key, the pictures as data URIs.

    A composite and its real photo are embedded once, however many runs harmonized it.

    Args:
        content: The report.
        most: Largest number of images of one run; its worst and its best, half and half.
    """
    cards: list[dict[str, Any]] = []
    pictures: dict[str, str] = {}
    for place, section in enumerate(content.sections):
        metric = main_column(section.runs)
        for number, run in enumerate(section.runs):
            for name in extremes(run, section, metric, most):
                parts = pictures_of(run, name)
                if parts is None:
                    continue
                shared = f"{place}/{name}"
                pictures.setdefault(f"{shared}/composite", encode(parts["composite"]))
                pictures[f"{shared}/{number}"] = encode(parts["result"])
                if "real" in parts:
                    pictures.setdefault(f"{shared}/real", encode(parts["real"]))
                keys = {"composite": f"{shared}/composite", "result": f"{shared}/{number}"}
                keys["real"] = f"{shared}/real" if "real" in parts else ""
                cards.append({**card(run, name, section, metric), **keys})
    return {"cards": cards, "pictures": pictures}


def extremes(run: Run, section: Section, metric: Column | None, most: int) -> list[str]:
    """Names of the images to show, worst gain first; all where they are few."""
    order = sorted(run.rows)
    if metric is not None:
        found = gain_of(run, section, metric)
        order.sort(key=lambda name: found.get(name, 0.0))
    if len(order) <= most:
        return order
    worst = (most + 1) // 2
    return [*order[:worst], *order[len(order) - (most - worst) :]]


def gain_of(run: Run, section: Section, metric: Column) -> Mapping[str, float]:
    """Each image's gain over the section's baseline; without a baseline the metric itself, so that it still sorts."""
    if section.baseline is not None:
        return gains(run, section.baseline, metric)
    sign = 1 if metric.higher_is_better else -1
    return {name: sign * row[metric.key] for name, row in run.rows.items() if is_number(row.get(metric.key))}


def card(run: Run, name: str, section: Section, metric: Column | None) -> dict[str, Any]:
    """One image of one run."""
    row = run.rows[name]
    gain = None if metric is None else gain_of(run, section, metric).get(name)
    return {
        "run": run.label,
        "name": name,
        "source": str(row.get("source", "")),
        "metric": "" if metric is None else metric.title,
        "gain": None if section.baseline is None or run.label == section.baseline.label else gain,
        "order": gain,
        "value": row.get(metric.key) if metric is not None and is_number(row.get(metric.key)) else None,
        "before": row.get(f"composite_{metric.key}") if metric is not None else None,
        "area": row.get("area"),
        "reason": str(row.get("reason", "")),
    }


def pictures_of(run: Run, name: str) -> dict[str, Image.Image] | None:
    """Read composite, result and real photo of an image, as the run wrote them for pages; None where there are none."""
    folder = picture_folder(run.folder, run.rows.get(name) or {"name": name})
    if not run.folder.parts or not (folder / "result.jpg").is_file():
        return None
    found = {}
    for kind in ("composite", "result", "real"):
        if (folder / f"{kind}.jpg").is_file():
            with Image.open(folder / f"{kind}.jpg") as file:
                found[kind] = file.convert("RGB")
    return found


def encode(picture: Image.Image) -> str:
    """Encode a picture of at most 384 pixels a side as a JPEG data URI."""
    small = picture.copy()
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
