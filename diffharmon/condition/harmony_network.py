"""The network behind the harmony classifier: does the masked region fit the light of the rest?"""

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from diffharmon.images import MASK_THRESHOLD
from diffharmon.images.regions import close_up, hide

SHIFTS = 6  # shift of the foreground's mean and of its spread, per colour channel
_LUMINANCE = (0.299, 0.587, 0.114)
_WINDOWS = (7, 15)


class HarmonyNetwork(
    nn.Module, PyTorchModelHubMixin, library_name="diffharmon", tags=["image-harmonization"], license="other"
):
    """Judge a composite from its pixels and its foreground mask.

    A perceptron weighs three kinds of evidence about both sides of the mask: embeddings by a small CLIP's vision tower,
    which sees one region clearly and the other through a screen (`diffharmon.images.regions`), soft histograms of
    either region's colours, and histograms of how colours step across the cut. Loads and saves as `config.json` plus
    safetensors (`from_pretrained`, `save_pretrained`).

    Args:
        size: side in pixels to which every input is resized; the tower sees half of it.
        patch: side of the vision tower's patches.
        width: width of the vision tower.
        layers: layers of the vision tower.
        embedding: dimension of its projection.
        hidden: width of the comparing perceptron.
        bins: bins of the colour histograms.
        steps: bins of the histograms of steps across the cut.
        dropout: share of the perceptron's inputs and hidden values dropped in training.
    """

    def __init__(
        self,
        size: int = 128,
        patch: int = 8,
        width: int = 128,
        layers: int = 3,
        embedding: int = 96,
        hidden: int = 256,
        bins: int = 12,
        steps: int = 15,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.size, self.bins, self.steps = size, bins, steps
        self.tower = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                image_size=size // 2,
                patch_size=patch,
                hidden_size=width,
                intermediate_size=3 * width,
                num_hidden_layers=layers,
                num_attention_heads=4,
                projection_dim=embedding,
            )
        )
        self.inputs = 4 * (width + embedding) + 9 * (bins + 2) + len(_WINDOWS) * (8 * (steps + 2) + 1)
        self.tower.set_attn_implementation("eager")  # plain matrix products are faster at this size
        self.normalize = nn.BatchNorm1d(self.inputs, affine=False, momentum=0.02)
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(self.inputs, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 1 + SHIFTS),
        )

    def forward(self, image: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, " b"]:
        """Return the logit of being harmonious, averaged with the mirrored image's; its sigmoid is the probability.

        Args:
            image: RGB in [0, 1], any size.
            mask: foreground, {0, 1} or soft.
        """
        image, mask = _resize(image.float(), self.size), _resize(mask.float(), self.size)
        return (self.judge(image, mask)[:, 0] + self.judge(image.flip(-1), mask.flip(-1))[:, 0]) / 2

    def judge(self, image: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 7"]:
        """Return the logit and an estimate of what was done to the foreground: shifts of mean and spread per channel.

        The shifts are learnt along with the verdict because they hold more information than the one bit of the verdict.
        """
        return self.weigh(image, mask)[1]

    def weigh(
        self, image: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b 7"]]:
        """Return what the perceptron compares, normalized, and what `judge` makes of it."""
        seen = self.normalize(self.evidence(image, mask)).clamp(-5, 5)
        return seen, self.head(seen)

    def evidence(self, image: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n"]:
        """Return everything the perceptron compares, not yet normalized."""
        image, mask = _resize(image.float(), self.size), _resize(mask.float(), self.size)
        small, cover = _resize(image, self.size // 2), _resize(mask, self.size // 2)
        near = torch.cat([self._near(*pair) for pair in zip(image, mask, strict=True)])
        shown = torch.cat([near[:, :3], small, small]), torch.cat([near[:, 3:], cover, 1 - cover])
        close, inside, outside = self._embed(*shown).chunk(3)
        front, back = (_region_colours(small, region, self.bins) for region in (cover, 1 - cover))
        contours = [_contour_steps(image, mask, window, self.steps) for window in _WINDOWS]
        return torch.cat([close, inside, outside, inside - outside, front, back, front - back, *contours], 1)

    def _near(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"]) -> Float[Tensor, "1 4 s s"]:
        layers = torch.cat([image, mask])
        if (mask > MASK_THRESHOLD).any():
            layers = close_up(layers, mask)
        return _resize(layers[None], self.size // 2)

    def _embed(self, image: Float[Tensor, "b 3 y x"], region: Float[Tensor, "b 1 y x"]) -> Float[Tensor, "b d"]:
        shown = hide(image, region, True)
        pooled = self.tower.vision_model(pixel_values=(shown - 0.5) / 0.5).pooler_output
        unit = functional.normalize(self.tower.visual_projection(pooled).float(), dim=-1)
        return torch.cat([pooled.float(), unit], 1)


def _resize(values: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b c s s"]:
    if values.shape[-2:] == (side, side):
        return values
    return functional.interpolate(values, (side, side), mode="bilinear", antialias=True, align_corners=False)


def _region_mean(values: Float[Tensor, "b c y x"], weight: Float[Tensor, "b 1 y x"]) -> Float[Tensor, "b c"]:
    return (values * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-3)


def _histogram(
    values: Float[Tensor, "b c y x"], weight: Float[Tensor, "b 1 y x"], low: float, high: float, bins: int
) -> Float[Tensor, "b n"]:
    centres = torch.linspace(low, high, bins, device=values.device).view(1, 1, bins, 1, 1)
    distance = (values[:, :, None].clamp(low, high) - centres).abs() * (bins - 1) / (high - low)
    return _region_mean((1 - distance).clamp_min(0).flatten(1, 2), weight) * 2


def _region_colours(
    image: Float[Tensor, "b 3 y x"], weight: Float[Tensor, "b 1 y x"], bins: int
) -> Float[Tensor, "b n"]:
    mean = _region_mean(image, weight)
    spread = _region_mean((image - mean[:, :, None, None]) ** 2, weight).clamp_min(1e-6).sqrt()
    return torch.cat([mean, spread, _histogram(image, weight, 0.0, 1.0, bins)], 1)


def _contour_steps(
    image: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"], window: int, bins: int
) -> Float[Tensor, "b n"]:
    """Compare local mean colours on both sides of the cut, as differences and as log ratios.

    A change of the foreground shifts all steps the same way, and the places where a photo's object melts into its
    surroundings disappear.
    """

    def local(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, window, 4, window // 2, count_include_pad=False)

    cover = local(mask)
    inside = local(image * mask) / cover.clamp_min(1e-3)
    outside = local(image * (1 - mask)) / local(1 - mask).clamp_min(1e-3)
    band = ((cover > 0.15) & (cover < 0.85)).to(image)
    luminance = torch.tensor(_LUMINANCE, device=image.device).view(1, 3, 1, 1)
    parts = []
    for step in (inside - outside, torch.log((inside + 0.03) / (outside + 0.03))):
        parts.append(torch.cat([step, (step * luminance).sum(1, keepdim=True)], 1))
    difference, ratio = parts
    return torch.cat(
        [
            _histogram(difference, band, -0.6, 0.6, bins),
            _histogram(ratio, band, -1.5, 1.5, bins),
            *(_region_mean(values, band) for values in (difference, ratio, difference.abs(), ratio.abs())),
            band.mean((1, 2, 3))[:, None],
        ],
        1,
    )
