"""The table of the public code's quirks: where it departs from its paper or from its own intention, and our option.

``experiment=reference_quirks`` has all of them on. An override such as ``embedding.text.weighting=softmax`` on top of
it switches one off; so does leaving the key out, where ``experiment=paper`` does not have it (`off`).
"""

from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf


class Quirk(NamedTuple):
    """One behaviour of the public code: its number (or a word), and the configuration value that reproduces it."""

    number: str
    behaviour: str
    key: str
    value: str | bool | int


QUIRKS = (
    Quirk("Q2", "Sobel target measured on [-1, 1], output on [0, 1]", "structure.sobel.reference_range", "signed"),
    Quirk("Q3", "the learned edges have no gradient", "structure.pidinet.detach", True),
    Quirk("Q5", "inversion and denoising one level apart, last step left out", "sampler.shifted", True),
    Quirk("Q6", "refinement on latents denoised again without text", "embedding.text.latents", "denoised"),
    Quirk("Q7", "posterior sampled instead of its mode", "method.sample_posterior", True),
    Quirk("Q7", "the same noise for every image", "method.seed_by_name", False),
    Quirk("Q8", "everything squashed to the model's square", "method.resolution", "model"),
    Quirk("Q10", "attention mask reduced without antialiasing", "embedding.text.mask_antialias", False),
    Quirk("Q14", "softmax over softmax of the fusion weights", "embedding.text.weighting", "softmax_again"),
    Quirk("Q19", "stale foreground embedding in each step's first update", "embedding.unconditional.stale_first", True),
    Quirk("Q22", "decoded images cut to 8 bits downwards", "method.truncate", True),
    Quirk("Q28", "without an evaluator only the first description is used", "method.descriptions", 1),
    Quirk("Q30", "switches to a description made beforehand", "method.policy.redescribe", "known"),
    Quirk("Q33", "encoded image channels last", "backbone.channels_last", True),
    Quirk("edges", "edge losses on the decoded noisy latent", "embedding.unconditional.edges_on", "step"),
    Quirk("drift", "structure kept from the former iteration", "method.structure_from", "current"),
    Quirk("opaque", "transparency ignored by the learned edges", "structure.pidinet.opaque", True),
    Quirk("result", "the untouched composite cannot win", "method.policy.include_composite", False),
)


def off(quirk: Quirk, paper: DictConfig) -> str:
    """Return the override of ``experiment=reference_quirks`` that switches a quirk off.

    Args:
        quirk: One of the table.
        paper: The composed ``experiment=paper``: its value, or its lack of one, is what the quirk departs from.
    """
    value = OmegaConf.select(paper, quirk.key)
    return f"~{quirk.key}" if value is None else f"{quirk.key}={value}"
