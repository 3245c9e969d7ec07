"""Recipe of the small latent diffusion model: UNet and text encoder trained together on captioned latents."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from jaxtyping import Float, Int
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffharmon.training.captions import NEUTRAL, caption
from diffharmon.training.datamodule import PhotoData
from diffharmon.training.inversion import direct_inversion_edit, transferred
from diffharmon.training.latents import token_weights
from diffharmon.training.schedule import adamw_with_cosine
from diffharmon.training.synthesis import Triple, foreground_psnr


def build_text_encoder(tokenizer: CLIPTokenizer, width: int = 128, layers: int = 2, heads: int = 4) -> CLIPTextModel:
    """Build a CLIP text encoder for a tokenizer's vocabulary and prompt length."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=tokenizer.model_max_length,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet(channels: Sequence[int] = (64, 128, 160), width: int = 128, heads: int = 4, size: int = 16) -> Any:
    """Build a UNet that attends at half the latent resolution and in the middle.

    The pooled prompt also joins the time embedding, a short way from the words to the colour of the whole image.

    Args:
        channels: width at each of at least two resolutions.
        width: width of the text encoder.
        heads: attention heads.
        size: native side of the latents.
    """
    below = len(channels) - 2
    unet: Any = UNet2DConditionModel(
        sample_size=size,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", *("DownBlock2D",) * below),
        up_block_types=(*("UpBlock2D",) * below, "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=heads,
        norm_num_groups=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=heads,
    )
    # At these sizes plain matrix products train a third faster on a CPU than the fused attention's backward pass.
    unet.set_attn_processor(AttnProcessor())
    return unet


def build_scheduler() -> Any:
    """Build DDIM with linear betas and v-prediction.

    Stable Diffusion's own noise levels leave the mean colour of a 16x16 latent readable at the last step, where an edit
    could then not change it; linear betas up to 0.02 end at a signal share of 0.006.
    """
    return DDIMScheduler(
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type="v_prediction",
    )


def drop_words(
    input_ids: Int[Tensor, "b n"], end: int, noun_only: float = 0.1, empty: float = 0.1
) -> Int[Tensor, "b n"]:
    """Cut some prompts to their noun and some to nothing.

    Args:
        input_ids: start, noun, words, end and padding by the end token.
        end: the end token.
        noun_only: share of prompts cut to the noun.
        empty: share of prompts cut to nothing.
    """
    draw = torch.rand(len(input_ids), 1, device=input_ids.device)
    position = torch.arange(input_ids.shape[1], device=input_ids.device)
    cut = ((draw < noun_only) & (position >= 2)) | ((draw > 1 - empty) & (position >= 1))
    return torch.where(cut, end, input_ids)


def sample_times(
    count: int, steps: int, device: torch.device, uniform: float = 0.25, earliest: float = 0.35
) -> Int[Tensor, " b"]:
    """Draw training times, most of them where the noise hides colours and the words must tell them.

    Args:
        count: how many.
        steps: noise levels in all.
        device: where the times live.
        uniform: share drawn from all levels; the rest is drawn from the noisier ones.
        earliest: where the noisier levels begin, as a share of all.
    """
    everywhere = torch.randint(0, steps, (count,), device=device)
    noisy = torch.randint(round(earliest * steps), steps, (count,), device=device)
    return torch.where(torch.rand(count, device=device) < uniform, everywhere, noisy)


class DiffusionTraining(LightningModule):
    """Train UNet and text encoder on cached latents; validate by inverting and editing composites of unseen photos.

    Args:
        autoencoder: folder of the trained autoencoder.
        tokenizer: folder of the tokenizer.
        channels: widths of the UNet.
        width: width of the text encoder.
        layers: layers of the text encoder.
        learning_rate: peak of AdamW's rate.
        steps: length of the cosine decay in optimizer steps.
        low_frequency: weight of the loss on 4x4 averages, where colour lives.
        edit_steps: sampling steps of the validation edit.
    """

    def __init__(
        self,
        autoencoder: str,
        tokenizer: str,
        channels: Sequence[int] = (64, 128, 160),
        width: int = 128,
        layers: int = 2,
        learning_rate: float = 5e-4,
        steps: int = 12_000,
        low_frequency: float = 2.0,
        edit_steps: int = 20,
    ) -> None:
        super().__init__()
        self.learning_rate, self.steps = learning_rate, steps
        self.low_frequency, self.edit_steps = low_frequency, edit_steps
        self.tokenizer = CLIPTokenizer.from_pretrained(tokenizer)
        self.autoencoder_folder = autoencoder
        # In a dict, so that it is no part of this module: neither averaged nor written to checkpoints.
        self._frozen: dict[str, Any] = {}
        self.text = build_text_encoder(self.tokenizer, width, layers)
        self.unet = build_unet(tuple(channels), width).to(memory_format=torch.channels_last)
        self.scheduler = build_scheduler()

    @property
    def autoencoder(self) -> Any:
        """The frozen autoencoder, loaded on first use."""
        if "autoencoder" not in self._frozen:
            loaded = AutoencoderKL.from_pretrained(self.autoencoder_folder, use_safetensors=True)
            self._frozen["autoencoder"] = loaded.eval().requires_grad_(False).to(self.device)
        return self._frozen["autoencoder"]

    def embed(self, prompts: list[str], weights: Sequence[Sequence[float]] = ()) -> Float[Tensor, "b n d"]:
        """Encode prompts, padded to the tokenizer's length, with the weights of their words if there are any."""
        tokens = self.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        laid = token_weights(tokens, weights or [()] * len(prompts), self.tokenizer.eos_token_id)
        return self.encode(tokens.to(self.device), laid.to(self.device))

    def encode(self, input_ids: Int[Tensor, "b n"], weights: Float[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Encode tokens whose embeddings are moved from the neutral word's by their weights.

        The same as `diffharmon.embedding.word_weights` does to a prompt: position embeddings are added afterwards.
        """
        embeddings = self.text.get_input_embeddings()
        neutral = self.tokenizer.convert_tokens_to_ids(NEUTRAL + "</w>")

        def weigh(module: nn.Embedding, args: object, output: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
            return torch.lerp(
                module.weight[neutral].to(output).expand_as(output), output, weights[..., None].to(output)
            )

        handle = embeddings.register_forward_hook(weigh)
        try:
            return self.text(input_ids).last_hidden_state
        finally:
            handle.remove()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Predict v at random times."""
        latent = batch["latent"].float().contiguous(memory_format=torch.channels_last)
        input_ids = drop_words(batch["input_ids"].long(), self.tokenizer.eos_token_id)
        weights = batch["weights"].float().where(input_ids == batch["input_ids"], 1.0)
        noise = torch.randn_like(latent)
        time = sample_times(len(latent), self.scheduler.config.num_train_timesteps, latent.device)
        target = self.scheduler.get_velocity(latent, noise, time)
        noisy = self.scheduler.add_noise(latent, noise, time)
        error = self.unet(noisy, time, self.encode(input_ids, weights)).sample.float() - target
        fine, coarse = error.pow(2).mean(), functional.avg_pool2d(error, 4).pow(2).mean()
        self.log_dict({"train/loss": fine, "train/coarse": coarse}, prog_bar=True)
        return fine + self.low_frequency * coarse

    def validation_step(self, batch: list[Triple], batch_idx: int) -> None:
        """Log the mean gain in foreground PSNR over the composite and the share of composites improved."""
        real, composite, mask = (
            torch.stack([getattr(triple, name) for triple in batch]).to(self.device)
            for name in ("real", "composite", "mask")
        )
        before = foreground_psnr(composite, real, mask)
        gain = foreground_psnr(self.harmonize(batch), real, mask) - before
        values = {"val/composite": before.mean(), "val/gain": gain.mean(), "val/improved": (gain > 0).float().mean()}
        self.log_dict(values, batch_size=len(batch), prog_bar=True)

    @torch.no_grad()
    def harmonize(self, triples: list[Triple]) -> Float[Tensor, "b 3 h w"]:
        """Edit composites from their true words to neutral ones and carry the smooth change into the foreground."""
        composite, mask = (
            torch.stack([getattr(triple, name) for triple in triples]).to(self.device) for name in ("composite", "mask")
        )
        prompts = [caption(triple.noun, triple.words) for triple in triples]
        source = self.embed(prompts, [triple.weights for triple in triples])
        target = self.embed([caption(triple.noun, (NEUTRAL,)) for triple in triples])
        latent = self.autoencoder.encode(composite * 2 - 1).latent_dist.mode()
        levels = self.scheduler.alphas_cumprod.to(self.device)
        edited = direct_inversion_edit(self.unet, latent, source, target, levels, self.edit_steps)
        decoded = self.autoencoder.decode(torch.cat([latent, edited])).sample / 2 + 0.5
        before, after = decoded.chunk(2)
        return transferred(composite, before, after, mask)

    def sample_grid(self, batch: list[Triple]) -> Float[Tensor, "b 3 h w"]:
        """Put composites above their edits above the real photos."""
        batch = batch[:8]
        rows = [torch.stack([getattr(triple, name) for triple in batch]) for name in ("composite", "real")]
        return torch.cat([rows[0], self.harmonize(batch).cpu(), rows[1]])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and cosine decay."""
        parameters = [*self.unet.parameters(), *self.text.parameters()]
        return adamw_with_cosine(parameters, self.learning_rate, self.steps, final=0.02)

    def load(self, folder: Path) -> None:
        """Take over the weights of an exported pipeline."""
        self.unet = UNet2DConditionModel.from_pretrained(
            folder, subfolder="unet", use_safetensors=True, torch_dtype=torch.float32
        )
        self.unet.set_attn_processor(AttnProcessor())
        self.unet.to(memory_format=torch.channels_last)
        self.text = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", dtype=torch.float32)

    def export(self, folder: Path, data: PhotoData) -> None:
        """Write a Stable Diffusion pipeline folder (fp16 safetensors, DDIM, no safety checker)."""
        save_pipeline(folder, self.unet, self.text, self.tokenizer, self.autoencoder, self.scheduler)


def save_pipeline(
    folder: Path,
    unet: Any,
    text: Any,
    tokenizer: CLIPTokenizer,
    autoencoder: Any,
    scheduler: Any,
) -> None:
    """Write the parts as one `StableDiffusionPipeline` folder in half precision; the given parts stay as they are."""
    halves = []
    for part in (unet, text, autoencoder):
        state = {name: value.detach().cpu().half().contiguous() for name, value in part.state_dict().items()}
        made = type(part)(part.config) if part is text else type(part).from_config(part.config)
        made.half().load_state_dict(state)
        halves.append(made)
    pipeline: Any = StableDiffusionPipeline(
        unet=halves[0],
        text_encoder=halves[1],
        vae=halves[2],
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    load_as_float32(Path(folder) / "text_encoder" / "config.json")


def load_as_float32(config: Path) -> None:
    """Let transformers load half-precision files in float32 by default, as diffusers does and as CPUs need."""
    values = json.loads(config.read_text())
    for part in (values, *(value for value in values.values() if isinstance(value, dict))):
        if "dtype" in part:
            part["dtype"] = "float32"
    config.write_text(json.dumps(values, indent=2) + "\n")
