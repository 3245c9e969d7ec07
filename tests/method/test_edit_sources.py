"""Where edited pictures come from: programs are small Python scripts, pipelines toys of the real classes."""

import sys

import pytest
import torch
from toys import NOISE_LEVELS, autoencoder, clip_config, unet, write_tokenizer

from diffharmon.config import build, composed
from diffharmon.describer.fixed import Fixed
from diffharmon.errors import ConfigError, ModelError
from diffharmon.method.edits.instruction import instruct
from diffharmon.method.edits.pipeline import Pipeline
from diffharmon.method.edits.program import Program
from diffharmon.protocols import EditSource
from diffharmon.types import Composite, Description, ignore

WORDS = Fixed("cat", "dim cold", "bright")
# Moves and enlarges the picture, brightens its foreground, and notes what it was told.
SCRIPT = """
import sys
from PIL import Image, ImageChops
image, output, *told = sys.argv[1:]
picture = Image.open(image)
bright = picture.point(lambda value: min(value * 2, 255))
mask = Image.new("L", picture.size, 0)
mask.paste(255, (40, 24, 72, 56))
edited = Image.composite(bright, picture, mask)
edited = ImageChops.offset(edited, 2, 1).resize((picture.width * 2, picture.height * 2), Image.Resampling.BICUBIC)
edited.save(output)
open({told!r}, "w").write("|".join(told))
"""


@pytest.fixture
def composite():
    """A textured photo of 128 x 96 pixels whose square foreground is half as bright as it was."""
    generator = torch.Generator().manual_seed(3)
    fine = torch.nn.functional.interpolate(torch.rand(1, 3, 24, 32, generator=generator), (96, 128), mode="bicubic")
    real = (0.15 + 0.3 * fine[0]).clamp(0, 1)
    mask = torch.zeros(1, 96, 128)
    mask[:, 24:56, 40:72] = 1
    return Composite("photo", "test", torch.where(mask > 0, real / 2, real), mask, real)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "edit it.py"
    path.write_text(SCRIPT.format(told=str(tmp_path / "told.txt")))
    return [sys.executable, str(path), "{image}", "{output}"]


def test_a_programs_picture_comes_back_to_the_photo(composite, script, tmp_path):
    config = composed(
        ["method=editor", "method/source=program", "method.source.command=[x]", "recomposer.locality=0.5"]
    )
    config.method.source.command = script
    method = build(config.method)
    assert isinstance(method.source, EditSource)
    result = method.harmonize(composite.blind(), ignore)
    inside = composite.mask.expand(3, -1, -1) > 0
    error = (result.best.image - composite.real)[inside].square().mean()
    assert error < (composite.image - composite.real)[inside].square().mean() / 20
    assert torch.equal(result.best.image[~inside], composite.image[~inside])
    assert result.best.description.object == ""
    assert (tmp_path / "told.txt").read_text() == ""


def test_a_program_is_told_what_light_is_wanted(composite, script, tmp_path):
    template = "{object}: {foreground} to {background}, {output}"
    edit = Program([*script, "--say={prompt}", "end"], WORDS, template).edit(composite)
    assert (tmp_path / "told.txt").read_text() == "--say=cat: dim, cold to bright, {output}|end"
    assert edit.picture.shape == (3, 192, 256)
    assert edit.description.background == ("bright",)


def test_words_that_look_like_places_stay_words():
    description = Description("{background}", ("dim",), ("{object}",))
    assert instruct("{object} {foreground} {background}", description) == "{background} dim {object}"


@pytest.mark.parametrize(
    ("command", "instruction", "message"),
    [
        (["cp", "{image}"], "{background}", "lacks {output}"),
        (["cp", "{image}", "{output}"], "brighter", "expected a text with {background}"),
    ],
)
def test_unusable_commands_and_instructions_are_refused(command, instruction, message):
    with pytest.raises(ConfigError, match=message):
        Program(command, WORDS, instruction)


def test_an_editor_has_one_source(tmp_path):
    with pytest.raises(ConfigError, match=r"method\.edits: .*neither is given"):
        build(composed(["method=editor"]).method)
    both = ["method/source=program", "method.source.command=[cp,'{image}','{output}']", f"method.edits={tmp_path}"]
    with pytest.raises(ConfigError, match=r"method\.edits: got .* and a source"):
        build(composed(["method=editor", *both]).method)


@pytest.fixture(scope="module")
def instruction_folder(tmp_path_factory):
    """A toy InstructPix2Pix: its network sees the noisy latent beside the picture's."""
    from diffusers import DDIMScheduler, StableDiffusionInstructPix2PixPipeline
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("instruction")
    tokenizer = write_tokenizer(folder / "written_tokenizer")
    StableDiffusionInstructPix2PixPipeline(
        vae=autoencoder(),
        text_encoder=CLIPTextModel(clip_config(tokenizer)),
        tokenizer=tokenizer,
        unet=unet(in_channels=8, out_channels=4),
        scheduler=DDIMScheduler(**NOISE_LEVELS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return str(folder)


def test_an_instruction_pipeline_sees_picture_and_words(instruction_folder, composite):
    config = composed(
        [
            *("method=editor", "method/source=pipeline", f"method.source.model={instruction_folder}"),
            *("method.source.size=64", "method.source.steps=2", "method.source.image_guidance=1.5"),
            "method.source.instruction='{object} {background}'",
            *("describer=fixed", "describer.object=cat", "describer.foreground=dim", "describer.background=bright"),
        ]
    )
    source = build(config.method).source
    edit = source.edit(composite)
    assert edit.picture.shape == (3, 48, 64)
    assert edit.description.background == ("bright",)
    assert torch.equal(source.edit(composite).picture, edit.picture), "the noise is drawn by seed and name"
    darker = Composite("photo", "test", composite.image / 2, composite.mask)
    assert not torch.equal(source.edit(darker).picture, edit.picture)
    source.describer = Fixed("cat", "dim", "sunny")
    assert not torch.equal(source.edit(composite).picture, edit.picture)


def test_a_text_to_image_model_edits_by_its_image_to_image_pipeline(pipeline_folder, composite):
    settings = {"size": 64, "steps": 10, "instruction": "{object} {background}"}
    little, much = (
        Pipeline(str(pipeline_folder), WORDS, strength=strength, **settings).edit(composite).picture
        for strength in (0.1, 1.0)
    )
    assert little.shape == (3, 48, 64)
    assert not torch.equal(little, much)


def test_settings_and_models_that_do_not_fit_are_refused_before_loading(instruction_folder, tmp_path):
    with pytest.raises(ConfigError, match="strength: StableDiffusionInstructPix2PixPipeline takes no strength"):
        Pipeline(instruction_folder, WORDS, strength=0.5)
    with pytest.raises(ModelError, match=r"editing pipeline.*nowhere.*\n.*method\.source\.model"):
        Pipeline(str(tmp_path / "nowhere"), WORDS)
    for name, message in (("DDPMPipeline", "edits no images by words"), ("Unheard", "has no pipeline Unheard")):
        (tmp_path / "model_index.json").write_text(f'{{"_class_name": "{name}"}}')
        with pytest.raises(ModelError, match=message):
            Pipeline(str(tmp_path), WORDS)
