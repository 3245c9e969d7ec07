"""Published results, shipped or from a CSV of one's own, beside ours where subset and resolution agree."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffharmon.errors import InputError
from diffharmon.report.runs import Run

COLUMNS = ("method", "subset", "resolution", "psnr", "mse", "fmse", "ssim", "source")
VALUES = ("psnr", "mse", "fmse", "ssim")
# With the package, by the name of the benchmark.
SHIPPED = {path.stem: path for path in sorted((Path(__file__).parent / "data").glob("*.csv"))}
# Number of test images, counted in the official lists of iHarmony4 (Cong et al., CVPR 2020).
TEST_IMAGES = {"HCOCO": 4283, "HAdobe5k": 2160, "HFlickr": 828, "Hday2night": 133, "All": 7404}
BAND_NAMES = {"0-5 %": "All fg 0-5%", "5-15 %": "All fg 5-15%", "15-100 %": "All fg 15-100%"}


@dataclass(frozen=True)
class Published:
    """One published line; its protocol says how its numbers were measured, where that is known."""

    method: str
    subset: str
    resolution: str
    category: str
    numbers: Mapping[str, float]
    source: str
    protocol: str = ""


def find_published(name: str) -> Path:
    """Return the file of published results that the package has under a name, else the path that was given.

    Raises:
        InputError: There is neither.
    """
    path = SHIPPED.get(name, Path(name))
    if not path.is_file():
        raise InputError(f"--published {name}: no such file; expected a CSV file or one of {', '.join(SHIPPED)}")
    return path


def read_published(path: Path) -> list[Published]:
    """Read published results.

    Raises:
        InputError: The file cannot be read, lacks a column or holds something else than numbers.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            lines = list(reader)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--published {path}: cannot be read: {error}") from error
    if missing:
        raise InputError(f"--published {path}: column {', '.join(missing)} is missing; expected {', '.join(COLUMNS)}")
    return [parse(path, number, line) for number, line in enumerate(lines, start=2)]


def parse(path: Path, number: int, line: Mapping[str, str]) -> Published:
    """Parse one line; an empty value is one that was not published."""
    try:
        numbers = {name: float(line[name]) for name in VALUES if (line[name] or "").strip()}
    except ValueError as error:
        raise InputError(f"--published {path}, line {number}: {error}; expected a number or nothing") from error
    names = ("method", "subset", "resolution")
    method, subset, resolution = (line[name] or "" for name in names)
    category = " ".join(filter(None, (line.get("category"), line.get("venue"), line.get("year"))))
    protocol = line.get("protocol") or ""
    return Published(method, subset, resolution, category.replace(" -", ""), numbers, line["source"] or "", protocol)


def resolution_of(run: Run) -> str:
    """What the published tables call the resolution that a run was measured at."""
    settings = (run.config.get("metrics") or {}).get(run.groups[0].name, {}) if run.groups else {}
    size = settings.get("size")
    return "full" if size is None else f"{size}x{size}"


def beside(published: Sequence[Published], runs: Sequence[Run], group: str) -> list[Published]:
    """Published lines of the same subset and resolution, best PSNR first; none for other datasets than iHarmony4."""
    sources = {str(row.get("source", "")) for run in runs for row in run.rows.values()}
    if not runs or not sources <= TEST_IMAGES.keys() - {"All"}:
        return []
    if group == "All" and len(sources) == 1:
        group = next(iter(sources))
    subset, resolution = BAND_NAMES.get(group, group), resolution_of(runs[0])
    found = [line for line in published if line.subset == subset and line.resolution == resolution]
    return sorted(found, key=lambda line: -line.numbers.get("psnr", -math.inf))


def sample_note(group: str, count: int, sources: set[str]) -> str:
    """State on how many of the test images ours were measured."""
    name = next(iter(sources)) if group == "All" and len(sources) == 1 else group
    total = TEST_IMAGES.get(name)
    if total is None or count >= total:
        return ""
    return f"ours are means over {count} of the {total} test images; published ones are over all of them"
