"""The backbone's data: latents of graded photos, encoded once and kept on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset
from transformers import CLIPTokenizer

from diffharmon.files import replacing
from diffharmon.training.datamodule import PhotoData, Sampling, ensure_tokenizer
from diffharmon.training.precision import bfloat16_is_fast
from diffharmon.training.synthesis import ConditionSampler, Triple, triples


class LatentData(PhotoData):
    """Latents of graded photos with their captions, encoded once and kept on disk; triples in validation.

    Args:
        sampling: what is sampled how often; with a limit on the photos one small shard is made.
        autoencoder: folder of the trained autoencoder.
        tokenizer: folder of the tokenizer; made from the vocabulary and the photos' nouns when missing.
        cache: folder of the encoded latents; missing shards are made before training.
        shards: how many shards to make and use.
        shard_size: samples of a shard.
        graded: share of the captions, and of the composites in validation, whose words have weights.
    """

    def __init__(
        self,
        sampling: Sampling,
        autoencoder: str,
        tokenizer: str,
        cache: str,
        shards: int = 20,
        shard_size: int = 2048,
        graded: float = 0.0,
    ) -> None:
        super().__init__(sampling)
        self.autoencoder, self.tokenizer, self.cache = autoencoder, tokenizer, Path(cache)
        self.graded = graded
        self.shards = 1 if sampling.limit else shards
        self.shard_size = min(shard_size, 2 * sampling.limit) if sampling.limit else shard_size

    def prepare_data(self) -> None:
        """Make the tokenizer and the shards that are missing."""
        ensure_tokenizer(self.tokenizer, self.photos(validation=False))
        missing = [index for index in range(self.shards) if not self._shard(index).is_file()]
        if not missing:
            return
        self.cache.mkdir(parents=True, exist_ok=True)
        sampler = ConditionSampler(self.photos(validation=False), self.sampling.size, graded=self.graded)
        tokenizer = CLIPTokenizer.from_pretrained(self.tokenizer)
        autoencoder = AutoencoderKL.from_pretrained(self.autoencoder, use_safetensors=True)
        autoencoder = autoencoder.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        for index in missing:
            made = encode_shard(
                sampler, autoencoder, tokenizer, self.shard_size, 10_000 + self.sampling.seed * 100_000 + index
            )
            with replacing(self._shard(index)) as partial:
                torch.save(made, partial)

    def _shard(self, index: int) -> Path:
        return self.cache / f"{index:04d}.pt"

    def train_dataloader(self) -> DataLoader[Any]:
        """Load random latents, other ones each epoch."""
        shards = [torch.load(self._shard(index), weights_only=True, map_location="cpu") for index in range(self.shards)]
        parts = [torch.cat([shard[name] for shard in shards]) for name in ("z", "ids", "weights")]
        generator = torch.Generator().manual_seed(self.sampling.seed * 1_000_003 + self.epoch)
        count = self.sampling.batch_size * self.sampling.epoch_steps
        order = torch.randint(len(parts[0]), (count,), generator=generator)
        return DataLoader(
            TensorDataset(*parts),
            self.sampling.batch_size,
            sampler=order.tolist(),
            collate_fn=lambda rows: dict(
                zip(("latent", "input_ids", "weights"), map(torch.stack, zip(*rows, strict=True)), strict=True)
            ),
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Load composites of held-out photos with their ground truth and words."""
        chosen = self.sampling
        made = triples(self.photos(validation=True), chosen.validation_count, chosen.size, graded=self.graded)
        return DataLoader(cast("Dataset[Triple]", made), batch_size=16, collate_fn=list)


@torch.no_grad()
def encode_shard(
    sampler: ConditionSampler, autoencoder: Any, tokenizer: CLIPTokenizer, count: int, seed: int
) -> dict[str, Tensor]:
    """Draw captioned images and encode them: `z` latents, `ids` padded tokens and `weights` of the tokens."""
    generator = torch.Generator().manual_seed(seed)
    latents, tokens, weights = [], [], []
    for start in range(0, count, 32):
        samples = [sampler(generator) for _ in range(min(32, count - start))]
        images = torch.stack([sample.image for sample in samples]) * 2 - 1
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16_is_fast()):
            latent = autoencoder.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist.mode()
        latents.append(latent.half().contiguous())
        captions = [sample.caption for sample in samples]
        tokens.append(tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids.short())
        weights.append(token_weights(tokens[-1], [sample.weights for sample in samples], tokenizer.eos_token_id))
    return {"z": torch.cat(latents), "ids": torch.cat(tokens), "weights": torch.cat(weights).half()}


def token_weights(input_ids: Int[Tensor, "b n"], weights: Sequence[Sequence[float]], end: int) -> Float[Tensor, "b n"]:
    """Lay the weights of a caption's words, each of which is one token, on its last tokens before the end.

    Args:
        input_ids: start, noun, words, end and padding by the end token.
        weights: those of each caption's words; nothing where all count fully.
        end: the end token.
    """
    laid = torch.ones(input_ids.shape)
    for row, tokens, values in zip(laid, input_ids, weights, strict=True):
        last = int((tokens == end).int().argmax())
        row[last - len(values) : last] = torch.tensor(values)
    return laid
