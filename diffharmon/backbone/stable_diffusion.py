"""Any Stable Diffusion model of diffusers (1.x, 2.x, or one of the same classes) as a backbone."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from jaxtyping import Float, Num
from torch import Tensor, nn

from diffharmon.attention.control import attention_control
from diffharmon.attention.processor import MapStore
from diffharmon.backbone.canvas import fitted
from diffharmon.backbone.loading import load_parts, resolution_of
from diffharmon.backbone.memory import Memory
from diffharmon.backbone.single_file import diffusers_folder
from diffharmon.backbone.tokens import edited_tokens, embedding_layer, tokenize, word_positions
from diffharmon.errors import ConfigError
from diffharmon.types import AttentionRule, Capabilities, Description, Text, TokenEdit, WordSpans

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class StableDiffusion(nn.Module):
    """A frozen Stable Diffusion model.

    The network runs in ``dtype``; autoencoder, text encoder and all latents stay float32, because colours and optimized
    embeddings lose visibly in half precision and both are small.

    Args:
        path: A folder in diffusers' Stable Diffusion layout, a hub id, or a single ``.safetensors`` file.
        revision: Commit, branch or tag of the hub repository.
        variant: Weight-file variant such as ``fp16``.
        size: Side in pixels of the square canvas the model works on.
        canvas: ``square`` squashes every photo to ``size`` x ``size``; ``fit`` keeps the photo's aspect at about the
            same number of pixels.
        dtype: Precision of the network.
        gradient_checkpointing: Trade time for memory when gradients flow through the network.
        config: Folder or hub id that a single file's configuration is read from; None lets diffusers choose one.

    Raises:
        ModelError: The model is missing, unreachable or not a Stable Diffusion model.
        ConfigError: ``size`` does not fit the model.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()
    noise_schedule: Mapping[str, Any]

    def __init__(
        self,
        path: str,
        revision: str | None = None,
        variant: str | None = None,
        size: Annotated[int, Ge(8), Le(4096)] = 512,
        canvas: Literal["square", "fit"] = "square",
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        gradient_checkpointing: bool = False,
        config: str | None = None,
    ) -> None:
        super().__init__()
        path = diffusers_folder(path, config)
        self.cell, self.resolution_multiple = resolution_of(path, revision)
        if size < self.resolution_multiple or size % self.resolution_multiple:
            raise ConfigError(f"size: expected a multiple of {self.resolution_multiple} for {path}, got {size}")
        self.size = size
        self.fit = canvas == "fit"
        self.network, self.vae, self.text_encoder, self.tokenizer, self.noise_schedule = load_parts(
            path, revision, variant, DTYPES[dtype]
        )
        self.requires_grad_(False).eval()
        if gradient_checkpointing:
            self.network.enable_gradient_checkpointing()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.vae.device

    def canvas_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width in pixels at which the model works on a photo of this size."""
        if not self.fit:
            return self.size, self.size
        return fitted(height, width, self.size, self.resolution_multiple)

    def encode(
        self, image: Float[Tensor, "b 3 h w"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c y x"]:
        """Encode images in [0, 1] to scaled latents; with a generator the posterior is sampled, else its mode taken."""
        posterior = self.vae.encode(image * 2 - 1).latent_dist
        latent = posterior.mode() if generator is None else posterior.sample(generator)
        return latent * self.vae.config.scaling_factor

    def decode(self, latent: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 h w"]:
        """Decode scaled latents to images around [0, 1], not clamped."""
        return self.vae.decode(latent / self.vae.config.scaling_factor).sample / 2 + 0.5

    def embed(self, prompts: Sequence[str], edits: Sequence[TokenEdit | None] = ()) -> Text:
        """Embed prompts, with some of their input embeddings replaced; gradients reach the edits.

        Raises:
            InputError: A prompt has more tokens than the model takes.
        """
        ids = tokenize(self.tokenizer, prompts).to(self.device)
        with edited_tokens(self.text_encoder, tuple(edits) or (None,) * len(prompts)):
            return Text(self.text_encoder(ids).last_hidden_state)

    def input_embeddings(self, prompt: str, positions: Sequence[int]) -> Float[Tensor, "k d"]:
        """Token plus position embeddings at ``positions``, as ``embed`` feeds them to the transformer."""
        ids = tokenize(self.tokenizer, [prompt]).to(self.device)
        return embedding_layer(self.text_encoder)(ids)[0][list(positions)]

    def words(self, description: Description) -> WordSpans:
        """Find the condition words' tokens in both prompts, the object's own words left out."""
        start = len(description.object)
        return WordSpans(
            word_positions(self.tokenizer, description.foreground_prompt, start),
            word_positions(self.tokenizer, description.background_prompt, start),
        )

    def predict(
        self, latent: Float[Tensor, "b c y x"], timestep: Num[Tensor, ""], text: Text
    ) -> Float[Tensor, "b c y x"]:
        """Predict noise or velocity, as the model was trained, at a timestep; in float32."""
        dtype = next(self.network.parameters()).dtype  # diffusers' own property walks all modules at every call
        return self.network(latent.to(dtype), timestep, encoder_hidden_states=text.tokens.to(dtype)).sample.float()

    def remembering(self, limit: int) -> Memory:
        """Return this backbone for the work on one image: nothing is computed twice from equal inputs.

        Args:
            limit: Bytes of queries and keys that it may keep of branches that others follow.
        """
        return Memory(self, limit)

    def attention(
        self, rules: Sequence[AttentionRule], sources: Sequence[int] = (), steps: int = 1
    ) -> AbstractContextManager[MapStore]:
        """Put rules on the attention layers inside a ``with``; batch row r follows row ``sources[r]``."""
        return attention_control(self.network, rules, steps, sources)
