"""Any Stable Diffusion model of diffusers (1.x, 2.x, or one of the same classes) as a backbone."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Num
from torch import Tensor

from diffharmon.backbone.latent import DTYPES, LatentModel
from diffharmon.backbone.loading import load_parts, resolution_of
from diffharmon.backbone.lora import check_lora, merge_lora
from diffharmon.backbone.offload import Offload
from diffharmon.backbone.single_file import diffusers_folder
from diffharmon.backbone.tokens import edited_tokens, embedding_layer, tokenize, word_spans
from diffharmon.types import Capabilities, Description, Text, TokenEdit, WordSpans


class StableDiffusion(LatentModel):
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
        gradient_checkpointing: Trade time for memory when gradients flow through network and autoencoder.
        config: Folder or hub id that a single file's configuration is read from; None lets diffusers choose one.
        embedded_guidance: The guidance scale that a distilled network takes as input, if it has one (LCM).
        lora: LoRA files, folders or hub ids whose weights are added to the model's.
        lora_weights: How much of each is added; empty for all of each.
        offload: Weights that rest in the machine's memory and come to an accelerator for their calls only: the text
            encoder's, or ``all`` but the autoencoder's, which is slow.

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
        embedded_guidance: Annotated[float, Ge(0), Le(100)] = 8.5,
        lora: Sequence[str] = (),
        lora_weights: Sequence[float] = (),
        offload: Offload = "none",
    ) -> None:
        super().__init__()
        check_lora(lora, lora_weights)
        self.embedded_guidance = embedded_guidance
        path = diffusers_folder(path, config)
        self.cell, self.resolution_multiple = resolution_of(path, revision)
        self.size = size
        self.fit = canvas == "fit"
        self.check_size(path)
        self.network, self.vae, self.text_encoder, self.tokenizer, self.noise_schedule = load_parts(
            path, revision, variant, DTYPES[dtype]
        )
        merge_lora(StableDiffusionPipeline, self, ("text_encoder", "tokenizer"), lora, lora_weights)
        self.freeze(gradient_checkpointing, offload)

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
        return word_spans(self.tokenizer, description)

    def predict(
        self, latent: Float[Tensor, "b c y x"], timestep: Num[Tensor, ""], text: Text
    ) -> Float[Tensor, "b c y x"]:
        """Predict noise or velocity, as the model was trained, at a timestep; in float32."""
        dtype, guided = self.dtype, self.guidance_embedding(len(latent), self.embedded_guidance)
        words = text.tokens.to(dtype)
        output = self.network(latent.to(dtype), timestep, encoder_hidden_states=words, timestep_cond=guided)
        return output.sample.float()
