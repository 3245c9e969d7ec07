"""One call of a network for the rows of several images, and one backward pass through it."""

from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from diffharmon.attention.control import installed
from diffharmon.attention.processor import Enough, MapStore, QueriesAndKeys
from diffharmon.lockstep.lanes import Lane
from diffharmon.types import AttentionRule, Text


@dataclass(frozen=True)
class Rules:
    """Attention rules of one lane, and the store that they act through."""

    rules: tuple[AttentionRule, ...]
    store: MapStore

    @property
    def key(self) -> Hashable:
        """What has to be equal for the rules of two lanes to act in one call."""
        store = self.store
        lent = tuple(store.lent)
        return self.rules, store.steps, store.step, store.recording, store.keeping, store.last, store.text_tokens, lent


@dataclass(frozen=True)
class Prediction:
    """What one lane gets of a call.

    Attributes:
        output: Its rows; None where the call ended after the last recorded map.
        recorded: Its rows of the recorded maps, by layer, for each store that acted.
        graph: What a backward pass goes through; None without gradients.
        place: The lane's place in the call.
    """

    output: Float[Tensor, "b c y x"] | None
    recorded: tuple[Mapping[str, Tensor], ...] = ()
    graph: "Graph | None" = None
    place: int = 0

    def flat(self) -> list[Tensor]:
        """Return all tensors in one list."""
        first = [] if self.output is None else [self.output]
        return [*first, *(maps for layers in self.recorded for maps in layers.values())]

    def like(self, values: Sequence[Tensor]) -> "Prediction":
        """Return this prediction with other tensors, in the order of ``flat``."""
        left = iter(values)
        output = None if self.output is None else next(left)
        return Prediction(output, tuple({name: next(left) for name in layers} for layers in self.recorded))


@dataclass
class Graph:
    """What the backward passes of the lanes of one call share.

    Attributes:
        lanes: Who took part, by place.
        rows: Their numbers of rows.
        given: What each gave, as leaves.
        made: What came out, for all rows.
        network: The network.
        stores: The attention rules that acted.
        open: Places from which no backward pass was asked for yet.
        error: What went wrong in the backward pass.
    """

    lanes: Sequence[Lane]
    rows: Sequence[int]
    given: Sequence[Sequence[Tensor]]
    made: Sequence[Tensor]
    network: Any
    stores: Sequence[MapStore]
    open: set[int] = field(default_factory=set)
    error: Exception | None = None


@dataclass
class PredictionCall:
    """A prediction that one lane asks for.

    Attributes:
        backbone: The backbone that the lanes share.
        latent: Noisy latents.
        timestep: One of the schedule's.
        text: A row for each latent.
        rules: Attention rules that act, from the outermost ``with`` to the innermost.
        lane: Who asks.
        gradient: Whether gradients flow back.
        made: What came out, once it is made.
    """

    backbone: Any
    latent: Float[Tensor, "b c y x"]
    timestep: Num[Tensor, ""]
    text: Text
    rules: tuple[Rules, ...]
    lane: Lane
    gradient: bool = field(init=False)
    made: Prediction | None = None

    def __post_init__(self) -> None:
        self.gradient = torch.is_grad_enabled() and any(values.requires_grad for values in self.given())

    @property
    def rows(self) -> int:
        """Count the rows."""
        return len(self.latent)

    @property
    def key(self) -> Hashable:
        """Calls of one backbone at one timestep, for latents of one size, under the same rules fit together."""
        shapes = tuple((name, None if v is None else v.shape[1:]) for name, v in self.text.tensors().items())
        time, size = float(self.timestep), self.latent.shape[1:]
        return "predict", id(self.backbone), time, size, shapes, self.gradient, tuple(rules.key for rules in self.rules)

    def given(self) -> list[Tensor]:
        """Return all tensors that go in."""
        return [self.latent, *(values for values in self.text.tensors().values() if values is not None)]

    def together(self, calls: Sequence["PredictionCall"]) -> list[Prediction]:
        """Predict the rows of all calls at once."""
        given = [[v.detach().requires_grad_(v.requires_grad and self.gradient) for v in c.given()] for c in calls]
        texts = [with_tensors(call.text, values[1:]) for call, values in zip(calls, given, strict=True)]
        rows = [call.rows for call in calls]
        levels = list(zip(*([rules.store for rules in call.rules] for call in calls), strict=True))
        stores, network = [joined(level, rows) for level in levels], self.backbone.network
        output: Tensor | None = None
        with torch.set_grad_enabled(self.gradient), installed(network, stores) if stores else nullcontext():
            latent, text = torch.cat([values[0] for values in given]), Text.cat(texts)
            with suppress(Enough):
                output = self.backbone.predict(latent, self.timestep, text)
        made = Prediction(output, tuple(store.recorded for store in stores))
        graph = Graph([c.lane for c in calls], rows, given, made.flat(), network, stores) if self.gradient else None
        found = []
        for place, (start, stop) in enumerate(ranges(rows)):
            for own, store in zip((level[place] for level in levels), stores, strict=True):
                own.seen_queries |= store.seen_queries
                own.kept |= {name: (q[start:stop], k[start:stop]) for name, (q, k) in store.kept.items()}
            part = made.like([values[start:stop].detach() for values in made.flat()])
            found.append(Prediction(part.output, part.recorded, graph, place))
        if graph is not None:
            graph.open = set(range(len(calls)))
        return found


