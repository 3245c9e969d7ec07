"""Lightning data modules of the recipes; every sample is drawn from a generator seeded by its index."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset
from transformers import CLIPTokenizer

from diffharmon.condition.relighting import Relighting
from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.training.captions import COMMON_NOUNS, GENERIC_OBJECTS, SCENE_CONDITIONS, scene_object
from diffharmon.training.harmony_samples import HarmonySampler
from diffharmon.training.photos import Photos
from diffharmon.training.region_samples import RegionSampler
from diffharmon.training.synthesis import ConditionSampler, Triple, jittered_crop, triples
from diffharmon.training.tokenizer import train_tokenizer

Draw = Callable[[torch.Generator], dict[str, Any]]


class Draws(Dataset[dict[str, Any]]):
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

    def __getitem__(self, index: int) -> dict[str, Any]:
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

    @property
    def epoch(self) -> int:
        """The trainer's current epoch, 0 without a trainer."""
        return self.trainer.current_epoch if self.trainer else 0

    def train_dataloader(self) -> DataLoader[Any]:
        """Load the samples of the current epoch."""
        batch = self.sampling.batch_size
        count = batch * self.sampling.epoch_steps
        draws = Draws(self.draw(validation=False), count, self.sampling.seed + 1, self.epoch * count)
        return DataLoader(draws, batch, num_workers=self.sampling.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """Load the same held-out samples every time."""
        draws = Draws(self.draw(validation=True), self.sampling.validation_count, self.sampling.seed)
        return DataLoader(draws, min(self.sampling.batch_size, 32))


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


class LatentData(PhotoData):
    """Latents of graded photos with their captions, encoded once and kept on disk; triples in validation.

    Args:
        sampling: what is sampled how often; with a limit on the photos one small shard is made.
        autoencoder: folder of the trained autoencoder.
        tokenizer: folder of the tokenizer; made from the vocabulary and the photos' nouns when missing.
        cache: folder of the encoded latents; missing shards are made before training.
        shards: how many shards to make and use.
        shard_size: samples of a shard.
    """

    def __init__(
        self,
        sampling: Sampling,
        autoencoder: str,
        tokenizer: str,
        cache: str,
        shards: int = 20,
        shard_size: int = 2048,
    ) -> None:
        super().__init__(sampling)
        self.autoencoder, self.tokenizer, self.cache = autoencoder, tokenizer, Path(cache)
        self.shards = 1 if sampling.limit else shards
        self.shard_size = min(shard_size, 2 * sampling.limit) if sampling.limit else shard_size

    def prepare_data(self) -> None:
        """Make the tokenizer and the shards that are missing."""
        ensure_tokenizer(self.tokenizer, self.photos(validation=False))
        missing = [index for index in range(self.shards) if not self._shard(index).is_file()]
        if not missing:
            return
        self.cache.mkdir(parents=True, exist_ok=True)
        sampler = ConditionSampler(self.photos(validation=False), self.sampling.size)
        tokenizer = CLIPTokenizer.from_pretrained(self.tokenizer)
        autoencoder = AutoencoderKL.from_pretrained(self.autoencoder, use_safetensors=True)
        autoencoder = autoencoder.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        for index in missing:
            made = encode_shard(
                sampler, autoencoder, tokenizer, self.shard_size, 10_000 + self.sampling.seed * 100_000 + index
            )
            temporary = self._shard(index).with_suffix(".part")
            torch.save(made, temporary)
            os.replace(temporary, self._shard(index))

    def _shard(self, index: int) -> Path:
        return self.cache / f"{index:04d}.pt"

    def train_dataloader(self) -> DataLoader[Any]:
        """Load random latents, other ones each epoch."""
        shards = [torch.load(self._shard(index), weights_only=True, map_location="cpu") for index in range(self.shards)]
        latents = torch.cat([shard["z"] for shard in shards])
        input_ids = torch.cat([shard["ids"] for shard in shards])
        generator = torch.Generator().manual_seed(self.sampling.seed * 1_000_003 + self.epoch)
        count = self.sampling.batch_size * self.sampling.epoch_steps
        order = torch.randint(len(latents), (count,), generator=generator)
        return DataLoader(
            TensorDataset(latents, input_ids),
            self.sampling.batch_size,
            sampler=order.tolist(),
            collate_fn=lambda rows: dict(
                zip(("latent", "input_ids"), map(torch.stack, zip(*rows, strict=True)), strict=True)
            ),
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Load composites of held-out photos with their ground truth and words."""
        made = triples(self.photos(validation=True), self.sampling.validation_count, self.sampling.size)
        return DataLoader(cast("Dataset[Triple]", made), batch_size=16, collate_fn=list)


class HarmonyData(PhotoData):
    """Pairs of a real photo and a composite of it for the harmony classifier.

    Args:
        sampling: what is sampled how often.
        relighting: ccHarmony's archive of colour matrices; without it composites are not relit.
    """

    def __init__(self, sampling: Sampling, relighting: str | None = None) -> None:
        super().__init__(sampling)
        self.relighting = Relighting.from_archive(Path(relighting)) if relighting else None

    def draw(self, validation: bool) -> Draw:
        """Draw a harmonious and an unharmonious version of one photo."""
        return HarmonySampler(self.photos(validation), self.sampling.size, self.relighting)


class RegionData(PhotoData):
    """Graded photos and graded regions with their condition words for CLIP.

    Args:
        sampling: what is sampled how often.
        tokenizer: folder of the tokenizer; made from the vocabulary and the photos' nouns when missing.
    """

    def __init__(self, sampling: Sampling, tokenizer: str) -> None:
        super().__init__(sampling)
        self.tokenizer = tokenizer

    def prepare_data(self) -> None:
        """Make the tokenizer when it is missing."""
        ensure_tokenizer(self.tokenizer, self.photos(validation=False))

    def draw(self, validation: bool) -> Draw:
        """Draw a graded photo, whole or with one region hidden, and its tokens."""
        return RegionSampler(self.photos(validation), self.sampling.size, CLIPTokenizer.from_pretrained(self.tokenizer))


def ensure_tokenizer(folder: str, photos: Photos) -> None:
    """Make the tokenizer of the vocabulary, common nouns and the photos' own nouns unless the folder exists."""
    if Path(folder).is_dir():
        return
    words = {word for words in VOCABULARY.values() for word in words}
    words |= {*GENERIC_OBJECTS, *COMMON_NOUNS, *SCENE_CONDITIONS, *map(scene_object, SCENE_CONDITIONS)}
    nouns = [*(record.noun for record in photos.records), *(mask.noun for mask in photos.masks)]
    train_tokenizer(words | {noun for noun in nouns if noun}).save_pretrained(folder)


@torch.no_grad()
def encode_shard(
    sampler: ConditionSampler, autoencoder: Any, tokenizer: CLIPTokenizer, count: int, seed: int
) -> dict[str, Tensor]:
    """Draw captioned images and encode them: `z` latents in half precision and `ids` padded tokens."""
    generator = torch.Generator().manual_seed(seed)
    latents, tokens = [], []
    for start in range(0, count, 32):
        samples = [sampler(generator) for _ in range(min(32, count - start))]
        images = torch.stack([sample.image for sample in samples]) * 2 - 1
        with torch.autocast("cpu", torch.bfloat16):
            latent = autoencoder.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist.mode()
        latents.append(latent.half().contiguous())
        captions = [sample.caption for sample in samples]
        tokens.append(tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids.short())
    return {"z": torch.cat(latents), "ids": torch.cat(tokens)}
