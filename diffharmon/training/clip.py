"""Recipe of the small CLIP: which condition words describe a photo or a region of it?"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from diffharmon.condition.light import cards_under
from diffharmon.training.captions import GENERIC_OBJECTS, caption
from diffharmon.training.datamodule import PhotoData
from diffharmon.training.diffusion import load_as_float32
from diffharmon.training.region_samples import WORDS
from diffharmon.training.schedule import adamw_with_cosine

MEAN = SPREAD = 0.5


def build_clip(
    tokenizer: CLIPTokenizer, size: int = 64, patch: int = 8, width: int = 128, layers: int = 3, embedding: int = 96
) -> CLIPModel:
    """Build a CLIP whose two towers are small transformers of the same width; the text tower has two layers."""
    shared: dict[str, Any] = {"hidden_size": width, "intermediate_size": 3 * width, "num_attention_heads": 4}
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=2,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=embedding,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shared,
    )
    vision = CLIPVisionConfig(
        image_size=size, patch_size=patch, num_hidden_layers=layers, projection_dim=embedding, **shared
    )
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=embedding))


def build_processor(tokenizer: CLIPTokenizer, size: int = 64) -> CLIPProcessor:
    """Build the processor: squash to a square, no crop, values to [-1, 1]."""
    images = CLIPImageProcessorPil(
        size={"height": size, "width": size},
        do_center_crop=False,
        image_mean=[MEAN] * 3,
        image_std=[SPREAD] * 3,
    )
    return CLIPProcessor(image_processor=images, tokenizer=tokenizer)


class ClipTraining(LightningModule):
    """Train CLIP on graded photos and regions.

    The loss is CLIP's own over the captions of the batch plus a cross-entropy over prompts of one word each: every
    word of the vocabulary competes, and the words of the caption share the target. The light that the words' shares
    expect (`diffharmon.condition.light`), which is what the describer acts on, is pulled to the light of the grade.

    Args:
        tokenizer: folder of the tokenizer.
        size: side of the images in pixels.
        patch: side of the vision transformer's patches.
        width: width of both towers.
        layers: layers of the vision tower.
        learning_rate: peak of AdamW's rate.
        steps: length of the cosine decay in optimizer steps.
        contrast: weight of CLIP's own loss.
        light: weight of the squared error of the expected light.
    """

    def __init__(
        self,
        tokenizer: str,
        size: int = 64,
        patch: int = 8,
        width: int = 128,
        layers: int = 3,
        learning_rate: float = 1e-3,
        steps: int = 4000,
        contrast: float = 0.2,
        light: float = 40.0,
    ) -> None:
        super().__init__()
        self.learning_rate, self.steps, self.contrast, self.light = learning_rate, steps, contrast, light
        self.size = size
        self.tokenizer = CLIPTokenizer.from_pretrained(tokenizer)
        self.model = build_clip(self.tokenizer, size, patch, width, layers)
        self.model.set_attn_implementation("eager")  # plain matrix products are faster than fused attention here
        prompts = [caption(noun, (word,)) for noun in GENERIC_OBJECTS for word in WORDS]
        tokens = self.tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        self.prompts: Tensor
        self.register_buffer("prompts", tokens.view(len(GENERIC_OBJECTS), len(WORDS), -1), persistent=False)
        self.lights: Tensor
        self.register_buffer("lights", cards_under([(word,) for word in WORDS]), persistent=False)

    def embed_images(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return unit vectors of RGB images in [0, 1]."""
        features = self.model.get_image_features((image - MEAN) / SPREAD).pooler_output
        return functional.normalize(features.float(), dim=-1)

    def embed_tokens(self, input_ids: Tensor) -> Float[Tensor, "b d"]:
        """Return unit vectors of prompts."""
        return functional.normalize(self.model.get_text_features(input_ids).pooler_output.float(), dim=-1)

    def word_logits(self, image: Float[Tensor, "b 3 h w"], noun: int = 0) -> Float[Tensor, "b 54"]:
        """Compare images with the prompt of every word, for one of the generic nouns."""
        words = self.embed_tokens(self.prompts[noun])
        return self.model.logit_scale.exp() * self.embed_images(image) @ words.T

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Match images with their captions and with the words of their captions."""
        image = self.embed_images(batch["image"])
        prompts = self.prompts[batch_idx % len(self.prompts)]
        # The text tower looks back only, so cutting the padding changes nothing but the time it takes.
        longest = int((batch["input_ids"] != self.tokenizer.eos_token_id).sum(1).max()) + 1
        text = self.embed_tokens(torch.cat([prompts, batch["input_ids"]])[:, :longest])
        scale = self.model.logit_scale.exp().clamp(max=100)
        logits = scale * image @ text[: len(prompts)].T
        words = functional.cross_entropy(logits, batch["words"])
        light = self.light_error(logits, batch)
        similarity = scale * image @ text[len(prompts) :].T
        own = torch.arange(len(image), device=image.device)
        matching = (functional.cross_entropy(similarity, own) + functional.cross_entropy(similarity.T, own)) / 2
        self.log_dict({"train/words": words, "train/matching": matching, "train/light": light}, prog_bar=True)
        return words + self.contrast * matching + self.light * light

    def light_error(self, logits: Float[Tensor, "b 54"], batch: dict[str, Tensor]) -> Float[Tensor, ""]:
        """Mean squared error of the light that the words expect, where the light is known."""
        error = (logits.softmax(-1) @ self.lights - batch["light"]).square().mean(-1)
        return (error * batch["graded"]).sum() / batch["graded"].sum().clamp_min(1)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log how often the best and one of the five best words is in the caption, and the error of the light."""
        logits = self.word_logits(batch["image"])
        hits = batch["words"].gather(1, logits.topk(5, dim=1).indices) > 0
        values = {
            "val/top1": hits[:, 0].float().mean(),
            "val/top5": hits.any(1).float().mean(),
            "val/light": self.light_error(logits, batch),
        }
        self.log_dict(values, batch_size=len(hits), prog_bar=True)

    def sample_grid(self, batch: dict[str, Tensor]) -> Float[Tensor, "b 3 h w"]:
        """Show the images."""
        return batch["image"][:16]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and cosine decay."""
        return adamw_with_cosine(self.model.parameters(), self.learning_rate, self.steps, weight_decay=0.05)

    def load(self, folder: Path) -> None:
        """Take over the weights of an exported model."""
        self.model = CLIPModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)

    def export(self, folder: Path, data: PhotoData) -> None:
        """Write model (half precision) and processor as a transformers folder."""
        state = {name: value.detach().cpu().half() for name, value in self.model.state_dict().items()}
        half = CLIPModel(self.model.config).half()
        half.load_state_dict(state)
        half.save_pretrained(folder)
        load_as_float32(Path(folder) / "config.json")
        build_processor(self.tokenizer, self.size).save_pretrained(folder)
