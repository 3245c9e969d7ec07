"""Weights & Biases: one run per job, grouped by sweep, without an account unless one is wanted."""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from diffharmon import results
from diffharmon.errors import ConfigError
from diffharmon.files import write_text
from diffharmon.logger.columns import numbers
from diffharmon.logger.privacy import redact, shorten_paths, without_machine_paths
from diffharmon.logger.results_table import gain, table_columns, table_row

# In the configuration already, or in Hydra's folder.
NOT_LOGGED = ("logger", "name")


class Wandb:
    """Logs the numbers of each image, then one table of all images and the means as the run's summary.

    The run lies in ``wandb/`` of the run's folder. A job that is interrupted and started again in its folder continues
    under the same run id, its steps after those of the former start. Values of environment variables that look like
    keys are cut out of the configuration that is logged, and absolute paths are shortened to their last part.

    Args:
        mode: ``offline`` writes files that ``wandb sync`` can upload later, ``online`` needs an account, ``disabled``
            logs nothing.
        project: The project on the server.
        entity: The user or team on the server; None is the account's own.
        group: What the runs of a sweep have in common; None takes the configuration's ``name``, and the sweep's folder.
        job_type: The kind of run; None takes the chosen method.
        tags: Labels of the run.
        save_images: Whether the table shows the pictures besides the numbers.
        max_pictures: Number of images whose pictures the table shows; those after them have their numbers only.
        folder: The run's folder.
        config: The run's resolved configuration, with the group choices as ``choices`` and the ``commit``.

    Raises:
        ConfigError: The server refuses the run, as it does without an account.
    """

    def __init__(
        self,
        mode: Literal["online", "offline", "disabled"] = "offline",
        project: str = "diffharmon",
        entity: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: Sequence[str] = (),
        save_images: bool = True,
        max_pictures: int = 200,
        folder: Path | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        import wandb

        self.folder = place = Path(folder or ".")
        place.mkdir(parents=True, exist_ok=True)
        settings = without_machine_paths(redact(dict(config or {})))
        study = str(settings.get("name", project))
        self.max_pictures = max_pictures if save_images else 0
        self.step = next_step(place)
        self.has_table = False
        try:
            self.run = wandb.init(
                mode=mode,
                project=project,
                entity=entity,
                group=group or sweep_name(place, study),
                job_type=job_type or str((settings.get("choices") or {}).get("method", "harmonize")),
                name=job_name(place, study),
                id=None if mode == "disabled" else run_id(place),
                resume="allow" if mode == "online" else None,
                tags=list(tags),
                dir=str(place),
                config={key: value for key, value in settings.items() if key not in NOT_LOGGED},
                # Jobs of a sweep may share a process: a new run each, whatever a former job left open.
                reinit="create_new",
                settings=wandb.Settings(**private(), **local(mode)),
            )
        except wandb.errors.Error as error:
            raise ConfigError(
                f"logger: wandb cannot start a run with mode={mode}: {error}; expected an account (wandb login), or "
                "logger.wandb.mode=offline"
            ) from error
        # By default a summary holds the last value of each number, here that of the last image. ``summary`` sets means.
        self.run.define_metric("image/*", summary="none")

    def image(self, name: str, panel: Mapping[str, Float[Tensor, "3 _ _"]], row: Mapping[str, Any]) -> None:
        """Log one image's numbers; its pictures are in the run's folder, from where the table takes them."""
        values = {f"image/{key}": value for key, value in self._gained(row).items()}
        self._log({"image/name": name, **values})

    def summary(self, rows: Sequence[Mapping[str, Any]], means: Mapping[str, float]) -> None:
        """Log the table of all rows and, as the run's summary, the means and how many images failed."""
        import wandb

        good = [row for row in rows if row.get("status") == "ok"]
        groups = results.read_columns(self.folder)
        names = table_columns(groups, rows)
        shown = iter(range(self.max_pictures))
        data = [table_row(self.folder, row, names, groups, next(shown, None) is not None) for row in rows]
        with staged_in(self.folder / "wandb"):
            self._log({"images": wandb.Table(columns=[*names], data=data)})
        self.has_table = True
        gains = [own["gain"] for row in good if "gain" in (own := self._gained(row))]
        found = {**numbers(means), **({"gain": sum(gains) / len(gains)} if gains else {})}
        self.run.summary.update({**found, "images": len(good), "failed_images": len(rows) - len(good)})

    def close(self, error: str = "") -> None:
        """Finish the run, else the next job of the process would write into it; an error stands in its summary."""
        if error:
            if not self.has_table and (rows := results.read_rows(self.folder)):
                newest = results.newest_rows(self.folder, list(dict.fromkeys(row["name"] for row in rows)))
                self.summary(newest, results.means(newest))
            self.run.summary.update({"error": shorten_paths(redact(error))})
        self.run.finish(exit_code=int(bool(error)))

    def _log(self, values: Mapping[str, Any]) -> None:
        self.run.log(dict(values), self.step)
        self.step += 1
        if (self.folder / "wandb").is_dir():  # A disabled run has none.
            write_text(self.folder / "wandb" / "next_step", str(self.step))

    def _gained(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Return a row's numbers and the gain in its main one."""
        found = numbers(row)
        own = gain(found, results.read_columns(self.folder))
        return found if own is None else {**found, "gain": own}


@contextmanager
def staged_in(folder: Path) -> Iterator[None]:
    """Let wandb copy a table's pictures, which ``wandb sync`` uploads later, into a folder instead of the user's home.

    A folder that the user chose by ``WANDB_DATA_DIR`` stays.
    """
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder.resolve())
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def private() -> dict[str, Any]:
    """Return settings that record neither the console nor the machine's folders, user and program."""
    return {
        **dict.fromkeys(("silent", "disable_git", "x_disable_meta", "x_disable_machine_info", "x_disable_stats"), True),
        **dict.fromkeys(("save_code", "x_save_requirements"), False),
        "console": "off",
    }


def local(mode: str) -> dict[str, Any]:
    """Return settings that keep an offline run offline.

    wandb resolves its server's name also when it never connects to it; an address of this machine needs no resolving.
    """
    return {} if mode == "online" else {"base_url": "http://127.0.0.1:9"}


def next_step(folder: Path) -> int:
    """Return the step after the last one that former starts in this folder logged."""
    path = folder / "wandb" / "next_step"
    known = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    return int(known) if known.isdigit() else 0


def sweep_name(folder: Path, study: str) -> str:
    """Name the group of a job: the study, and for a job of a sweep, whose folder is a number, the sweep's folder."""
    return f"{study}/{folder.resolve().parent.name}" if folder.name.isdigit() else study


def job_name(folder: Path, study: str) -> str:
    """Name a job by its overrides where Hydra recorded any, else by its folder."""
    recorded = folder / ".hydra" / "overrides.yaml"
    if recorded.is_file():
        lines = recorded.read_text(encoding="utf-8").splitlines()
        overrides = [line.removeprefix("- ").strip().removeprefix("++") for line in lines if line.startswith("- ")]
        kept = [override for override in overrides if not override.startswith(("logger", "name=", "trainer"))]
        if kept:
            parts = (override.partition("=") for override in kept)
            return " ".join(f"{key}={shorten_paths(value)}" for key, _, value in parts)[:120]
    return f"{study}/{folder.name}"


def run_id(folder: Path) -> str:
    """Return the folder's run id, made at its first start."""
    path = folder / "wandb" / "id"
    known = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    if known:  # A run killed while the file was made leaves it empty.
        return known
    made = uuid.uuid4().hex[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made, encoding="utf-8")
    return made
