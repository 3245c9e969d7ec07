"""Any Stable Diffusion model of diffusers (1.x, 2.x, or one of the same classes) as a backbone."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal

import torch
from diffusers import DDIMInverseScheduler
from jaxtyping import Float, Int
from torch import Tensor, nn

from diffharmon.attention.control import attention_control
from diffharmon.attention.processor import MapStore
from diffharmon.backbone.loading import load_parts
from diffharmon.backbone.tokens import edited_tokens, embedding_layer, tokenize, word_positions
from diffharmon.errors import ConfigError
from diffharmon.types import AttentionRule, Description, TokenEdit, WordSpans

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class StableDiffusion(nn.Module):
    """A frozen Stable Diffusion model under DDIM sampling with a fixed number of steps.

    The UNet runs in ``dtype``; autoencoder, text encoder and all latents stay float32, because colours and optimized
    embeddings lose visibly in half precision and both are small.

    Args:
        path: A folder in diffusers' Stable Diffusion layout, or a hub id.
        revision: Commit, branch or tag of the hub repository.
        variant: Weight-file variant such as ``fp16``.
        size: Side of the square image the model works on, in pixels.
        steps: DDIM steps.
        inversion: ``mirrored`` takes each inversion step between the same two noise levels as its denoising step (exact
            for fixed noise), with the prediction at that step's timestep. ``level`` does too, but predicts at the
            timestep of the level the latent is at, which velocity models need: their output means another noise at
            another level. ``shifted`` is what the public reference does (quirk Q5): it leaves out the last step,
            takes the clean latent for one at the first timestep, and so denoises from one level below where it
            inverted to.
        dtype: Precision of the UNet.
        gradient_checkpointing: Trade time for memory when gradients flow through the UNet.
        channels_last: Keep encoded images channels last, as the public reference does (quirk Q33); rounding only.

    Raises:
        ModelError: The model is missing, unreachable or not a Stable Diffusion model.
        ConfigError: ``size`` or ``steps`` does not fit the model.
    """

    timesteps: Int[Tensor, " i"]
    levels: Int[Tensor, " i+1"]

    def __init__(
        self,
        path: str,
        revision: str | None = None,
        variant: str | None = None,
        size: int = 512,
        steps: int = 50,
        inversion: Literal["mirrored", "level", "shifted"] = "mirrored",
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        gradient_checkpointing: bool = False,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.unet, self.vae, self.text_encoder, self.tokenizer, self.scheduler = load_parts(
            path, revision, variant, DTYPES[dtype]
        )
        self.requires_grad_(False).eval()
        if gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        multiple = factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        if size < multiple or size % multiple:
            raise ConfigError(f"backbone.size: expected a multiple of {multiple} for {path}, got {size}")
        self.size, self.latent_size = size, size // factor
        self.shifted = inversion == "shifted"
        self.inversion_offset = 1 if inversion == "level" else 0
        self.channels_last = channels_last
        self.set_steps(steps)

    def set_steps(self, steps: int) -> None:
        """Lay out the sampling steps; part of construction.

        Raises:
            ConfigError: Too few or too many steps.
        """
        train_steps = self.scheduler.config.num_train_timesteps
        least = 2 if self.shifted else 1
        if not least <= steps <= train_steps:
            raise ConfigError(f"backbone.steps: expected {least} to {train_steps}, got {steps}")
        self.scheduler.set_timesteps(steps)
        self.inverse = DDIMInverseScheduler.from_config(self.scheduler.config)
        self.inverse.set_timesteps(steps)
        # Under "shifted" a step's noise is predicted at the timestep that the clean end starts from, one level lower.
        timesteps = self.scheduler.timesteps[1:] if self.shifted else self.scheduler.timesteps
        self.register_buffer("timesteps", timesteps, persistent=False)
        self.level_shift = train_steps // steps if self.shifted else 0
        # One more than the steps: the timestep of the clean latent, where an inversion by level begins.
        clean = (timesteps[-1:] - train_steps // steps).clamp(min=0)
        self.register_buffer("levels", torch.cat([timesteps, clean]), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.timesteps.device

    def encode(
        self, image: Float[Tensor, "b 3 s s"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c y x"]:
        """Encode images in [0, 1] to scaled latents; with a generator the posterior is sampled, else its mode taken."""
        image = image * 2 - 1
        if self.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        posterior = self.vae.encode(image).latent_dist
        latent = posterior.mode() if generator is None else posterior.sample(generator)
        return latent * self.vae.config.scaling_factor

    def decode(self, latent: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 s s"]:
        """Decode scaled latents to images around [0, 1], not clamped."""
        return self.vae.decode(latent / self.vae.config.scaling_factor).sample / 2 + 0.5

    def embed(self, prompts: Sequence[str], edits: Sequence[TokenEdit | None] = ()) -> Float[Tensor, "b n d"]:
        """Embed prompts, with some of their input embeddings replaced; gradients reach the edits.

        Raises:
            InputError: A prompt has more tokens than the model takes.
        """
        ids = tokenize(self.tokenizer, prompts).to(self.device)
        with edited_tokens(self.text_encoder, tuple(edits) or (None,) * len(prompts)):
            return self.text_encoder(ids).last_hidden_state

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
        self, latent: Float[Tensor, "b c y x"], step: int, text: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b c y x"]:
        """Predict the model output (noise or velocity, as the model was trained) at a sampling step, in float32.

        The step after the last is the level of the clean latent.
        """
        dtype = self.unet.dtype
        return self.unet(latent.to(dtype), self.levels[step], encoder_hidden_states=text.to(dtype)).sample.float()

    def denoise(
        self, latent: Float[Tensor, "b c y x"], noise: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one deterministic DDIM step towards the image."""
        return self.scheduler.step(noise, int(self.timesteps[step]), latent).prev_sample

    def estimate(
        self, latent: Float[Tensor, "b c y x"], noise: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Estimate the clean latent from a noisy one and the model output at its step."""
        return self.scheduler.step(noise, int(self.timesteps[step]), latent).pred_original_sample

    def invert(
        self, latent: Float[Tensor, "b c y x"], noise: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one DDIM step towards noise: from what leaves sampling step ``step`` to what enters it."""
        return self.inverse.step(noise, int(self.timesteps[step]) + self.level_shift, latent).prev_sample

    def attention(
        self, rules: Sequence[AttentionRule], sources: Sequence[int] = ()
    ) -> AbstractContextManager[MapStore]:
        """Put rules on the UNet's attention inside a ``with``; batch row r follows row ``sources[r]``."""
        return attention_control(self.unet, rules, len(self.timesteps), sources)
