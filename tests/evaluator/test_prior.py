"""The backbone as a judge: it prefers the prompt under which it was made to denoise well."""

import math

import pytest
import torch

from diffharmon import images
from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.config import build, composed
from diffharmon.errors import ConfigError, InputError
from diffharmon.evaluator.prior import Prior
from diffharmon.protocols import Evaluator
from diffharmon.types import Capabilities, Description

WORDS = Description("cat", ("dim",), ("bright",))


class Knowing(StableDiffusion):
    """Knows the noise of latents near ``known`` under the second prompt, and always predicts zero under the first."""

    def know(self, clean, scheduler):
        self.known, self.levels = clean, scheduler.alphas_cumprod
        return self

    def predict(self, latent, timestep, text):
        level = self.levels[int(timestep)]
        noise = (latent[1:] - level.sqrt() * self.known) / (1 - level).sqrt()
        return torch.cat([torch.zeros_like(noise), noise])


@pytest.fixture(scope="module")
def picture():
    torch.manual_seed(1)
    mask = torch.zeros(1, 48, 64)
    mask[:, 12:36, 16:48] = 1
    return torch.rand(3, 48, 64), mask


def test_the_score_is_the_log_ratio_of_the_losses_over_the_object(pipeline_folder, picture):
    image, mask = picture
    backbone = Knowing(str(pipeline_folder), size=64)
    prior = Prior(backbone, levels=(0.5,), draws=3)
    assert isinstance(prior, Evaluator)
    clean = backbone.encode(images.resize(image, backbone.canvas_size(48, 64))[None]).detach()
    wrong = clean.clone()
    wrong[..., : clean.shape[-1] // 2] += 1.0  # what it knows is off on the left
    backbone.know(wrong, prior.scheduler)
    level = prior.scheduler.alphas_cumprod[round(0.5 * (len(prior.scheduler.alphas_cumprod) - 1))]
    expected = float(level / (1 - level)) / 2  # of the noise, off by sqrt(level / (1 - level)) on half of the object
    found = prior.score(image, mask, WORDS)
    assert found.terms["background"] == pytest.approx(expected, rel=1e-3)
    assert found.terms["foreground"] == pytest.approx(1, abs=0.35), "the mean square of noise"
    assert found.value == pytest.approx(math.log(found.terms["foreground"] / found.terms["background"]), rel=1e-3)


def test_swapped_words_change_the_sign_and_the_same_words_give_nothing(backbone, picture):
    prior = Prior(backbone, draws=1)
    score = prior.score(*picture, WORDS).value
    assert score == prior.score(*picture, WORDS).value != 0
    assert prior.score(*picture, Description("cat", ("bright",), ("dim",))).value == pytest.approx(-score, abs=1e-5)
    assert prior.score(*picture, Description("cat", ("dim",), ("dim",))).value == pytest.approx(0, abs=1e-5)
    with pytest.raises(InputError, match="no foreground"):
        prior.score(picture[0], torch.zeros(1, 48, 64), WORDS)


@pytest.mark.parametrize("kind", ["pipeline_folder", "velocity_folder"])
def test_the_targets_are_what_the_model_was_trained_on(kind, request, picture):
    backbone = StableDiffusion(str(request.getfixturevalue(kind)), size=64)
    prior = Prior(backbone)
    clean, noise, timestep = torch.full((1, 4, 2, 2), 2.0), torch.full((1, 4, 2, 2), 3.0), torch.tensor(400)
    level = prior.scheduler.alphas_cumprod[400]
    velocity = level.sqrt() * noise - (1 - level).sqrt() * clean
    expected = velocity if kind == "velocity_folder" else noise
    torch.testing.assert_close(prior._target(clean, noise, timestep), expected)


def test_the_backbone_is_loaded_once_and_one_without_ddpm_noise_is_refused(toy_settings, monkeypatch):
    settings = [setting for setting in toy_settings if not setting.startswith("evaluator=")]
    config = composed([*settings, "evaluator=prior", "evaluator.draws=1"])
    method = build(config.method)
    assert method.evaluator.backbone is method.backbone
    monkeypatch.setattr(StableDiffusion, "capabilities", Capabilities(variance_preserving=False))
    with pytest.raises(ConfigError, match="Prior needs a backbone that mixes noise in as DDPM does"):
        build(composed([*settings, "evaluator=prior"]).method)
