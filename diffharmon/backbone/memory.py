"""What a backbone computed for one image is not computed again: predictions, decoded latents, attention of a branch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from diffharmon.attention.processor import MapStore, QueriesAndKeys
from diffharmon.types import AttentionRule, Text


@dataclass(frozen=True)
class Prediction:
    """One row of a batch that the network saw, at one timestep and under no rule that changes it.

    Attributes:
        latent: What went in.
        text: What went in.
        output: What came out.
        attention: Queries and keys by layer, where they were kept.
    """

    latent: Float[Tensor, "1 c y x"]
    text: Text
    output: Float[Tensor, "1 c y x"]
    attention: dict[str, QueriesAndKeys] = field(default_factory=dict)

    def fits(self, latent: Float[Tensor, "1 c y x"], text: Text) -> bool:
        """Whether this is the prediction for these inputs, bit for bit."""
        return torch.equal(self.latent, latent) and _equal(self.text, text)


class Memory:
    """A backbone that remembers what it computed without gradients, for as long as one image is worked on.

    Rows of a batch that were predicted before, from inputs that are equal bit for bit, are not computed again. A row
    that follows another one under a ``replace`` rule finds that row's queries and keys here where they were kept, so
    that an edit computes only the edited branch. Everything else is the backbone's own.

    Args:
        backbone: What computes.
        limit: Bytes of queries and keys that are kept; on an accelerator they lie in the machine's memory.
    """

    def __init__(self, backbone: Any, limit: int) -> None:
        self.backbone = backbone
        self.left = limit
        self.predictions: dict[float, list[Prediction]] = {}
        self.decoded: list[tuple[Tensor, Tensor]] = []
        self.rules: MapStore | None = None
        self.keeper: MapStore | None = None
        self.worth_keeping: Text | None = None

    def __getattr__(self, name: str) -> Any:
        """Everything else is the backbone's own."""
        return getattr(self.backbone, name)

    def learn(self, other: "Memory") -> None:
        """Take over what another one computed for the same image."""
        self.predictions |= {timestep: [*known] for timestep, known in other.predictions.items()}
        self.decoded += other.decoded

    @contextmanager
    def attention(
        self, rules: Sequence[AttentionRule], sources: Sequence[int] = (), steps: int = 1
    ) -> Iterator[MapStore]:
        """Put rules on the attention layers inside a ``with``, as the backbone does."""
        with self.backbone.attention(rules, sources, steps) as store:
            former, self.rules = (self.rules, self.keeper), store
            self.keeper = None
            try:
                yield store
            finally:
                self.rules, self.keeper = former

    @contextmanager
    def keeping(self, rules: Sequence[AttentionRule], text: Text) -> Iterator[None]:
        """Keep queries and keys of the layers that rules will replace, of rows under one of these prompts."""
        wanted = [replace(rule, action="keep", start=0.0, end=1.0) for rule in rules if rule.action == "replace"]
        if not wanted or self.left <= 0:
            yield
            return
        with self.backbone.attention(wanted) as store:
            self.keeper, self.worth_keeping = store, text
            try:
                yield
            finally:
                self.keeper = self.worth_keeping = None

    def decode(self, latent: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 h w"]:
        """Decode, one image at a time, what was not decoded before; with gradients, all at once."""
        if latent.requires_grad:
            return self.backbone.decode(latent)
        images = []
        for row in latent.split(1):
            found = next((image for known, image in self.decoded if torch.equal(known, row)), None)
            if found is None:
                found = self.backbone.decode(row)
                self.decoded.append((row, found))
            images.append(found)
        return torch.cat(images)

    def predict(
        self, latent: Float[Tensor, "b c y x"], timestep: Num[Tensor, ""], text: Text
    ) -> Float[Tensor, "b c y x"]:
        """Predict the rows that are not known yet."""
        optimized = any(part is not None and part.requires_grad for part in (latent, *text.tensors().values()))
        recording = self.rules is not None and (self.rules.recording and bool(self.rules.layers("record")))
        if recording or (optimized and torch.is_grad_enabled()):
            return self.backbone.predict(latent, timestep, text)
        known = self.predictions.setdefault(float(timestep), [])
        rows = [(part, text[row]) for row, part in enumerate(latent.split(1))]
        found = [next((entry for entry in known if entry.fits(*row)), None) for row in rows]
        sources, layers = self.followed(len(rows))
        free = [source == row for row, source in enumerate(sources)]
        computed = {row for row in range(len(rows)) if found[row] is None or not free[row]}
        for row in sorted(computed):
            entry = found[sources[row]]
            if entry is None or not set(layers) <= entry.attention.keys():
                computed.add(sources[row])
        order = sorted(computed)
        outputs = [entry.output if entry is not None else part for entry, (part, _) in zip(found, rows, strict=True)]
        if order:
            made, attention = self.compute(latent, timestep, text, order, sources, found)
            for place, row in enumerate(order):
                if free[row] and found[row] is not None:
                    continue  # computed for its attention alone: its output stays the one that is known
                outputs[row] = made[place : place + 1]
                if free[row]:
                    entry = Prediction(rows[row][0], _fixed(rows[row][1]), outputs[row], attention.get(row, {}))
                    known.append(entry)
        return torch.cat(outputs)

    def followed(self, rows: int) -> tuple[list[int], list[str]]:
        """Return the row that each row follows at this step, and the layers at which it does."""
        layers = [] if self.rules is None else self.rules.layers("replace")
        return (list(self.rules.sources) if self.rules is not None and layers else list(range(rows))), layers

    def compute(
        self,
        latent: Float[Tensor, "b c y x"],
        timestep: Num[Tensor, ""],
        text: Text,
        order: list[int],
        sources: list[int],
        found: Sequence[Prediction | None],
    ) -> tuple[Float[Tensor, "k c y x"], dict[int, dict[str, QueriesAndKeys]]]:
        """Predict some rows of a batch; returns the outputs, and what the rows attended with where that is kept."""
        if order != list(range(len(latent))):
            latent, text = latent[order], Text.cat([text[row] for row in order])
        keeps = {} if self.worth_keeping is None else {row: place for place, row in enumerate(order)}
        keeps = {row: place for row, place in keeps.items() if self.is_worth_keeping(text[place])}
        with self.lending(order, sources, found):
            if self.keeper is None or not keeps or self.left <= 0:
                return self.backbone.predict(latent, timestep, text), {}
            self.keeper.keeping = True
            made = self.backbone.predict(latent, timestep, text)
            self.keeper.keeping = False
        kept, self.keeper.kept = self.keeper.kept, {}
        return made, {row: self.put_away(kept, place) for row, place in keeps.items()}

    def is_worth_keeping(self, text: Text) -> bool:
        """Whether a row stands under one of the prompts whose attention is kept."""
        tokens = self.worth_keeping.tokens if self.worth_keeping is not None else text.tokens[:0]
        return bool((tokens == text.tokens).flatten(1).all(dim=1).any())

    def put_away(self, kept: dict[str, QueriesAndKeys], place: int) -> dict[str, QueriesAndKeys]:
        """Store what one row attended with, as long as there is room."""
        own = {layer: tuple(part[place : place + 1] for part in parts) for layer, parts in kept.items()}
        size = sum(part.nbytes for parts in own.values() for part in parts)
        if size > self.left:
            return {}
        self.left -= size
        return {layer: (query.cpu().clone(), key.cpu().clone()) for layer, (query, key) in own.items()}

    @contextmanager
    def lending(self, order: list[int], sources: list[int], found: Sequence[Prediction | None]) -> Iterator[None]:
        """Let rows follow others that are not computed with them."""
        store = self.rules
        if store is None or not store.sources or len(order) == len(sources):
            yield
            return
        lenders = [row for row in dict.fromkeys(sources[row] for row in order) if row not in order]
        places = [*order, *lenders]
        entries = [entry for row in lenders if (entry := found[row]) is not None]
        former = store.sources
        store.sources = tuple(places.index(sources[row]) for row in order)
        store.lent = {
            layer: (
                torch.cat([entry.attention[layer][0] for entry in entries]),
                torch.cat([entry.attention[layer][1] for entry in entries]),
            )
            for layer in (entries[0].attention if entries else ())
        }
        try:
            yield
        finally:
            store.sources, store.lent = former, {}


def _equal(one: Text, other: Text) -> bool:
    for first, second in zip(one.tensors().values(), other.tensors().values(), strict=True):
        if first is None or second is None:
            if first is not second:
                return False
        elif not torch.equal(first, second):
            return False
    return True


def _fixed(text: Text) -> Text:
    """Copy a text that an optimizer changes in place."""
    return text.detach() if any(part is not None and part.requires_grad for part in text.tensors().values()) else text
