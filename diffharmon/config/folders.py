"""Where the package's own configuration and assets are."""

from importlib.resources import files
from pathlib import Path

from omegaconf import OmegaConf

CONFIG_FOLDER = Path(str(files("diffharmon.conf")))
ASSET_FOLDER = Path(str(files("diffharmon"))) / "assets"


def register_resolvers() -> None:
    """Register the ``asset`` resolver; once a job, since a launcher's worker inherits its parent's resolvers."""
    OmegaConf.register_new_resolver("asset", lambda name: str(ASSET_FOLDER / name), replace=True)


register_resolvers()