@dataclass(frozen=True)
class BackwardCall:
    """A backward pass that one lane asks for through a call that it had a part in.

    Attributes:
        graph: The call.
        place: The lane's place in it.
        gradients: Gradients of what the lane got; None where they are zero.
    """

    graph: Graph
    place: int
    gradients: tuple[Tensor | None, ...]

    @property
    def rows(self) -> int:
        """Count the rows."""
        return self.graph.rows[self.place]

    @property
    def key(self) -> Hashable:
        """Backward passes through one call fit together."""
        return "backward", id(self.graph)

    def together(self, calls: Sequence["BackwardCall"]) -> list[list[Tensor | None]]:
        """Send the gradients of several lanes back at once; returns those of what each gave."""
        graph, asked = self.graph, {call.place: call for call in calls}
        if graph.error is not None:
            raise graph.error
        graph.open -= asked.keys()
        again = any(not graph.lanes[place].ended for place in graph.open)
        outputs, gradients = [], []
        for number, made in enumerate(graph.made):
            parts = [asked[place].gradients[number] if place in asked else None for place in range(len(graph.rows))]
            if made.requires_grad and any(part is not None for part in parts):
                empty = [made.new_zeros(rows, *made.shape[1:]) for rows in graph.rows]
                outputs.append(made)
                gradients.append(torch.cat([e if p is None else p for p, e in zip(parts, empty, strict=True)]))
        leaves = [value for call in calls for value in graph.given[call.place] if value.requires_grad]
        # Checkpointed layers are run again here, under the same rules.
        checkpointed = bool(graph.stores) and getattr(graph.network, "is_gradient_checkpointing", False)
        try:
            with installed(graph.network, graph.stores) if checkpointed else nullcontext():
                found = torch.autograd.grad(outputs, leaves, gradients, retain_graph=again, allow_unused=True)
        except Exception as error:
            graph.error = error
            raise
        left = iter(found)
        return [[next(left) if v.requires_grad else None for v in graph.given[call.place]] for call in calls]


class SharedRows(torch.autograd.Function):
    """One lane's rows of a shared call, differentiable: the backward pass is shared as well."""

    @staticmethod
    def forward(ctx: Any, lane: Lane, call: PredictionCall, *given: Tensor) -> tuple[Tensor, ...]:
        """Return the rows of what comes out."""
        ctx.set_materialize_grads(False)
        ctx.lane, call.made = lane, lane.ask(call)
        ctx.graph, ctx.place = call.made.graph, call.made.place
        return tuple(values.clone() for values in call.made.flat())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        """Return the gradients of what went in."""
        return None, None, *ctx.lane.ask(BackwardCall(ctx.graph, ctx.place, gradients))


def with_tensors(text: Text, values: Sequence[Tensor]) -> Text:
    """Return a text with other tensors, in the order of its fields."""
    left = iter(values)
    return text.map(lambda _: next(left))


def ranges(rows: Sequence[int]) -> list[tuple[int, int]]:
    """Return where each part's rows begin and end."""
    ends = list(accumulate(rows))
    return [(end - count, end) for end, count in zip(ends, rows, strict=True)]


def joined(stores: Sequence[MapStore], rows: Sequence[int]) -> MapStore:
    """Return one store for the rows of several calls, the rows that are lent after those of all.

    Args:
        stores: That of each call, which agree on everything but their rows.
        rows: Rows of each call.

    Raises:
        ValueError: A store that replaces attention names another number of rows than its call has.
    """
    first, total = stores[0], sum(rows)
    lent_rows = [next(iter(store.lent.values()))[0].shape[0] if store.lent else 0 for store in stores]
    sources: list[int] = []
    for store, (start, stop), (after, _) in zip(stores, ranges(rows), ranges(lent_rows), strict=True):
        count, own = stop - start, store.sources
        if len(own) != count:
            if store.layers("replace"):
                raise ValueError(f"attention rules name the source rows of {len(own)} rows, the batch has {count}")
            own = tuple(range(count))
        sources += [start + row if row < count else total + after + row - count for row in own]
    lent: dict[str, QueriesAndKeys] = {
        layer: (torch.cat([s.lent[layer][0] for s in stores]), torch.cat([s.lent[layer][1] for s in stores]))
        for layer in first.lent
    }
    return MapStore(
        steps=first.steps,
        sources=tuple(sources),
        step=first.step,
        rules=first.rules,
        keeping=first.keeping,
        lent=lent,
        recording=first.recording,
        last=first.last,
        text_tokens=first.text_tokens,
    )
