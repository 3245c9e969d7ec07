"""A family of backbones: a transformer of PixArt's class (arXiv 2310.00426) under CLIP's words."""

from typing import Annotated, Literal

from annotated_types import Ge
from diffusers import PixArtTransformer2DModel
from jaxtyping import Float, Num
from torch import Tensor
from transformers import CLIPTextModel

from diffharmon.backbone.latent import DTYPES, LatentModel
from diffharmon.backbone.loading import check_network, explained, load_autoencoder, load_clip, noise_schedule_of
from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.types import Text


class DiffusionTransformer(StableDiffusion):
    """Stable Diffusion's words and autoencoder around a transformer without places or levels.

    Args:
        path: A folder with transformer, autoencoder, text encoder, tokenizer and scheduler.
        size: Side in pixels of the square canvas, or of the square of its area.
        canvas: ``fit`` keeps the photo's aspect.
        dtype: Precision of the network.
    """

    def __init__(
        self,
        path: str,
        size: Annotated[int, Ge(8)] = 64,
        canvas: Literal["square", "fit"] = "square",
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    ) -> None:
        LatentModel.__init__(self)
        check_network(path, "transformer")
        with explained(path, None):
            self.network = PixArtTransformer2DModel.from_pretrained(
                path, subfolder="transformer", torch_dtype=DTYPES[dtype]
            )
            self.vae = load_autoencoder(path, {}, None)
            self.tokenizer, self.text_encoder = load_clip(path, {}, None, CLIPTextModel)
        self.cell = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.resolution_multiple = self.cell * self.network.config.patch_size
        self.size, self.fit = size, canvas == "fit"
        self.check_size(path)
        self.noise_schedule = noise_schedule_of(path, None, {})
        self.freeze(gradient_checkpointing=False, offload="none")

    def predict(
        self, latent: Float[Tensor, "b c y x"], timestep: Num[Tensor, ""], text: Text
    ) -> Float[Tensor, "b c y x"]:
        """Predict noise; the transformer's second half of channels, its variance, is left out."""
        dtype, times = self.dtype, timestep.expand(len(latent)).to(self.device)
        output = self.network(latent.to(dtype), encoder_hidden_states=text.tokens.to(dtype), timestep=times).sample
        return output.chunk(2, dim=1)[0].float()
