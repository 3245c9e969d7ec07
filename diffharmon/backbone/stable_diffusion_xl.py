"""Any Stable Diffusion XL base model of diffusers as a backbone (arXiv 2307.01952)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Le
from diffusers import StableDiffusionXLPipeline
from jaxtyping import Float, Num
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from diffharmon.backbone.canvas import bucket
from diffharmon.backbone.compatibility import check_sdxl_parts
from diffharmon.backbone.latent import DTYPES, LatentModel
from diffharmon.backbone.loading import (
    SETTINGS,
    check_network,
    explained,
    hub_settings,
    load_autoencoder,
    load_clip,
    load_unet,
    noise_schedule_of,
    unet_resolution,
)
from diffharmon.backbone.lora import check_lora, merge_lora
from diffharmon.backbone.offload import Offload
from diffharmon.backbone.single_file import diffusers_folder
from diffharmon.backbone.tokens import embedding_layer, part_of, penultimate, tokenize, word_spans
from diffharmon.errors import ModelError
from diffharmon.types import Capabilities, Description, Text, TokenEdit, WordSpans


class StableDiffusionXL(LatentModel):
    """A frozen SDXL base model: two text encoders side by side, a pooled text vector, and image sizes as conditions.

    The network runs in ``dtype``; the autoencoder, which overflows in half precision, and both text encoders stay
    float32. A word's vector is the first encoder's followed by the second's, so that refinement moves both.

    Args:
        path: A folder in diffusers' SDXL layout, a hub id, or a single ``.safetensors`` file.
        revision: Commit, branch or tag of the hub repository.
        variant: Weight-file variant such as ``fp16``.
        size: Side in pixels of the square with as many pixels as the canvas.
        canvas: ``fit`` takes the training resolution nearest to the photo's aspect; ``square`` squashes every photo to
            ``size`` x ``size``.
        dtype: Precision of the network.
        gradient_checkpointing: Trade time for memory when gradients flow through network and autoencoder.
        config: Folder or hub id that a single file's configuration is read from; None lets diffusers choose one.
        embedded_guidance: The guidance scale that a distilled network takes as input, if it has one (LCM).
        lora: LoRA files, folders or hub ids whose weights are added to the model's.
        lora_weights: How much of each is added; empty for all of each.
        offload: Weights that rest in the machine's memory and come to an accelerator for their calls only: the text
            encoder's, or ``all`` but the autoencoder's, which is slow.

    Raises:
        ModelError: The model is missing, unreachable or not an SDXL base model.
        ConfigError: ``size`` does not fit the model.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()
    noise_schedule: Mapping[str, Any]

    def __init__(
        self,
        path: str,
        revision: str | None = None,
        variant: str | None = None,
        size: Annotated[int, Ge(8), Le(4096)] = 1024,
        canvas: Literal["square", "fit"] = "fit",
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
        path = diffusers_folder(path, config, StableDiffusionXLPipeline)
        hub = hub_settings(path, revision)
        check_network(path, "unet")
        with explained(path, revision):
            vae, unet = (kind.load_config(path, subfolder=part, **hub) for kind, part in SETTINGS)
            texts = [
                CLIPTextConfig.from_pretrained(path, subfolder=f"text_encoder{number}", **hub).to_dict()
                for number in (("", "_2") if unet.get("addition_embed_type") == "text_time" else ())
            ]
            check_sdxl_parts(path, unet, vae, texts)
            index = StableDiffusionXLPipeline.load_config(path, **hub)
        self.zeros_for_empty = bool(index.get("force_zeros_for_empty_prompt", True))
        self.cell, self.resolution_multiple = unet_resolution(unet, vae)
        self.size, self.fit = size, canvas == "fit"
        self.check_size(path)
        self.noise_schedule = noise_schedule_of(path, revision, hub)
        with explained(path, revision):
            self.network = load_unet(path, hub, variant, DTYPES[dtype])
            self.vae = load_autoencoder(path, hub, variant)
            self.tokenizer, self.text_encoder = load_clip(path, hub, variant, CLIPTextModel)
            self.tokenizer_2, self.text_encoder_2 = load_clip(path, hub, variant, CLIPTextModelWithProjection, "_2")
        if self.tokenizer.get_vocab() != self.tokenizer_2.get_vocab():
            raise ModelError(f"{path}: its two tokenizers split words differently; expected those of an SDXL model")
        of_text = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
        merge_lora(StableDiffusionXLPipeline, self, of_text, lora, lora_weights)
        self.freeze(gradient_checkpointing, offload)

    def canvas_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width in pixels at which the model works on a photo of this size."""
        if not self.fit:
            return self.size, self.size
        return bucket(height, width, self.size, self.resolution_multiple)

    def embed(self, prompts: Sequence[str], edits: Sequence[TokenEdit | None] = ()) -> Text:
        """Embed prompts, with some of their input embeddings replaced; gradients reach the edits.

        The empty prompt is all zeros where the model was trained so, as its pipeline's configuration says.

        Raises:
            InputError: A prompt has more tokens than the model takes.
        """
        width = self.text_encoder.config.hidden_size
        first = [part_of(edit, 0, width) for edit in edits]
        second = [part_of(edit, width, self.text_encoder_2.config.hidden_size) for edit in edits]
        narrow, _ = penultimate(self.text_encoder, tokenize(self.tokenizer, prompts).to(self.device), first)
        wide, pooled = penultimate(self.text_encoder_2, tokenize(self.tokenizer_2, prompts).to(self.device), second)
        text = Text(torch.cat([narrow, wide], dim=-1), pooled)
        if not self.zeros_for_empty or "" not in prompts:
            return text
        said = torch.tensor([float(prompt != "") for prompt in prompts], device=self.device)
        return text.map(lambda values: values * said.view(-1, *(1,) * (values.ndim - 1)))

    def input_embeddings(self, prompt: str, positions: Sequence[int]) -> Float[Tensor, "k d"]:
        """Both encoders' token plus position embeddings at ``positions``, side by side."""
        pairs = ((self.tokenizer, self.text_encoder), (self.tokenizer_2, self.text_encoder_2))
        vectors = [
            embedding_layer(encoder)(tokenize(tokenizer, [prompt]).to(self.device))[0] for tokenizer, encoder in pairs
        ]
        return torch.cat(vectors, dim=-1)[list(positions)]

    def words(self, description: Description) -> WordSpans:
        """Find the condition words' tokens in both prompts, the object's own words left out."""
        return word_spans(self.tokenizer, description)

    def predict(
        self, latent: Float[Tensor, "b c y x"], timestep: Num[Tensor, ""], text: Text
    ) -> Float[Tensor, "b c y x"]:
        """Predict noise or velocity, as the model was trained, at a timestep; in float32.

        The six time ids are original size, crop offset and target size (section 2.2): the canvas, no crop, the canvas.
        """
        dtype, pooled = self.dtype, text.pooled
        assert pooled is not None
        height, width = (side * self.cell for side in latent.shape[-2:])
        sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=dtype, device=latent.device)
        added = {"text_embeds": pooled.to(dtype), "time_ids": sizes.expand(len(latent), -1)}
        output = self.network(
            latent.to(dtype),
            timestep,
            encoder_hidden_states=text.tokens.to(dtype),
            added_cond_kwargs=added,
            timestep_cond=self.guidance_embedding(len(latent), self.embedded_guidance),
        )
        return output.sample.float()
