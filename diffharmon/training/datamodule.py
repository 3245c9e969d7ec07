"""Lightning data modules of the recipes; every sample is drawn from a generator seeded by its index."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPTokenizer

from diffharmon.condition.relighting import Relighting
from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.training.captions import COMMON_NOUNS, GENERIC_OBJECTS, SCENE_CONDITIONS, scene_object
from diffharmon.training.harmony_samples import HarmonySampler
from diffharmon.training.photos import Photos
from diffharmon.training.region_samples import RegionSampler
from diffharmon.training.synthesis import jittered_crop
from diffharmon.training.tokenizer import train_tokenizer

Draw = Callable[[torch.Generator], Any]


class Draws(Dataset[Any]):
    """Samples drawn on demand: the i-th is a function of the seed and i alone, whatever the worker or the order.

    Args:
        draw: makes a sample from a generator.
        count: length of one epoch.
        seed: seed of all samples.
        first: index of the epoch's first sample.
    """

    def __init__(self, draw: Draw, count: int, seed: int, first: int = 0) -> None:
        self.draw, self.count, self.seed, self.first = draw, count, seed, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.count:
            raise IndexError(index)
        generator = torch.Generator().manual_seed((self.seed << 40) + self.first + index)
        return self.draw(generator)


@dataclass(frozen=True)
class Sampling:
    """How all recipes sample photos.

    Attributes:
        root: folder of photo sources, see `Photos`.
        size: side of the samples in pixels.
        batch_size: samples of a batch.
        epoch_steps: batches of an epoch; validation and checkpoints come once an epoch.
        validation_count: samples in validation.
        limit: keep at most this many photos on either side, 0 for all.
        seed: seed of all samples; the split of the photos is fixed.
        workers: loading processes.
    """

    root: str
    size: int = 128
    batch_size: int = 16
    epoch_steps: int = 250
    validation_count: int = 96
    limit: int = 0
    seed: int = 0
    workers: int = 0


class PhotoData(LightningDataModule):
    """What the recipes' data have in common: photos on disk, split by photo, and endless seeded samples of them.

    Args:
        sampling: what is sampled how often.
    """

    def __init__(self, sampling: Sampling) -> None:
        super().__init__()
        self.sampling = sampling
        self._photos: dict[bool, Photos] = {}

    def photos(self, validation: bool) -> Photos:
        """Return the photos of one side of the split, read once."""
        if validation not in self._photos:
            chosen = self.sampling
            self._photos[validation] = Photos(chosen.root, chosen.size, validation, limit=chosen.limit)
        return self._photos[validation]

    def draw(self, validation: bool) -> Draw:
        """Return what makes samples for one side of the split."""
        raise TypeError(f"{type(self).__name__} has no samples of its own")

    def collate(self, validation: bool) -> Callable[[list[Any]], Any] | None:
        """Return what joins samples to a batch; None stacks tensors."""
        return None

    @property
    def epoch(self) -> int:
        """The trainer's current epoch, 0 without a trainer."""
        return self.trainer.current_epoch if self.trainer else 0

    def train_dataloader(self) -> DataLoader[Any]:
        """Load the samples of the current epoch."""
        batch = self.sampling.batch_size
        count = batch * self.sampling.epoch_steps
        draws = Draws(self.draw(validation=False), count, self.sampling.seed + 1, self.epoch * count)
        return DataLoader(draws, batch, num_workers=self.sampling.workers, collate_fn=self.collate(validation=False))

    def val_dataloader(self) -> DataLoader[Any]:
        """Load the same held-out samples every time."""
        draws = Draws(self.draw(validation=True), self.sampling.validation_count, self.sampling.seed)
        return DataLoader(draws, min(self.sampling.batch_size, 32), collate_fn=self.collate(validation=True))


