"""Train an embedded model: recipe=autoencoder, backbone, clip, classifier, reader or joint_reader."""

import hydra
from omegaconf import DictConfig

from diffharmon.training.fit import CONFIG_FOLDER, fit


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="train")
def main(config: DictConfig) -> None:
    """Compose the recipe and fit it."""
    fit(config)


if __name__ == "__main__":
    main()
