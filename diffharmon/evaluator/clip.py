"""Harmony as agreement with words, measured by CLIP (Radford et al., arXiv 2103.00020)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from diffharmon import images
from diffharmon.errors import InputError
from diffharmon.evaluator.loading import ASSETS, FAULTS, failure
from diffharmon.types import Description, Score

HELP = (
    "To get it: set `evaluator.model` to a CLIP folder in transformers' layout, or download one once while online "
    "(HF_HUB_OFFLINE unset), such as `hf download openai/clip-vit-base-patch32`. "
    "Works offline without any download: the default, the model that diffharmon carries."
)


def crop_box(mask: Float[Tensor, "1 h w"], margin: float) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of a square around the foreground, cut off at the image's border.

    Args:
        mask: Foreground mask; what exceeds 100/255 counts.
        margin: Added on each side, as a fraction of the foreground's longer side.

    Raises:
        InputError: If the mask is empty.
    """
    places = (mask[0] > images.MASK_THRESHOLD).nonzero()
    if not len(places):
        raise InputError("the foreground mask is empty, expected some pixels above 100/255")
    least, most = places.amin(dim=0), places.amax(dim=0) + 1
    half = (most - least).max().item() * (0.5 + margin)
    bounds = []
    for low, high, length in zip(least.tolist(), most.tolist(), mask.shape[1:], strict=True):
        centre = (low + high) / 2
        bounds += [max(0, round(centre - half)), min(length, round(centre + half))]
    return bounds[0], bounds[1], bounds[2], bounds[3]


class Clip:
    """Cosine similarity of the foreground's surroundings to the background's words, less that to the foreground's.

    The image is cropped to a square around the object, so that the object counts. The difference is positive where
    the image looks more like ``object background-words`` than like ``object foreground-words``.

    Args:
        model: Folder or hub id of a CLIP model in transformers' layout; by default the one that diffharmon carries.
        margin: Surroundings kept on each side of the object, as a fraction of its longer side.
        template: Sentence around the words, with ``{}`` in their place.
        against_foreground: Subtract the similarity to the foreground's words; otherwise only the background's count.

    Raises:
        ModelError: If it cannot be found or loaded.
        InputError: If ``margin`` is negative or ``template`` lacks its place.
    """

    def __init__(
        self,
        model: str = str(ASSETS / "clip"),
        margin: float = 0.25,
        template: str = "{}",
        against_foreground: bool = True,
    ) -> None:
        if margin < 0:
            raise InputError(f"evaluator.margin is {margin}, expected a fraction >= 0")
        if "{}" not in template:
            raise InputError(f"evaluator.template is {template!r}, expected a text with {{}} where the words go")
        self.margin = margin
        self.template = template
        self.against_foreground = against_foreground
        try:
            network = CLIPModel.from_pretrained(model, use_safetensors=True)
            self.tokenizer = CLIPTokenizer.from_pretrained(model)
            self.processor = CLIPImageProcessorPil.from_pretrained(model)
        except FAULTS as error:
            raise failure("CLIP model", model, error, HELP) from error
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Return the difference in [-2, 2], with both cosine similarities as terms."""
        top, bottom, left, right = crop_box(mask, self.margin)
        crop = images.to_uint8(image[:, top:bottom, left:right]).cpu().numpy()
        network = self.network.to(image.device)
        pixels = self.processor(images=crop, input_data_format="channels_first", return_tensors="pt")
        prompts = [description.background_prompt, description.foreground_prompt]
        words = self.tokenizer(
            [self.template.replace("{}", prompt) for prompt in prompts],
            padding=True,
            truncation=True,
            max_length=network.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        seen = network.get_image_features(**pixels.to(image.device)).pooler_output
        said = network.get_text_features(**words.to(image.device)).pooler_output
        background, foreground = F.cosine_similarity(seen, said).tolist()
        value = background - foreground if self.against_foreground else background
        return Score(value, {"background": background, "foreground": foreground})
