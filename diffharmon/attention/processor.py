"""An attention processor that lets some batch rows attend as others do, and records maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from diffharmon.types import AttentionRule, Site


@dataclass
class MapStore:
    """The running record of one ``with`` block: the loop sets ``step``, processors write maps by layer.

    A layer that is called again (a new step, or gradient checkpointing) overwrites what it wrote: nothing adds up.
    """

    steps: int
    sources: tuple[int, ...] = ()
    step: int = 0
    recorded: dict[str, Float[Tensor, "b heads q n"]] = field(default_factory=dict)
    seen_queries: set[int] = field(default_factory=set)

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

    def __init__(self, site: Site, rules: Sequence[AttentionRule], store: MapStore) -> None:
        if site.kind not in ("self", "cross"):
            raise ValueError(f"{site.name}: expected self- or cross-attention for a rule, got {site.kind} attention")
        self.site = site
        self.rules = tuple(rules)
        self.store = store

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
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

    def attend(
        self,
        query: Float[Tensor, "b heads q c"],
        key: Float[Tensor, "b heads n c"],
        value: Float[Tensor, "b heads n c"],
        scale: float,
    ) -> Float[Tensor, "b heads q c"]:
        """Apply the rules that are active at the store's step."""
        queries = query.shape[2]
        self.store.seen_queries.add(queries)
        active = [
            rule
            for rule in self.rules
            if rule.active(self.store.step, self.store.steps) and rule.queries in (0, queries)
        ]
        if any(rule.action == "replace" for rule in active):
            rows = torch.tensor(self.store.sources, device=query.device)
            query, key = query.index_select(0, rows), key.index_select(0, rows)
        if any(rule.action == "record" for rule in active):
            maps = (query.float() @ key.float().transpose(-1, -2) * scale).softmax(dim=-1)
            self.store.recorded[self.site.name] = maps
            return maps.to(value.dtype) @ value
        return functional.scaled_dot_product_attention(query, key, value, scale=scale)
