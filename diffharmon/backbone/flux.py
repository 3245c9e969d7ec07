"""Any FLUX.1 text-to-image model of diffusers as a backbone (arXiv 2506.15742, section 2)."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from diffusers import FluxPipeline, FluxTransformer2DModel
from jaxtyping import Float, Num
from torch import Tensor
from transformers import CLIPTextModel

from diffharmon.attention.control import attention_control
from diffharmon.attention.processor import MapStore
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
from diffharmon.backbone.tokens import edited_tokens, embedding_layer, tokenize, word_spans
from diffharmon.types import AttentionRule, Capabilities, Description, Text, TokenEdit, WordSpans

PATCH = 2  # latent cells a side that are packed into one of the transformer's


class Flux(LatentModel):
    """A frozen FLUX.1 model: a rectified flow with distilled guidance, so that it knows no unconditional prompt.

    The words are T5's tokens; CLIP's pooled vector is the whole prompt's and is not refined. The autoencoder and CLIP
    are in float32, network and T5 in ``dtype``.

    Args:
        path: A folder in diffusers' layout, a hub id, or a single ``.safetensors`` file.
        revision: Commit, branch or tag of the hub repository.
        variant: Weight-file variant such as ``fp16``.
        size: Side in pixels of the square with as many pixels as the canvas.
        canvas: ``fit`` keeps the photo's aspect; ``square`` squashes every photo to ``size`` x ``size``.
        dtype: Precision of the network and of T5.
        embedded_guidance: The guidance scale that a guidance-distilled network takes as input, in inversion and edit
            alike; 1 is the plain flow.
        gradient_checkpointing: Trade time for memory when gradients flow through network and autoencoder.
        config: Folder or hub id that a single file's configuration is read from; None lets diffusers choose one.
        lora: LoRA files, folders or hub ids whose weights are added to the model's.
        lora_weights: How much of each is added; empty for all of each.
        offload: Weights that rest in the machine's memory and come to an accelerator for their calls only: the text
            encoders', or ``all`` but the autoencoder's, which is slow.

    Raises:
        ModelError: The model is missing, unreachable or not a FLUX.1 model.
        ConfigError: ``size`` does not fit the model.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        unconditional=False, negative_prompt=False, variance_preserving=False, rectified_flow=True
    )
    noise_schedule: Mapping[str, Any]

    def __init__(
        self,
        path: str,
        revision: str | None = None,
        variant: str | None = None,
        size: Annotated[int, Ge(8), Le(4096)] = 1024,
        canvas: Literal["square", "fit"] = "fit",
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        embedded_guidance: Annotated[float, Ge(0), Le(100)] = 1.0,
        gradient_checkpointing: bool = False,
        config: str | None = None,
        lora: Sequence[str] = (),
        lora_weights: Sequence[float] = (),
        offload: Offload = "none",
    ) -> None:
        super().__init__()
        check_lora(lora, lora_weights)
        path = diffusers_folder(path, config, FluxPipeline)
        hub = hub_settings(path, revision)
        check_network(path, "transformer")
        with explained(path, revision):
            transformer, vae, scheduler = transformer_settings(path, hub)
            check_transformer(path, "FluxTransformer2DModel", transformer, vae, PATCH**2)
        self.cell = 2 ** (len(vae["block_out_channels"]) - 1)
        self.resolution_multiple = self.cell * PATCH
        self.size, self.fit = size, canvas == "fit"
        self.check_size(path)
        self.noise_schedule = flow_settings(path, scheduler, "trailing", (size // self.resolution_multiple) ** 2)
        self.embedded_guidance = embedded_guidance
        with explained(path, revision):
            self.network = load_transformer(FluxTransformer2DModel, path, hub, variant, DTYPES[dtype])
            self.vae = load_autoencoder(path, hub, variant)
            self.tokenizer, self.text_encoder = load_clip(path, hub, variant, CLIPTextModel)
            self.tokenizer_2, self.text_encoder_2 = load_t5(path, hub, variant, DTYPES[dtype], "_2")
        self.tokens: int = self.tokenizer_2.model_max_length
        texts = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
        merge_lora(FluxPipeline, self, texts, lora, lora_weights)
        self.freeze(gradient_checkpointing, offload)

    def embed(self, prompts: Sequence[str], edits: Sequence[TokenEdit | None] = ()) -> Text:
        """Embed prompts, with some of T5's input embeddings replaced; gradients reach the edits.

        Raises:
            InputError: A prompt has more tokens than the model takes.
        """
        pooled = self.text_encoder(tokenize(self.tokenizer, prompts).to(self.device)).pooler_output
        ids = tokenize(self.tokenizer_2, prompts).to(self.device)
        with edited_tokens(self.text_encoder_2, tuple(edits) or (None,) * len(prompts)):
            return Text(self.text_encoder_2(ids).last_hidden_state.float(), pooled)

    def input_embeddings(self, prompt: str, positions: Sequence[int]) -> Float[Tensor, "k d"]:
        """T5's token embeddings at ``positions``."""
        ids = tokenize(self.tokenizer_2, [prompt]).to(self.device)
        return embedding_layer(self.text_encoder_2)(ids)[0][list(positions)].float()

    def words(self, description: Description) -> WordSpans:
        """Find the condition words' T5 tokens in both prompts, the object's own words left out."""
        return word_spans(self.tokenizer_2, description)

    def predict(
        self, latent: Float[Tensor, "b c y x"], timestep: Num[Tensor, ""], text: Text
    ) -> Float[Tensor, "b c y x"]:
        """Predict the velocity from image to noise at a timestep; in float32."""
        dtype, pooled, (batch, _, height, width) = self.dtype, text.pooled, latent.shape
        assert pooled is not None
        rows, columns = height // PATCH, width // PATCH
        packed = torch.nn.functional.pixel_unshuffle(latent, PATCH).flatten(2).transpose(1, 2)
        places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).to(latent)
        guided = self.network.config.guidance_embeds
        output = self.network(
            hidden_states=packed.to(dtype),
            timestep=(timestep / self.noise_schedule["num_train_timesteps"]).expand(batch),
            guidance=latent.new_full((batch,), self.embedded_guidance) if guided else None,
            encoder_hidden_states=text.tokens.to(dtype),
            pooled_projections=pooled.to(dtype),
            txt_ids=places.new_zeros(text.tokens.shape[1], 3),
            img_ids=torch.nn.functional.pad(places, (1, 0)),
        )
        cells = output.sample.float().transpose(1, 2).unflatten(2, (rows, columns))
        return torch.nn.functional.pixel_shuffle(cells, PATCH)

    def attention(
        self, rules: Sequence[AttentionRule], sources: Sequence[int] = (), steps: int = 1
    ) -> AbstractContextManager[MapStore]:
        """Put rules on the attention layers inside a ``with``; batch row r follows row ``sources[r]``."""
        return attention_control(self.network, rules, steps, sources, self.tokens)
