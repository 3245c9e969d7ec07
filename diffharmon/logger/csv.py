"""All rows as one CSV file, for spreadsheets."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from diffharmon.files import replacing
from diffharmon.logger.columns import columns
from diffharmon.logger.safety import inside, plain_cells


class Csv:
    """Writes ``filename`` in the run's folder: a line as soon as an image is done, all rows with errors at the end.

    The columns are always the same and in the same order, whatever the first image has, also after an interruption.

    Args:
        filename: Name of the file in the run's folder.
        folder: The run's folder.
        config: The run's resolved configuration; not written.

    Raises:
        ConfigError: ``filename`` leaves the run's folder or is one of its own files.
    """

    def __init__(
        self, filename: str = "results.csv", folder: Path | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = Path(folder or ".")
        self.path = inside(self.folder, filename, "logger.csv.filename")

    def image(self, name: str, panel: Mapping[str, Float[Tensor, "3 _ _"]], row: Mapping[str, Any]) -> None:
        """Append one row; the pictures are in the run folder already."""
        header = self._header()
        if header is None or set(row) - set(header):
            self._write([*self._read(), row])
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, header).writerow(plain_cells(row))

    def summary(self, rows: Sequence[Mapping[str, Any]], means: Mapping[str, float]) -> None:
        """Rewrite the file from all rows of the run, those of failed images and of former starts among them."""
        self._write(rows)

    def close(self, error: str = "") -> None:
        """Do nothing: every line is on disk already."""

    def _header(self) -> list[str] | None:
        if not self.path.is_file():
            return None
        with self.path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), None)

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with replacing(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns(self.folder, rows))
            writer.writeheader()
            writer.writerows(map(plain_cells, rows))
