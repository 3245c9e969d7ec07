"""The joint reader's data: what the package's networks see of pairs, gathered once and kept on disk."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from diffharmon.condition.reader.evidence import Networks, gather
from diffharmon.condition.reader.reading import shipped_networks, shipped_trunk
from diffharmon.condition.reader.trunk import DeepTrunk
from diffharmon.files import replacing
from diffharmon.training.datamodule import Draws, Sampling
from diffharmon.training.reader import ReaderData

_KEPT = ("measured", "values", "before", "after")


class EvidenceData(ReaderData):
    """Pairs as `ReaderData` draws them, seen by the networks that the joint reader asks.

    Asking takes half a CPU second a pair, a step of training a tenth of that, so training shows pairs several times.

    Args:
        sampling: what is sampled how often; with a limit on the photos one small shard is made.
        shares: see `ReaderData`.
        cache: folder of the evidence; missing shards are made before training.
        shards: how many shards to make and use.
        shard_size: pairs of a shard.
        validation_shares: see `ReaderData`.
        words: see `ReaderData`.
        validation_words: see `ReaderData`.
        relighting: see `ReaderData`.
    """

    def __init__(
        self,
        sampling: Sampling,
        shares: dict[str, float],
        cache: str,
        shards: int = 80,
        shard_size: int = 250,
        validation_shares: dict[str, float] | None = None,
        words: float = 0.5,
        validation_words: float = 0.0,
        relighting: str | None = None,
    ) -> None:
        super().__init__(sampling, shares, validation_shares, words, validation_words, relighting)
        self.cache = Path(cache)
        self.shards = 1 if sampling.limit else shards
        self.shard_size = min(shard_size, sampling.limit) if sampling.limit else shard_size
        self._seen: list[dict[str, Tensor]] = []

    def prepare_data(self) -> None:
        """Make the shards that are missing."""
        missing = [index for index in range(self.shards) if not self._shard(index).is_file()]
        if not missing:
            return
        networks, deep = shipped_networks(), shipped_trunk()
        for index in missing:
            first = index * self.shard_size
            draws = Draws(self.draw(validation=False), self.shard_size, self.sampling.seed + 1, first)
            seen = [evidence_of(draws[place], networks, deep) for place in range(len(draws))]
            with replacing(self._shard(index)) as partial:
                torch.save({name: torch.stack([one[name] for one in seen]) for name in _KEPT}, partial)

    def _shard(self, index: int) -> Path:
        return self.cache / f"{index:04d}.pt"

    def train_dataloader(self) -> DataLoader[Any]:
        """Load random pairs, other ones each epoch."""
        shards = [torch.load(self._shard(index), weights_only=True, map_location="cpu") for index in range(self.shards)]
        kept = {name: torch.cat([shard[name] for shard in shards]) for name in _KEPT}
        generator = torch.Generator().manual_seed(self.sampling.seed * 1_000_003 + self.epoch)
        count = self.sampling.batch_size * self.sampling.epoch_steps
        order = torch.randint(len(kept["measured"]), (count,), generator=generator)
        batches: Any = order.split(self.sampling.batch_size)  # a batch is one index: rows are taken out together
        return DataLoader(_Rows(kept), batch_size=None, sampler=batches)

    def val_dataloader(self) -> DataLoader[Any]:
        """Load the same held-out pairs every time; they are seen once."""
        if not self._seen:
            draws = Draws(self.draw(validation=True), self.sampling.validation_count, self.sampling.seed)
            networks, deep = shipped_networks(), shipped_trunk()
            self._seen = [evidence_of(draws[place], networks, deep) for place in range(len(draws))]
        rows = _Rows({name: torch.stack([one[name] for one in self._seen]) for name in _KEPT})
        batches: Any = torch.arange(len(self._seen)).split(32)
        return DataLoader(rows, batch_size=None, sampler=batches)


class _Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Rows of tensors, several at once."""

    def __init__(self, kept: dict[str, Tensor]) -> None:
        self.kept = kept

    def __getitem__(self, index: Tensor) -> dict[str, Tensor]:
        return {name: rows[index].float() for name, rows in self.kept.items()}


def evidence_of(pair: dict[str, Tensor], networks: Networks, deep: DeepTrunk) -> dict[str, Tensor]:
    """Ask about both pictures of a pair.

    Returns:
        `measured` (2 x k) and `values` (2 x n) of composite and photo, as `gather` gives them; `before` and `after`
        (192 x 3) as `reader_pair` does. All but the first in half precision.
    """
    found = gather(pair["image"], pair["parts"][:1].expand(2, -1, -1), networks, deep)
    return {
        "measured": found.measured,
        "values": found.values.half(),
        "before": pair["before"].half(),
        "after": pair["after"].half(),
    }
