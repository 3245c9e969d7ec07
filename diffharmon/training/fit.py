"""Run a recipe: build its parts from the configuration, resume, fit, export."""

import json
import logging
from pathlib import Path

import torch
from hydra.utils import instantiate
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

from diffharmon import config as configuration
from diffharmon.training.datamodule import PhotoData
from diffharmon.training.precision import training_precision
from diffharmon.training.sample_grid import SampleGrid
from diffharmon.training.schedule import RampedAverage, SeedEveryStep

CONFIG_FOLDER = configuration.CONFIG_FOLDER / "training"
OmegaConf.register_new_resolver("training_precision", training_precision, replace=True)

log = logging.getLogger(__name__)


def fit(config: DictConfig) -> Path:
    """Train what the recipe describes into `config.output` and return the folder of the exported model.

    A run whose folder holds `last.ckpt` goes on from it; a new one starts from the exported model that `config.start`
    names, if any. The exported weights are the moving average. With
    `config.measure` nothing is trained: the validation metrics of that exported model are logged.

    Raises:
        ConfigError: for an unknown key, a wrong type or a missing value, before anything loads.
    """
    configuration.validate(config)
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    seed_everything(config.data.seed, verbose=False)
    if config.threads:
        torch.set_num_threads(config.threads)
    datamodule = instantiate(config.datamodule, _convert_="all")
    if config.measure:
        return measure(config, datamodule)
    datamodule.prepare_data()  # the module may need what this makes, such as the tokenizer
    module = instantiate(config.module, _convert_="all")
    trainer: Trainer = instantiate(
        config.trainer,
        logger=instantiate(config.logger, _convert_="all") if config.logger else False,
        callbacks=[
            RampedAverage(config.average.decay, config.average.ramp),
            SeedEveryStep(config.data.seed),
            SampleGrid(str(output / "samples")),
            ModelCheckpoint(output, filename="last", enable_version_counter=False, save_on_train_epoch_end=True),
        ],
        default_root_dir=str(output),
        _convert_="all",
    )
    checkpoint = output / "last.ckpt"
    resumed = str(checkpoint) if checkpoint.is_file() else None
    if resumed:
        log.info("resuming from %s", resumed)
    elif config.start:
        module.load(Path(config.start))
        module.train()
    trainer.fit(module, datamodule=datamodule, ckpt_path=resumed, weights_only=True)
    exported = output / "export"
    module.export(exported, datamodule)
    log.info("exported to %s after %d steps", exported, trainer.global_step)
    return exported


def measure(config: DictConfig, datamodule: PhotoData) -> Path:
    """Log the validation metrics of the exported model that `config.measure` names, and return its folder."""
    folder = Path(config.measure)
    module = instantiate(config.module, _convert_="all")
    module.load(folder)
    trainer: Trainer = instantiate(
        config.trainer, logger=False, enable_checkpointing=False, default_root_dir=config.output, _convert_="all"
    )
    # The loader rather than the module of data, whose preparation would make everything that training needs.
    (values,) = trainer.validate(module, dataloaders=datamodule.val_dataloader(), verbose=False)
    for name, value in sorted(values.items()):
        log.info("%s %.4f", name, value)
    (Path(config.output) / "measured.json").write_text(json.dumps(values, indent=2) + "\n")
    return folder
