"""An attention processor that lets some batch rows attend as others do, and records maps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from diffharmon.types import AttentionRule, Site

QueriesAndKeys = tuple[Tensor, Tensor]  # "b heads q c" and "b heads n c", which differ from layer to layer


class Enough(Exception):
    """Ends a forward pass of which only the maps count, after the last layer that records one."""


@dataclass
class MapStore:
    """The running record of one ``with`` block: the loop sets ``step``, processors write maps by layer.

    A layer that is called again (a new step, or gradient checkpointing) overwrites what it wrote: nothing adds up.

    Attributes:
        steps: Number of sampling steps, which the rules' fractions refer to.
        sources: For each row of the batch the row that it follows; those after the batch's own are ``lent``.
        step: The step under way.
        rules: Rules by layer.
        recorded: The last attention map of each layer that records.
        seen_queries: Numbers of queries of the layers that rules looked at.
        keeping: Whether layers with a ``keep`` rule write what they attend with into ``kept``.
        kept: Queries and keys by layer.
        lent: Queries and keys by layer of rows that are followed without being in the batch.
        recording: Whether ``record`` rules act.
        last: The layer after which a pass that only records ends; empty for none.
        text_tokens: Number of text tokens before the image's, in layers that are given both as one sequence.
    """

    steps: int
    sources: tuple[int, ...] = ()
    step: int = 0
    rules: Mapping[str, tuple[AttentionRule, ...]] = field(default_factory=dict)
    recorded: dict[str, Float[Tensor, "b heads q n"]] = field(default_factory=dict)
    seen_queries: set[int] = field(default_factory=set)
    keeping: bool = False
    kept: dict[str, QueriesAndKeys] = field(default_factory=dict)
    lent: Mapping[str, QueriesAndKeys] = field(default_factory=dict)
    recording: bool = True
    last: str = ""
    text_tokens: int = 0

    def observe(self, forward: Callable[[], object], whole: bool = False) -> None:
        """Run a forward pass of which only the maps count; from the second one on it ends after the last map.

        Args:
            forward: The pass.
            whole: Run it to its end, as gradient checkpointing needs, which runs parts of it again in the backward
                pass; what is run again has to record as well, so layers go on recording.
        """
        self.recording = True
        try:
            forward()
        except Enough:
            pass
        finally:
            self.recording = whole
        self.last = "" if whole else next(reversed(self.recorded), "")

    def layers(self, action: str) -> list[str]:
        """List the layers at which rules of a kind may act at this step."""
        return [
            name
            for name, rules in self.rules.items()
            if any(rule.action == action and rule.active(self.step, self.steps) for rule in rules)
        ]

    def followed(self, layer: str, query: Tensor, key: Tensor) -> QueriesAndKeys:
        """Return queries and keys of the row that each row follows."""
        if layer in self.lent:
            queries, keys = self.lent[layer]
            query, key = torch.cat([query, queries.to(query)]), torch.cat([key, keys.to(key)])
        if self.sources == tuple(range(len(query))):
            return query, key
        query, key = (torch.cat([values[row : row + 1] for row in self.sources]) for values in (query, key))
        return query, key

    def maps(self, canvas: tuple[int, int], cells: int = 256) -> Float[Tensor, "b rows columns n"]:
        """Return the recorded maps, the mean over all heads of all layers with equal weight.

        Where layers of several resolutions recorded, those nearest to ``cells`` cells are taken.

        Args:
            canvas: Height and width of the latents that the network was given.
            cells: Number of attention cells, for example 256 for 16 x 16.

        Raises:
            ValueError: No layer recorded, because none has the number of queries that the rule asked for.
        """
        if not self.recorded:
            found = sorted(grid(queries, canvas) for queries in self.seen_queries)
            grids = ", ".join(f"{rows} x {columns}" for rows, columns in found)
            raise ValueError(f"no attention map was recorded: the layers seen have {grids} cells")
        nearest = min((maps.shape[2] for maps in self.recorded.values()), key=lambda q: abs(q**0.5 - cells**0.5))
        chosen = [maps for maps in self.recorded.values() if maps.shape[2] == nearest]
        return torch.cat(chosen, dim=1).mean(dim=1).unflatten(1, grid(nearest, canvas))


def grid(queries: int, canvas: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of an attention layer's queries over latents of height and width ``canvas``.

    Raises:
        ValueError: The queries do not form a grid of the canvas's aspect.
    """
    height, width = canvas
    rows = round((queries * height / width) ** 0.5)
    columns = queries // max(rows, 1)
    if rows * columns != queries:
        raise ValueError(f"{queries} attention queries form no grid over {height} x {width} latent cells")
    return rows, columns


class RuleProcessor:
    """Computes attention as diffusers' ``AttnProcessor2_0`` does, except where an active rule changes it.

    Replacing a whole map needs only the source row's queries and keys, so the fused kernel stays in use; probabilities
    are written out only where they are recorded.
    """

    kinds: ClassVar[tuple[str, ...]] = ("self", "cross")

    def __init__(self, site: Site, rules: Sequence[AttentionRule], store: MapStore) -> None:
        if site.kind not in self.kinds:
            raise ValueError(f"{site.name}: expected {' or '.join(self.kinds)} attention, got {site.kind} attention")
        self.site = site
        self.rules = tuple(rules)
        self.store = store

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Attend; arguments are diffusers' own, ``hidden_states`` is "b q c" in a UNet's transformer blocks."""
        if hidden_states.ndim != 3 or attention_mask is not None or attn.spatial_norm is not None:
            raise ValueError(f"{self.site.name}: attention rules work on unmasked transformer attention 'b q c' only")
        residual = hidden_states
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)
        query, key, value = (
            projected.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projected in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        query = query if attn.norm_q is None else attn.norm_q(query)
        key = key if attn.norm_k is None else attn.norm_k(key)
        output = self.attend(query, key, value, attn.scale).transpose(1, 2).flatten(2).to(hidden_states.dtype)
        output = attn.to_out[1](attn.to_out[0](output))
        output = output + residual if attn.residual_connection else output
        return output / attn.rescale_output_factor

    def active(self, queries: int) -> list[AttentionRule]:
        """List the rules that act at the store's step on this many queries."""
        self.store.seen_queries.add(queries)
        step, steps = self.store.step, self.store.steps
        return [rule for rule in self.rules if rule.active(step, steps) and rule.queries in (0, queries)]

    def attend(
        self,
        query: Float[Tensor, "b heads q c"],
        key: Float[Tensor, "b heads n c"],
        value: Float[Tensor, "b heads n c"],
        scale: float,
    ) -> Float[Tensor, "b heads q c"]:
        """Apply the rules that are active at the store's step."""
        actions, name = {rule.action for rule in self.active(query.shape[2])}, self.site.name
        if "keep" in actions and self.store.keeping:
            self.store.kept[name] = (query, key)
        if "replace" in actions:
            query, key = self.store.followed(name, query, key)
        if "record" in actions and self.store.recording:
            maps = (query.float() @ key.float().transpose(-1, -2) * scale).softmax(dim=-1)
            self.store.recorded[name] = maps
            if name == self.store.last:
                raise Enough
            return maps.to(value.dtype) @ value
        return functional.scaled_dot_product_attention(query, key, value, scale=scale)
