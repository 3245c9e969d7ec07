"""TensorBoard event files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from diffharmon.errors import ConfigError
from diffharmon.logger.columns import columns, numbers
from diffharmon.logger.safety import inside
from diffharmon.results.panels import fit


class TensorBoard:
    """Writes event files to ``subfolder`` of the run's folder: panels and numbers of every image, then the means.

    Args:
        subfolder: Where the event files go, inside the run's folder.
        save_images: Whether each image's panel is logged besides its numbers.
        folder: The run's folder.
        config: The run's resolved configuration; its ``name`` is written as text.

    Raises:
        ConfigError: TensorBoard is not installed, or ``subfolder`` leaves the run's folder.
    """

    def __init__(
        self,
        subfolder: str = "tensorboard",
        save_images: bool = True,
        folder: Path | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "logger: tensorboard is not installed; expected pip install 'diffharmon[tensorboard]' or another logger"
            ) from error
        self.folder = Path(folder or ".")
        self.writer = SummaryWriter(str(inside(self.folder, subfolder, "logger.tensorboard.subfolder")))
        self.save_images = save_images
        self.step = 0
        self.writer.add_text("study", str((config or {}).get("name", "")))

    def image(self, name: str, panel: Mapping[str, Float[Tensor, "3 _ _"]], row: Mapping[str, Any]) -> None:
        """Log one image at the next step: its name, its numbers and its pictures, fitted to 640 x 480."""
        self.writer.add_text("image/name", name, self.step)
        for key, value in numbers(row).items():
            self.writer.add_scalar(f"image/{key}", value, self.step)
        if self.save_images:
            for title, picture in panel.items():
                self.writer.add_image(f"panel/{title}", fit(picture).clamp(0, 1), self.step)
        self.step += 1
        self.writer.flush()

    def summary(self, rows: Sequence[Mapping[str, Any]], means: Mapping[str, float]) -> None:
        """Log the means and, as text, the table of all rows."""
        for key, value in numbers(means).items():
            self.writer.add_scalar(f"mean/{key}", value, 0)
        names = [name for name in columns(self.folder, rows) if any(name in row for row in rows)]
        lines = [names, ["---"] * len(names), *([_cell(row.get(name)) for name in names] for row in rows)]
        self.writer.add_text("rows", "\n".join(f"| {' | '.join(line)} |" for line in lines))
        self.writer.flush()

    def close(self, error: str = "") -> None:
        """Write how the run ended and close the files."""
        self.writer.add_text("state", f"failed: {error}" if error else "finished")
        self.writer.close()


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", r"\|").replace("\n", " ")
