"""Any Stable Diffusion 3 or 3.5 model of diffusers as a backbone (arXiv 2403.03206)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as functional
from annotated_types import Ge, Le
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from jaxtyping import Float, Num
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from diffharmon.backbone.flow_compatibility import check_transformer, flow_settings
from diffharmon.backbone.latent import DTYPES, LatentModel
from diffharmon.backbone.loading import (
    check_network,
    explained,
    hub_settings,
    load_autoencoder,
    load_clip,
    load_t5,
    load_transformer,
    transformer_settings,
)
from diffharmon.backbone.lora import check_lora, merge_lora
from diffharmon.backbone.offload import Offload
from diffharmon.backbone.single_file import diffusers_folder
from diffharmon.backbone.tokens import (
    edited_tokens,
    embedding_layer,
    part_of,
    penultimate,
    shifted,
    tokenize,
    word_positions,
)
from diffharmon.errors import ModelError
from diffharmon.types import Capabilities, Description, Text, TokenEdit, WordSpans

T5_TOKENS = 256  # as the pipeline asks for; the encoder itself would take more


class StableDiffusion3(LatentModel):
    """A frozen Stable Diffusion 3 model: a rectified flow whose transformer attends to image and text jointly.

    The text is one sequence of two parts: both CLIP encoders side by side, padded to the width of T5, then T5. A word
    stands in both parts, and refinement moves it in all three encoders. The autoencoder and CLIP are in float32, the
    network and T5 in ``dtype``.

    Args:
        path: A folder in diffusers' layout, a hub id, or a single ``.safetensors`` file.
        revision: Commit, branch or tag of the hub repository.
        variant: Weight-file variant such as ``fp16``.
        size: Side in pixels of the square with as many pixels as the canvas.
        canvas: ``fit`` keeps the photo's aspect; ``square`` squashes every photo to ``size`` x ``size``.
        dtype: Precision of the network and of T5.
        t5: Whether to load T5; without it zeros stand in its part, as the model was trained for.
        gradient_checkpointing: Trade time for memory when gradients flow through network and autoencoder.
        config: Folder or hub id that a single file's configuration is read from; None lets diffusers choose one.
        lora: LoRA files, folders or hub ids whose weights are added to the model's.
        lora_weights: How much of each is added; empty for all of each.
        offload: Weights that rest in the machine's memory and come to an accelerator for their calls only: the text
            encoders', or ``all`` but the autoencoder's, which is slow.

    Raises:
        ModelError: The model is missing, unreachable or not a Stable Diffusion 3 model.
        ConfigError: ``size`` does not fit the model.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(variance_preserving=False, rectified_flow=True)
    noise_schedule: Mapping[str, Any]

    def __init__(
        self,
        path: str,
        revision: str | None = None,
        variant: str | None = None,
        size: Annotated[int, Ge(8), Le(4096)] = 1024,
        canvas: Literal["square", "fit"] = "fit",
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        t5: bool = True,
        gradient_checkpointing: bool = False,
        config: str | None = None,
        lora: Sequence[str] = (),
        lora_weights: Sequence[float] = (),
        offload: Offload = "none",
    ) -> None:
        super().__init__()
        check_lora(lora, lora_weights)
        path = diffusers_folder(path, config, StableDiffusion3Pipeline)
        hub = hub_settings(path, revision)
        check_network(path, "transformer")
        with explained(path, revision):
            transformer, vae, scheduler = transformer_settings(path, hub)
            check_transformer(path, "SD3Transformer2DModel", transformer, vae)
            self.noise_schedule = flow_settings(path, scheduler, "linspace")
        self.cell = 2 ** (len(vae["block_out_channels"]) - 1)
        self.resolution_multiple = self.cell * transformer["patch_size"]
        self.longest_side = self.resolution_multiple * transformer["pos_embed_max_size"]
        self.size, self.fit = size, canvas == "fit"
        self.check_size(path)
        self.width: int = transformer["joint_attention_dim"]
        with explained(path, revision):
            self.network = load_transformer(SD3Transformer2DModel, path, hub, variant, DTYPES[dtype])
            self.vae = load_autoencoder(path, hub, variant)
            self.tokenizer, self.text_encoder = load_clip(path, hub, variant, CLIPTextModelWithProjection)
            self.tokenizer_2, self.text_encoder_2 = load_clip(path, hub, variant, CLIPTextModelWithProjection, "_2")
            self.tokenizer_3, self.text_encoder_3 = load_t5(path, hub, variant, DTYPES[dtype], "_3", t5)
        if self.tokenizer.get_vocab() != self.tokenizer_2.get_vocab():
            raise ModelError(f"{path}: its two CLIP tokenizers split words differently; expected those of SD3")
        self.clip_tokens: int = self.tokenizer.model_max_length
        self.t5_tokens = min(T5_TOKENS, self.tokenizer_3.model_max_length)
        texts = ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")
        merge_lora(StableDiffusion3Pipeline, self, texts, lora, lora_weights)
        self.freeze(gradient_checkpointing, offload)

    def canvas_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width in pixels at which the model works on a photo of this size."""
        rows, columns = super().canvas_size(height, width)
        return min(rows, self.longest_side), min(columns, self.longest_side)

    def embed(self, prompts: Sequence[str], edits: Sequence[TokenEdit | None] = ()) -> Text:
        """Embed prompts, with some of their input embeddings replaced; gradients reach the edits.

        Raises:
            InputError: A prompt has more tokens than the model takes.
        """
        narrow_width = self.text_encoder.config.hidden_size
        for_clip = [shifted(edit, 0, self.clip_tokens) for edit in edits]
        for_t5 = [shifted(edit, self.clip_tokens, self.t5_tokens) for edit in edits]
        first = [part_of(edit, 0, narrow_width) for edit in for_clip]
        second = [part_of(edit, narrow_width, self.text_encoder_2.config.hidden_size) for edit in for_clip]
        narrow, one = penultimate(self.text_encoder, tokenize(self.tokenizer, prompts).to(self.device), first)
        wide, other = penultimate(self.text_encoder_2, tokenize(self.tokenizer_2, prompts).to(self.device), second)
        assert one is not None
        assert other is not None
        clip = self.padded(torch.cat([narrow, wide], dim=-1))
        return Text(torch.cat([clip, self.embed_t5(prompts, for_t5)], dim=1), torch.cat([one, other], dim=-1))

    def embed_t5(self, prompts: Sequence[str], edits: Sequence[TokenEdit | None]) -> Float[Tensor, "b n d"]:
        """Embed prompts by T5 alone, in float32."""
        ids = tokenize(self.tokenizer_3, prompts, self.t5_tokens).to(self.device)
        if self.text_encoder_3 is None:
            return torch.zeros(*ids.shape, self.width, device=self.device)
        parts = [part_of(edit, 0, self.text_encoder_3.config.d_model) for edit in edits]
        with edited_tokens(self.text_encoder_3, tuple(parts) or (None,) * len(prompts)):
            return self.text_encoder_3(ids).last_hidden_state.float()

    def padded(self, vectors: Float[Tensor, "... c"]) -> Float[Tensor, "... d"]:
        """Append zeros up to the width of the transformer's text."""
        return functional.pad(vectors, (0, self.width - vectors.shape[-1]))

    def input_embeddings(self, prompt: str, positions: Sequence[int]) -> Float[Tensor, "k d"]:
        """CLIP's token plus position embeddings side by side, then T5's token embeddings, at ``positions``."""
        pairs = ((self.tokenizer, self.text_encoder), (self.tokenizer_2, self.text_encoder_2))
        clip = [
            embedding_layer(encoder)(tokenize(tokenizer, [prompt]).to(self.device))[0] for tokenizer, encoder in pairs
        ]
        ids = tokenize(self.tokenizer_3, [prompt], self.t5_tokens).to(self.device)
        if self.text_encoder_3 is None:
            t5 = torch.zeros(self.t5_tokens, self.width, device=self.device)
        else:
            t5 = self.padded(embedding_layer(self.text_encoder_3)(ids)[0].float())
        return torch.cat([self.padded(torch.cat(clip, dim=-1)), t5])[list(positions)]

    def words(self, description: Description) -> WordSpans:
        """Find the condition words' tokens in both prompts and both parts, the object's own words left out."""
        return WordSpans(
            self.positions(description.foreground_prompt, len(description.object)),
            self.positions(description.background_prompt, len(description.object)),
            ((0, self.clip_tokens), (self.clip_tokens, self.clip_tokens + self.t5_tokens)),
        )

    def positions(self, prompt: str, start: int) -> dict[str, tuple[int, ...]]:
        """Find the tokens of each word that begins at a character or later, in CLIP's part and, if loaded, T5's."""
        clip = word_positions(self.tokenizer, prompt, start)
        if self.text_encoder_3 is None:
            return clip
        t5 = word_positions(self.tokenizer_3, prompt, start)
        return {word: (*places, *(self.clip_tokens + place for place in t5[word])) for word, places in clip.items()}

    def predict(
        self, latent: Float[Tensor, "b c y x"], timestep: Num[Tensor, ""], text: Text
    ) -> Float[Tensor, "b c y x"]:
        """Predict the velocity from image to noise at a timestep; in float32."""
        dtype, pooled = self.dtype, text.pooled
        assert pooled is not None
        output = self.network(
            hidden_states=latent.to(dtype),
            timestep=timestep.expand(len(latent)),
            encoder_hidden_states=text.tokens.to(dtype),
            pooled_projections=pooled.to(dtype),
        )
        return output.sample.float()
