"""Words and tokens: where each condition word of a prompt sits, and replaced input embeddings inside a ``with``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import CLIPTextEmbeddings

from diffharmon.errors import InputError
from diffharmon.types import Description, TokenEdit, WordSpans


def tokenize(tokenizer: Any, prompts: Sequence[str], length: int | None = None) -> Int[Tensor, "b n"]:
    """Token ids padded to a length; None is the model's own.

    Raises:
        InputError: A prompt is too long; nothing is cut off silently.
    """
    length = tokenizer.model_max_length if length is None else length
    for prompt in prompts:
        count = len(tokenizer(prompt).input_ids)
        if count > length:
            raise InputError(f"prompt {prompt!r} has {count} tokens, expected at most {length}")
    return tokenizer(list(prompts), padding="max_length", max_length=length, return_tensors="pt").input_ids


def word_positions(tokenizer: Any, prompt: str, start: int) -> dict[str, tuple[int, ...]]:
    """Token positions of each word of ``prompt`` that begins at character ``start`` or later.

    Words are what white space separates; a word that the tokenizer splits has several positions, and a word that comes
    twice has the positions of both.
    """
    found = tokenizer(prompt, return_offsets_mapping=True).offset_mapping
    # T5's tokens may hold the white space before them.
    offsets = [(b - len(prompt[a:b].lstrip()), b) for a, b in found]
    positions: dict[str, tuple[int, ...]] = {}
    cursor = start
    for word in prompt[start:].split():
        begin = prompt.index(word, cursor)
        cursor = begin + len(word)
        inside = tuple(p for p, (a, b) in enumerate(offsets) if b > a and a >= begin and b <= cursor)
        if not inside:
            raise InputError(f"word {word!r} of prompt {prompt!r} has no token of its own in this model's vocabulary")
        positions[word] = positions.get(word, ()) + inside
    return positions


def embedding_layer(text_encoder: Any) -> nn.Module:
    """Find the layer that gives input embeddings: CLIP's of tokens and positions, T5's of tokens alone."""
    clip = (module for module in text_encoder.modules() if isinstance(module, CLIPTextEmbeddings))
    found = next(clip, None)
    return text_encoder.encoder.embed_tokens if found is None else found


def word_spans(tokenizer: Any, description: Description) -> WordSpans:
    """Find the condition words' tokens in both prompts, the object's own words left out."""
    start = len(description.object)
    return WordSpans(
        word_positions(tokenizer, description.foreground_prompt, start),
        word_positions(tokenizer, description.background_prompt, start),
    )


@contextmanager
def edited_tokens(text_encoder: Any, edits: Sequence[TokenEdit | None]) -> Iterator[None]:
    """Replace input embeddings of some positions inside a ``with``; gradients reach the new vectors.

    Args:
        text_encoder: A CLIP or T5 encoder of transformers.
        edits: One for each prompt of the batch, or None to leave it.
    """

    def replace(module: nn.Module, args: object, output: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        rows = []
        for row, edit in zip(output, edits, strict=True):
            if edit is not None and edit.positions:
                index = torch.tensor(edit.positions, device=row.device)
                row = row.index_copy(0, index, edit.vectors.to(row.dtype))
            rows.append(row)
        return torch.stack(rows)

    handle = embedding_layer(text_encoder).register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def penultimate(
    text_encoder: Any, ids: Int[Tensor, "b n"], edits: Sequence[TokenEdit | None]
) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b p"] | None]:
    """Return the states before a CLIP text encoder's last layer, and its projected pooled vector where it has one.

    SDXL (arXiv 2307.01952, section 2.1) and Stable Diffusion 3 read these states.
    """
    with edited_tokens(text_encoder, tuple(edits) or (None,) * len(ids)):
        output = text_encoder(ids, output_hidden_states=True)
    return output.hidden_states[-2], getattr(output, "text_embeds", None)


def part_of(edit: TokenEdit | None, start: int, width: int) -> TokenEdit | None:
    """Return the part of an edit's vectors that is one encoder's: ``width`` numbers from ``start`` on."""
    return None if edit is None else TokenEdit(edit.positions, edit.vectors[:, start : start + width])


def shifted(edit: TokenEdit | None, start: int, tokens: int) -> TokenEdit | None:
    """Return the part of an edit that is at ``tokens`` positions from ``start`` on, counted from there."""
    if edit is None:
        return None
    chosen = [index for index, place in enumerate(edit.positions) if start <= place < start + tokens]
    return TokenEdit(tuple(edit.positions[index] - start for index in chosen), edit.vectors[chosen])
