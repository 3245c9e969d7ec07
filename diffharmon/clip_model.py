"""CLIP in transformers' layout (Radford et al., arXiv 2103.00020), for describer, evaluator and metrics."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from diffharmon import images
from diffharmon.files import ASSETS, loading
from diffharmon.lockstep.network_call import call_network

EMBEDDED = str(ASSETS / "clip")


class FeatureClip(CLIPModel):
    """A CLIP whose features are the projected embeddings themselves, as torchmetrics expects them."""

    def get_image_features(self, *arguments: Any, **options: Any) -> Float[Tensor, "n d"]:
        """Embed pixels."""
        return super().get_image_features(*arguments, **options).pooler_output

    def get_text_features(self, *arguments: Any, **options: Any) -> Float[Tensor, "n d"]:
        """Embed tokens."""
        return super().get_text_features(*arguments, **options).pooler_output


class ClipEmbedder:
    """Embeds images and texts as unit vectors, on the device of the images.

    Args:
        model: Folder or hub id of a CLIP model.
        key: The setting that named it, for the error.
        help: What to do when it cannot be loaded.

    Raises:
        ModelError: It cannot be found or loaded.
    """

    def __init__(self, model: str, key: str, help: str) -> None:
        advice = (
            f"{help} To use a CLIP of your own, set `{key}` to a folder in transformers' layout, or download one "
            "once while online (HF_HUB_OFFLINE unset), such as `hf download openai/clip-vit-base-patch32`."
        )
        with loading("CLIP model", model, advice):
            network = FeatureClip.from_pretrained(model, use_safetensors=True)
            self.tokenizer: Any = CLIPTokenizer.from_pretrained(model)
            self.pixels: Any = CLIPImageProcessorPil.from_pretrained(model)
        self.network = network.eval().requires_grad_(False)

    @property
    def side(self) -> int:
        """Side in pixels of the square that the network sees."""
        return self.network.config.vision_config.image_size

    @property
    def scale(self) -> float:
        """What similarities are multiplied by before a softmax."""
        return self.network.logit_scale.exp().item()

    def process(self, text: Sequence[str] | None = None, images: Sequence[Tensor] | None = None, **options: Any) -> Any:
        """Turn prompts into tokens, cut to the length that the model takes, or 8-bit images into pixels.

        Args:
            text: Prompts.
            images: RGB images of any sizes, 0 to 255.
            options: What other processors let a caller choose; ignored.
        """
        if text is not None:
            longest = self.network.config.text_config.max_position_embeddings
            return self.tokenizer(list(text), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        shown = [image.cpu().numpy() for image in images or ()]
        return self.pixels(images=shown, input_data_format="channels_first", return_tensors="pt")

    @torch.no_grad()
    def embed_images(self, shown: Sequence[Float[Tensor, "3 _ _"]]) -> Float[Tensor, "n d"]:
        """Embed RGB images in [0, 1] of any sizes, resized as the model's own processor does it."""
        device = shown[0].device
        pixels = self.process(images=[images.to_uint8(image) for image in shown]).to(device)["pixel_values"]
        network = self.network.to(device)
        return functional.normalize(call_network(network, pixels, function=network.get_image_features).float(), dim=-1)

    @torch.no_grad()
    def embed_texts(self, prompts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embed prompts."""
        tokens = self.process(text=prompts).to(self.network.device)
        return functional.normalize(self.network.get_text_features(**tokens).float(), dim=-1)
