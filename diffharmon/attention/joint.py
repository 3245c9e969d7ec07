"""Attention rules where image and text stand in one sequence, as in multimodal diffusion transformers.

One softmax runs over both, so its map has four quadrants (arXiv 2508.07519): who asks, image or text, by who answers.
Rules touch what the image asks and answers with, never the text's part, which is unstable (arXiv 2510.17803).
"""

from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as functional
from diffusers.models.embeddings import apply_rotary_emb
from jaxtyping import Float
from torch import Tensor

from diffharmon.attention.processor import Enough, RuleProcessor

Projected = tuple[Tensor, Tensor, Tensor]  # query, key and value, each "b heads n c"


class JointRuleProcessor(RuleProcessor):
    """Computes joint attention as diffusers' processors do, except where an active rule changes it.

    A ``self`` rule that replaces takes the image's queries and keys from the source row; a ``cross`` rule takes its
    queries alone, since the keys of the image-to-text quadrant are the text's. Recorded maps are the image-to-text
    quadrant: they sum to the text's share of the image's attention.
    """

    kinds: ClassVar[tuple[str, ...]] = ("joint",)

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Attend; arguments are diffusers' own.

        ``hidden_states`` is the image's "b q c" and ``encoder_hidden_states`` the text's "b n c"; without the latter,
        ``hidden_states`` is the text's followed by the image's.
        """
        if hidden_states.ndim != 3 or attention_mask is not None:
            raise ValueError(f"{self.site.name}: attention rules work on unmasked transformer attention 'b q c' only")
        whole = encoder_hidden_states is None
        tokens = self.store.text_tokens if encoder_hidden_states is None else encoder_hidden_states.shape[1]
        own = _project(attn, hidden_states, ("to_q", "to_k", "to_v"), (attn.norm_q, attn.norm_k))
        if encoder_hidden_states is None:
            text, image = (_part(own, slice(None, tokens)), _part(own, slice(tokens, None)))
        else:
            names, norms = ("add_q_proj", "add_k_proj", "add_v_proj"), (attn.norm_added_q, attn.norm_added_k)
            text, image = _project(attn, encoder_hidden_states, names, norms), own
        if image_rotary_emb is not None:
            text = _rotated(text, image_rotary_emb, slice(None, tokens))
            image = _rotated(image, image_rotary_emb, slice(tokens, None))
        outputs = self.attend_jointly(image, text)
        of_image, of_text = (part.transpose(1, 2).flatten(2).to(hidden_states.dtype) for part in outputs)
        if whole:
            return torch.cat([of_text, of_image], dim=1)
        of_image = attn.to_out[1](attn.to_out[0](of_image))
        return of_image, (of_text if attn.context_pre_only else attn.to_add_out(of_text))

    def attend_jointly(
        self, image: Projected, text: Projected
    ) -> tuple[Float[Tensor, "b heads q c"], Float[Tensor, "b heads n c"]]:
        """Apply the rules that are active at the store's step; returns what image and text gather."""
        (query, key, value), (text_query, text_key, text_value) = image, text
        cells, tokens, name = query.shape[2], text_query.shape[2], self.site.name
        active = self.active(cells)
        replaced = {rule.kind for rule in active if rule.action == "replace"}
        if self.store.keeping and any(rule.action == "keep" for rule in active):
            self.store.kept[name] = (query, key)
        if replaced:
            query, followed = self.store.followed(name, query, key)
            key = followed if "self" in replaced else key
        keys, values = torch.cat([text_key, key], dim=2), torch.cat([text_value, value], dim=2)
        if self.store.recording and any(rule.action == "record" for rule in active):
            # A value of 1 at one text token makes the fused kernel give that token's probability.
            marks = torch.eye(tokens, device=query.device).expand(*query.shape[:2], -1, -1)
            marks = functional.pad(marks, (0, 0, 0, cells))
            self.store.recorded[name] = functional.scaled_dot_product_attention(query.float(), keys.float(), marks)
            if name == self.store.last:
                raise Enough
        gathered = functional.scaled_dot_product_attention(torch.cat([text_query, query], dim=2), keys, values)
        return gathered[:, :, tokens:], gathered[:, :, :tokens]


def _project(attn: Any, states: Float[Tensor, "b n c"], names: tuple[str, ...], norms: tuple[Any, Any]) -> Projected:
    """Project states to queries, keys and values by head, the first two normalised where the layer does so."""
    query, key, value = (getattr(attn, name)(states).unflatten(-1, (attn.heads, -1)).transpose(1, 2) for name in names)
    query, key = (part if norm is None else norm(part) for part, norm in zip((query, key), norms, strict=True))
    return query, key, value


def _part(projected: Projected, tokens: slice) -> Projected:
    """Return some tokens' queries, keys and values."""
    query, key, value = (part[:, :, tokens] for part in projected)
    return query, key, value


def _rotated(projected: Projected, rotary: tuple[Tensor, Tensor], tokens: slice) -> Projected:
    """Rotate queries and keys by the positions of some tokens of the sequence."""
    query, key, value = projected
    places: Any = (rotary[0][tokens], rotary[1][tokens])
    query, key = (cast(Tensor, apply_rotary_emb(part, places, sequence_dim=2)) for part in (query, key))
    return query, key, value
