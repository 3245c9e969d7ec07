"""A local vision-language model: a toy LLaVA that learnt one sentence for bright and one for dark photos."""

import shutil

import pytest
import torch
from PIL import Image
from toy_llava import build

from diffharmon.describer.fixed import Fixed
from diffharmon.describer.vision_language import VisionLanguage
from diffharmon.errors import DescriberError
from diffharmon.types import Composite

ANSWERS = ("cat & bright & dim", "dog & dull & sunny, bright")
PROMPT = "Light?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    processor, model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    mask = Image.new("RGB", (32, 32), (255, 255, 255))
    for step in range(160):
        level = (200, 40)[step % 2]
        photo = Image.new("RGB", (32, 32), (level, level, level))
        content = [
            {"type": "image", "image": photo},
            {"type": "image", "image": mask},
            {"type": "text", "text": PROMPT},
        ]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        answer = processor.tokenizer(
            ANSWERS[step % 2] + "<eos>", return_tensors="pt", add_special_tokens=False
        ).input_ids
        tokens = torch.cat([inputs["input_ids"], answer], 1)
        labels = tokens.clone()
        labels[:, : inputs["input_ids"].shape[1]] = -100
        loss = model(input_ids=tokens, pixel_values=inputs["pixel_values"], labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05, "the toy has learnt its two sentences"
    path = tmp_path_factory.mktemp("vlm")
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return str(path)


def photo(level):
    return Composite("photo", "test", torch.full((3, 24, 24), level), torch.ones(1, 24, 24))


def describer(folder, **settings):
    quick = {"dtype": "float32", "device": "cpu", "prompt": PROMPT, "width": 32, "max_new_tokens": 40, "answers": 1}
    return VisionLanguage(folder, **quick | settings)


def test_it_says_what_it_sees(folder):
    vlm = describer(folder)
    bright, dark = vlm.describe(photo(0.8)), vlm.describe(photo(0.15))
    assert (bright.object, bright.foreground, bright.background) == ("cat", ("bright",), ("dim",))
    assert (dark.object, dark.foreground, dark.background) == ("dog", ("dull",), ("sunny", "bright"))
    assert bright.describer == f"vlm ({folder})"


def test_sampling_is_repeatable_and_leaves_the_global_generator_alone(folder):
    vlm = describer(folder, temperature=0.5)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert vlm.describe(photo(0.8)) == describer(folder, temperature=0.5).describe(photo(0.8))
    assert torch.equal(torch.rand(1), expected)


def test_stored_descriptions_need_no_model(folder, tmp_path):
    cache = str(tmp_path / "cache")
    said = describer(folder, cache=cache).describe(photo(0.8))
    again = describer(folder, cache=cache)
    assert again.describe(photo(0.8)) == said
    assert again.language_model._loaded is None


def test_unusable_answers_and_missing_models_end_in_the_fallback_or_an_error(folder, tmp_path):
    with pytest.raises(DescriberError, match="none of 2 answers"):
        describer(folder, max_new_tokens=5, answers=2).describe(photo(0.8))
    absent = str(tmp_path / "absent")
    with pytest.raises(DescriberError, match=r"cannot load the vision-language model .*absent"):
        describer(absent).describe(photo(0.8))
    said = describer(absent, fallback=Fixed("thing", "dim", "bright")).describe(photo(0.8))
    assert said.describer == f"fixed (fallback for vlm ({absent}))"


def test_a_model_without_chat_template_and_a_missing_device_are_named(folder, tmp_path):
    with pytest.raises(DescriberError, match=r"describer.device=cuda:97 cannot be used"):
        describer(folder, device="cuda:97").describe(photo(0.8))
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(DescriberError, match="no chat template"):
        describer(str(bare)).describe(photo(0.8))