class AutoencoderData(PhotoData):
    """Colour-jittered crops for the autoencoder; untouched whole photos in validation.

    Args:
        sampling: what is sampled how often.
        crop: side of the training crops in pixels, cheap to train on.
        full_size_epoch: from this epoch on crops have the full size, and a batch holds as many pixels as before.
    """

    def __init__(self, sampling: Sampling, crop: int = 64, full_size_epoch: int = 9) -> None:
        super().__init__(sampling)
        self.crop, self.full_size_epoch = crop, full_size_epoch

    def train_dataloader(self) -> DataLoader[Any]:
        """Load small crops, full-size ones at the end."""
        crop, batch = self.crop, self.sampling.batch_size
        if self.epoch >= self.full_size_epoch:
            crop = self.sampling.size
            batch = max(1, round(batch * (self.crop / crop) ** 2))
        count = batch * self.sampling.epoch_steps
        first = self.epoch * self.sampling.batch_size * self.sampling.epoch_steps
        photos = self.photos(validation=False)
        draws = Draws(
            lambda generator: {"image": jittered_crop(photos, crop, generator)}, count, self.sampling.seed + 1, first
        )
        return DataLoader(draws, batch, num_workers=self.sampling.workers)

    def draw(self, validation: bool) -> Draw:
        """Draw a jittered crop, or the middle of a held-out photo."""
        photos = self.photos(validation)
        if not validation:
            return lambda generator: {"image": jittered_crop(photos, self.crop, generator)}
        margin = (photos.side - self.sampling.size) // 2
        inner = slice(margin, margin + self.sampling.size)

        def middle(generator: torch.Generator) -> dict[str, Tensor]:
            index = int(torch.randint(len(photos), (), generator=generator))
            return {"image": photos.image(index)[:, inner, inner]}

        return middle


class HarmonyData(PhotoData):
    """Pairs of a real photo and a composite of it for the harmony classifier.

    Args:
        sampling: what is sampled how often.
        relighting: ccHarmony's archive of colour matrices; without it composites are not relit.
        borrowed: share of training pairs with another photo's mask.
    """

    def __init__(self, sampling: Sampling, relighting: str | None = None, borrowed: float = 0.3) -> None:
        super().__init__(sampling)
        self.borrowed = borrowed
        self.relighting = Relighting.from_archive(Path(relighting)) if relighting else None

    def draw(self, validation: bool) -> Draw:
        """Draw a harmonious and an unharmonious version of one photo; validation uses each photo's own masks."""
        borrowed = 0.0 if validation else self.borrowed
        return HarmonySampler(self.photos(validation), self.sampling.size, self.relighting, borrowed)


class RegionData(PhotoData):
    """Graded photos and graded regions with their condition words for CLIP.

    Args:
        sampling: what is sampled how often.
        tokenizer: folder of the tokenizer; made from the vocabulary and the photos' nouns when missing.
    """

    def __init__(self, sampling: Sampling, tokenizer: str) -> None:
        super().__init__(sampling)
        self.tokenizer = tokenizer
        self._samplers: dict[bool, RegionSampler] = {}

    def prepare_data(self) -> None:
        """Make the tokenizer when it is missing."""
        ensure_tokenizer(self.tokenizer, self.photos(validation=False))

    def sampler(self, validation: bool) -> RegionSampler:
        """Return the sampler of one side of the split, made once."""
        if validation not in self._samplers:
            tokenizer = CLIPTokenizer.from_pretrained(self.tokenizer)
            self._samplers[validation] = RegionSampler(self.photos(validation), self.sampling.size, tokenizer)
        return self._samplers[validation]

    def draw(self, validation: bool) -> Draw:
        """Draw plans of graded photos and of regions of composites."""
        return self.sampler(validation)

    def collate(self, validation: bool) -> Callable[[list[Any]], Any]:
        """Compute a batch of plans at once."""
        return self.sampler(validation).render


def ensure_tokenizer(folder: str, photos: Photos) -> None:
    """Make the tokenizer of the vocabulary, common nouns and the photos' own nouns unless the folder exists."""
    if Path(folder).is_dir():
        return
    words = {word for words in VOCABULARY.values() for word in words}
    words |= {*GENERIC_OBJECTS, *COMMON_NOUNS, *SCENE_CONDITIONS, *map(scene_object, SCENE_CONDITIONS)}
    nouns = [*(record.noun for record in photos.records), *(mask.noun for mask in photos.masks)]
    train_tokenizer(words | {noun for noun in nouns if noun}).save_pretrained(folder)
