"""Pictures of a report: small JPEGs inside the page, the same images of every run."""

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


def gallery(content: Content, max_images: int) -> dict[str, Any]:
    """What the page's script shows: cards with numbers and, by key, the pictures as data URIs.

    All runs of a section show the same images, so that they can be laid beside each other. A composite and its real
    photo are embedded once, however many runs harmonized it.

    Args:
        content: The report.
        max_images: Largest number of images of a section.
    """
    cards: list[dict[str, Any]] = []
    pictures: dict[str, str] = {}
    shown: set[tuple[str, str]] = set()  # a run of several protocols shows its pictures under the first
    for place, section in enumerate(content.sections):
        metric = main_column(section.runs)
        names = chosen(section, metric, max_images)
        for number, run in enumerate(section.runs):
            for name in (name for name in names if name in run.rows and (run.label, name) not in shown):
                parts = pictures_of(run, name)
                if parts is None:
                    continue
                shown.add((run.label, name))
                shared = f"{place}/{name}"
                pictures.setdefault(f"{shared}/composite", encode(parts["composite"]))
                pictures[f"{shared}/{number}"] = encode(parts["result"])
                if "real" in parts:
                    pictures.setdefault(f"{shared}/real", encode(parts["real"]))
                keys = {"image": shared, "composite": f"{shared}/composite", "result": f"{shared}/{number}"}
                keys["real"] = f"{shared}/real" if "real" in parts else ""
                cards.append({**card(run, name, section, metric), **keys})
    return {"cards": cards, "pictures": pictures}


def chosen(section: Section, metric: Column | None, max_images: int) -> list[str]:
    """Names of the images to show: worst, best and middle by the mean gain of all runs, worst and best of each run."""
    found = {run.label: {} if metric is None else gain_of(run, section, metric) for run in section.runs}
    compared = [gains for gains in found.values() if any(gains.values())]
    names = sorted({name for run in section.runs for name in run.rows})
    if len(names) <= max_images:
        return names

    def mean_gain(name: str) -> float:
        own = [gains[name] for gains in compared if name in gains]
        return sum(own) / len(own) if own else 0.0

    order = sorted(names, key=mean_gain)
    half = len(order) // 2
    middle = [*order[half:], *order[:half]]
    ends = [name for own in compared for name in (min(own, key=own.__getitem__), max(own, key=own.__getitem__))]
    turns = [name for turn in zip(order, reversed(order), middle, strict=True) for name in turn]
    return sorted([*dict.fromkeys([*turns[:6], *ends, *turns])][:max_images])


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
    """Read composite, result, real photo and mask of an image, written for pages; None where there are none."""
    folder = picture_folder(run.folder, run.rows.get(name) or {"name": name})
    if not run.folder.parts or not (folder / "result.jpg").is_file():
        return None
    found = {}
    for kind in ("composite", "result", "real", "mask"):
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
