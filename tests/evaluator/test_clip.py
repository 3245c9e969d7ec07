"""CLIP as an evaluator, on a random network with its own tokenizer and, where it exists, on the embedded one."""

import json
import string

import numpy as np
import pytest
import skimage
import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from diffharmon.errors import ConfigError, InputError, ModelError
from diffharmon.evaluator.clip import Clip
from diffharmon.images.regions import box_around
from diffharmon.protocols import Evaluator
from diffharmon.types import Description

WORDS = Description("cat", ("bright", "warm"), ("dark",))
SWAPPED = Description("cat", ("dark",), ("bright", "warm"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    letters = [letter + end for end in ("", "</w>") for letter in string.ascii_lowercase]
    vocabulary = {token: number for number, token in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (path / "vocab.json").write_text(json.dumps(vocabulary))
    (path / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(path / "vocab.json"), str(path / "merges.txt"), model_max_length=24).save_pretrained(path)
    end = len(vocabulary) - 1
    text = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=end - 1,
        eos_token_id=end,
        pad_token_id=end,
    )
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=12)
    CLIPModel(config).save_pretrained(path)
    CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_convert_rgb=False
    ).save_pretrained(path)
    return path


@pytest.fixture
def photo():
    image = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1).float() / 255
    mask = torch.zeros(1, *image.shape[1:])
    mask[:, 100:200, 150:250] = 1
    return image, mask


def test_score_is_the_difference_of_cosines_of_the_crop(folder, photo):
    image, mask = photo
    evaluator = Clip(str(folder), margin=0.5, context=False)
    assert isinstance(evaluator, Evaluator)
    score = evaluator.score(image, mask, WORDS)
    crop = (image[:, 50:250, 100:300].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(images=crop, return_tensors="pt")
    cosines = []
    for prompt in ("cat dark", "cat bright warm"):
        with torch.no_grad():
            output = model(**tokenizer(prompt, return_tensors="pt"), **pixels)
        cosines.append((output.image_embeds @ output.text_embeds.T).item())
    assert score.terms == pytest.approx({"background": cosines[0], "foreground": cosines[1]}, abs=1e-5)
    assert score.value == pytest.approx(cosines[0] - cosines[1], abs=1e-5)
    assert abs(score.value) > 1e-4


def test_swapped_words_change_the_sign_and_equal_words_give_zero(folder, photo):
    evaluator = Clip(str(folder))
    value = evaluator.score(*photo, WORDS).value
    assert evaluator.score(*photo, SWAPPED).value == pytest.approx(-value, abs=1e-6)
    assert evaluator.score(*photo, Description("cat", ("dark",), ("dark",))).value == pytest.approx(0, abs=1e-6)


def test_only_the_surroundings_of_the_object_count(folder, photo):
    image, mask = photo
    evaluator = Clip(str(folder), margin=0.25, context=False)
    far, near = image.clone(), image.clone()
    far[:, :70] = 0
    near[:, 90:95] = 0
    value = evaluator.score(image, mask, WORDS).value
    assert evaluator.score(far, mask, WORDS).value == value
    assert evaluator.score(near, mask, WORDS).value != value


def test_options_act(folder, photo):
    plain = Clip(str(folder)).score(*photo, WORDS)
    alone = Clip(str(folder), against_foreground=False).score(*photo, WORDS)
    assert alone.value == plain.terms["background"]
    assert Clip(str(folder), template="photo of {}").score(*photo, WORDS) != plain


def test_long_prompts_are_cut(folder, photo):
    long = Description("cat", ("bright",) * 30, ("dark",) * 30)
    assert np.isfinite(Clip(str(folder)).score(*photo, long).value)


def test_thin_foregrounds_at_the_border_are_cropped(folder):
    image, mask = torch.rand(3, 40, 60), torch.zeros(1, 40, 60)
    mask[:, 0, 59] = 1
    assert box_around(mask, 0.25) == (0, 1, 59, 60)
    assert np.isfinite(Clip(str(folder)).score(image, mask, WORDS).value)
    mask[:, :, :] = 1
    assert box_around(mask, 0.25) == (0, 40, 0, 60)
    with pytest.raises(InputError, match="empty"):
        box_around(torch.zeros(1, 40, 60), 0.25)


def test_missing_models_and_bad_options_are_clear(folder, tmp_path):
    with pytest.raises(ModelError, match=r"there is none.*\n.*openai/clip-vit-base-patch32"):
        Clip(str(tmp_path / "absent"))
    with pytest.raises(ModelError, match="safetensors"):
        Clip(str(tmp_path))
    with pytest.raises(ConfigError, match="template"):
        Clip(str(folder), template="photo")


def test_embedded_model_tells_light_from_dark(photo):
    image, mask = photo
    words = Description("cat", ("bright",), ("dark",))
    evaluator = Clip()
    assert evaluator.score(image * 0.25, mask, words).value > evaluator.score(image, mask, words).value
