"""How many images a configuration harmonizes side by side."""

from omegaconf import DictConfig

from diffharmon.config.kinds import load_target


def batch_of(config: DictConfig) -> int:
    """Return `trainer.batch`, or one where the method has no ``harmonize_batch`` and takes one image at a time.

    Args:
        config: A validated configuration.
    """
    wanted = int(config.trainer.get("batch", 1))
    if wanted == 1:
        return 1
    return wanted if hasattr(load_target(str(config.method._target_), "method"), "harmonize_batch") else 1
