"""Where the package's own configuration and assets are."""

from importlib.resources import files
from pathlib import Path

from omegaconf import OmegaConf

from diffharmon.files import ASSETS

CONFIG_FOLDER = Path(str(files("diffharmon.conf")))


def register_resolvers() -> None:
    """Register the ``asset`` resolver; once a job, since a launcher's worker inherits its parent's resolvers."""
    OmegaConf.register_new_resolver("asset", lambda name: str(ASSETS / name), replace=True)


register_resolvers()
