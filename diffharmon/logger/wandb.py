"""Weights & Biases: one run a job, grouped by study, without an account unless one is wanted."""

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from diffharmon.errors import ConfigError
from diffharmon.images import to_uint8
from diffharmon.logger.columns import columns, numbers
from diffharmon.panels import fit

SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
REDACTED = "<redacted>"


class Wandb:
    """Logs each image's panel and numbers, at the end the table of all rows and the means as the run's summary.

    The run lies in ``wandb/`` of the run's folder. A job that is interrupted and started again in its folder goes on
    under the same run id, so that the study has one run for it. Values of environment variables that look like keys
    are cut out of the configuration that is logged.

    Args:
        mode: ``offline`` writes files that ``wandb sync`` can upload later, ``online`` needs an account, ``disabled``
            logs nothing.
        project: The project on the server.
        entity: The user or team on the server; None is the account's own.
        group: The study's name; None takes the configuration's ``name``.
        tags: Labels of the run.
        save_images: Whether each image's panel is logged besides its numbers.
        folder: The run's folder.
        config: The run's resolved configuration, stored with the run.

    Raises:
        ConfigError: The server refuses the run, as it does without an account.
    """

    def __init__(
        self,
        mode: Literal["online", "offline", "disabled"] = "offline",
        project: str = "diffharmon",
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        save_images: bool = True,
        folder: Path | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        import wandb

        self.folder = place = Path(folder or ".")
        place.mkdir(parents=True, exist_ok=True)
        settings = redact(dict(config or {}))
        study = group or str(settings.get("name", project))
        self.save_images = save_images
        self.step = 0
        try:
            self.run = wandb.init(
                mode=mode,
                project=project,
                entity=entity,
                group=study,
                name=job_name(place, study),
                id=None if mode == "disabled" else run_id(place),
                resume="allow" if mode == "online" else None,
                tags=list(tags),
                dir=str(place),
                config=settings,
                # Jobs of a sweep may share a process: a new run each, whatever a former job left open.
                reinit="create_new",
                settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False, **local(mode)),
            )
        except wandb.errors.Error as error:
            raise ConfigError(
                f"logger: wandb cannot start a run with mode={mode}: {error}; expected an account (wandb login), or "
                "logger.mode=offline"
            ) from error

    def image(self, name: str, panel: Mapping[str, Float[Tensor, "3 _ _"]], row: Mapping[str, Any]) -> None:
        """Log one image's panel, pictures fitted to 640 x 480, and its numbers."""
        import wandb

        values: dict[str, Any] = {f"image/{key}": value for key, value in numbers(row).items()}
        if self.save_images:
            pictures = ((title, to_uint8(fit(picture)).permute(1, 2, 0).numpy()) for title, picture in panel.items())
            values["panel"] = [
                wandb.Image(pixels, caption=f"{name}: {title}", file_type="jpg") for title, pixels in pictures
            ]
        self.run.log({"name": name, **values}, step=self.step)
        self.step += 1

    def summary(self, rows: Sequence[Mapping[str, Any]], means: Mapping[str, float]) -> None:
        """Log the table of all rows and, as the run's summary, the means and how many images failed."""
        import wandb

        names = [name for name in columns(self.folder, rows) if any(name in row for row in rows)]
        table = wandb.Table(columns=[*names], data=[[row.get(name) for name in names] for row in rows])
        self.run.log({"rows": table}, step=self.step)
        self.step += 1
        self.run.summary.update({f"mean/{key}": value for key, value in numbers(means).items()})
        failed = sum(row.get("status") != "ok" for row in rows)
        self.run.summary.update({"images": len(rows) - failed, "failed_images": failed})

    def close(self, failed: bool = False) -> None:
        """Finish the run, else the next job of the process would write into it."""
        self.run.finish(exit_code=int(failed))


def local(mode: str) -> dict[str, str]:
    """Return settings that keep an offline run offline.

    wandb resolves its server's name also when it never connects to it; an address of this machine needs no resolving.
    """
    return {} if mode == "online" else {"base_url": "http://127.0.0.1:9"}


def job_name(folder: Path, study: str) -> str:
    """Name a job by its overrides where Hydra recorded any, else by its folder."""
    recorded = folder / ".hydra" / "overrides.yaml"
    if recorded.is_file():
        lines = recorded.read_text(encoding="utf-8").splitlines()
        overrides = [line.removeprefix("- ").strip().removeprefix("++") for line in lines if line.startswith("- ")]
        kept = [override for override in overrides if not override.startswith(("logger", "name=", "trainer"))]
        if kept:
            return " ".join(kept)[:120]
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


def redact(value: Any) -> Any:
    """Cut the values of environment variables that look like keys out of a configuration."""
    secrets = [text for name, text in os.environ.items() if name.upper().endswith(SECRETS) and len(text) >= 8]
    return _without(value, secrets)


def _without(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(inner, secrets) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without(inner, secrets) for inner in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
    return value
