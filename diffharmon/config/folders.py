"""Where the package's own configuration and assets are."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from omegaconf import OmegaConf

from diffharmon.files import ASSETS

CONFIG_FOLDER = Path(str(files("diffharmon.conf")))


def register_resolvers() -> None:
    """Register the resolvers ``asset``, ``setting_number`` and ``job_folder``.

    Once a job, since a launcher's worker inherits its parent's resolvers.
    """
    OmegaConf.register_new_resolver("asset", lambda name: str(ASSETS / name), replace=True)
    OmegaConf.register_new_resolver("setting_number", setting_number, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def setting_number(job: int, shard: str | None) -> int:
    """Return which setting of a sweep a job runs, where ``shard=0/8,1/8,...`` is the last of the swept keys."""
    return job // int(shard.rpartition("/")[2]) if shard else job


def job_folder(number: int, overrides: Sequence[str], sweeper: str) -> str:
    """Return the name of a job's folder in its sweep: its number, under Optuna a name that its settings alone decide.

    A study that is continued counts its jobs from 0 again, and must not run into the folders of before.
    """
    if "optuna" not in sweeper:
        return str(number)
    return hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:12]


register_resolvers()
