"""Zero-shot description by CLIP (Radford et al., arXiv 2103.00020): offline, no key, the default."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from diffharmon import images
from diffharmon.condition.vocabulary import VOCABULARY, list_of
from diffharmon.describer import words
from diffharmon.describer.light import cards_under
from diffharmon.errors import InputError, ModelError
from diffharmon.types import Attempt, Composite, Description

_EMBEDDED = str(Path(__file__).resolve().parent.parent / "assets" / "clip")
_OPTIONS = 24
GREY = 0.5
WORDS: tuple[str, ...] = tuple(word for entries in VOCABULARY.values() for word in entries)


class Clip:
    """Reads foreground and background separately, each shown alone on grey, and says what tells their light apart.

    CLIP gives every word of the vocabulary a probability in a region. The single likeliest word is a poor answer, since
    the probability of one kind of light is spread over its many names. So the words are chosen whose light is closest
    to what CLIP expects: the light of a word is what it does to a set of grey and coloured cards
    (`diffharmon.describer.light`), and the expectation is taken over all words, which makes it the choice of least
    expected squared error. An unsure reading thus gives mild words, and equal readings give equal words.

    Args:
        model: Folder or hub id of a CLIP model in transformers' layout; by default the one that diffharmon carries.
        words: Upper bound on the words for each region, at most one of each list of the vocabulary; at most 3.
        contrast: Weight of the difference between the two regions' light, beside the light of each.
        background: Share of the background's reading that is believed. Its content sways it, and most photos were
            taken in neutral light; with 1 both regions are believed alike, with 0 the background is called neutral.
        brightness: Always say a brightness word for both regions (the rule of the paper's prompt, section 3.1).
        temperature: Divides CLIP's similarities; more than 1 trusts the model less.
        objects: Names among which the foreground's is chosen; a single one is taken as it is.
        template: Prompt with ``{object}`` and ``{word}`` in their places.

    Raises:
        ModelError: The model cannot be found or loaded.
        InputError: A setting is out of range.
    """

    def __init__(
        self,
        model: str = _EMBEDDED,
        words: int = 3,
        contrast: float = 1.0,
        background: float = 0.25,
        brightness: bool = True,
        temperature: float = 1.0,
        objects: str | Sequence[str] = "object",
        template: str = "{object} {word}",
    ) -> None:
        self.objects = _names(objects)
        if not 1 <= words <= 3 or contrast < 0 or not 0 <= background <= 1 or temperature <= 0 or not self.objects:
            raise InputError(
                "describer=clip expects words from 1 to 3, contrast from 0, background from 0 to 1, temperature above "
                f"0 and some objects; got words={words}, contrast={contrast}, background={background}, "
                f"temperature={temperature}, objects={objects!r}"
            )
        if "{word}" not in template:
            raise InputError(f"describer.template={template!r}: expected a prompt with {{word}} in it")
        self.contrast = contrast
        self.background = background
        self.temperature = temperature
        self.template = template
        self.choices = _choices(words, brightness)
        self.lights = cards_under(self.choices)
        self.network, self.tokenizer, self.processor = _load(model)

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Describe a composite by the best-fitting words that were not tried."""
        regions = self.embed_regions(composite)
        name = self._name(regions[:1])
        return words.choose(self.ranked(name, self.read(regions, name)), previous)

    @torch.no_grad()
    def embed_regions(self, composite: Composite) -> Float[Tensor, "2 d"]:
        """Embed the foreground alone and the background alone as unit vectors."""
        mask = composite.mask
        shown = [composite.image * region + GREY * (1 - region) for region in (mask, 1 - mask)]
        pixels = self.processor(
            images=[images.to_uint8(image).cpu().numpy() for image in shown],
            input_data_format="channels_first",
            return_tensors="pt",
        )
        network = self.network.to(composite.image.device)
        features = network.get_image_features(**pixels.to(composite.image.device)).pooler_output
        return functional.normalize(features.float(), dim=-1)

    @torch.no_grad()
    def read(self, regions: Float[Tensor, "2 d"], name: str) -> Float[Tensor, "2 54"]:
        """Return the probability of every word, in the order of `WORDS`, in foreground and background."""
        prompts = [self.template.replace("{object}", name).replace("{word}", word) for word in WORDS]
        logits = self.network.logit_scale.exp() * regions @ self._embed_text(prompts).T
        return (logits / self.temperature).softmax(dim=-1).cpu()

    def ranked(self, name: str, probabilities: Float[Tensor, "2 54"]) -> list[Description]:
        """Return descriptions, the one of least expected squared error first."""
        target = self.expected(probabilities)
        errors = (self.lights - target[:, None]).square().mean(-1)
        count = min(_OPTIONS, len(self.choices))
        front, back = (side.topk(count, largest=False).indices for side in errors)
        apart = self.lights[front][:, None] - self.lights[back][None] - (target[0] - target[1])
        total = errors[0, front][:, None] + errors[1, back] + self.contrast * apart.square().mean(-1)
        return [
            Description(name, self.choices[front[place // count]], self.choices[back[place % count]], "clip")
            for place in total.flatten().argsort(stable=True).tolist()
        ]

    def expected(self, probabilities: Float[Tensor, "2 54"]) -> Float[Tensor, "2 30"]:
        """Return the light of foreground and background, averaged over the words by their probability."""
        neutral = cards_under([()])
        believed = torch.tensor([[1.0], [self.background]])
        return neutral + believed * (probabilities @ cards_under([(word,) for word in WORDS]) - neutral)

    @torch.no_grad()
    def _embed_text(self, prompts: Sequence[str]) -> Float[Tensor, "n d"]:
        tokens = self.tokenizer(
            list(prompts),
            padding=True,
            truncation=True,
            max_length=self.network.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.network.device)
        return functional.normalize(self.network.get_text_features(**tokens).pooler_output.float(), dim=-1)

    def _name(self, foreground: Float[Tensor, "1 d"]) -> str:
        if len(self.objects) == 1:
            return self.objects[0]
        similarity = foreground @ self._embed_text(self.objects).T
        return self.objects[int(similarity.argmax())]


def _names(objects: str | Sequence[str]) -> tuple[str, ...]:
    return words.split(objects, "describer.objects")


def _choices(most: int, brightness: bool) -> list[tuple[str, ...]]:
    """List all sets of up to ``most`` words that keep the rules of the vocabulary, brightness first."""
    sets = [choice for count in range(1, most + 1) for choice in combinations(WORDS, count)]
    sets = [choice for choice in sets if len({list_of(word) for word in choice}) == len(choice)]
    return [choice for choice in sets if not brightness or list_of(choice[0]) == "brightness"]


def _load(model: str) -> tuple[Any, Any, Any]:
    from huggingface_hub.errors import HFValidationError
    from safetensors import SafetensorError
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    try:
        network = CLIPModel.from_pretrained(model, use_safetensors=True).eval().requires_grad_(False)
        return network, CLIPTokenizer.from_pretrained(model), CLIPImageProcessorPil.from_pretrained(model)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, HFValidationError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(
            f"describer.model: cannot load CLIP from {model!r} ({reason}); expected a folder or hub id of a CLIP in "
            "transformers' layout, or the default, the model that diffharmon carries"
        ) from error
