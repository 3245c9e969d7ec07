"""What the parts of a method need of each other, checked before any weights load."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig

from diffharmon.config.kinds import load_target
from diffharmon.config.validation import components
from diffharmon.errors import ConfigError

# What a backbone may lack, by the names of `diffharmon.types.Capabilities`.
NEEDS = {
    "unconditional": "knows the empty prompt (classifier-free guidance)",
    "negative_prompt": "takes a negative prompt",
    "gradients_to_text": "lets gradients reach its text",
    "variance_preserving": "mixes noise in as DDPM does (sampler=ddim)",
    "rectified_flow": "is a rectified flow, such as sd3 (sampler=flow_euler)",
}

# What a sampler may lack: an inversion that denoising leads back along, which null-text optimization follows.
INVERSION = "inversion"

# What an evaluator says of itself whose scores are probabilities, so that their odds can be compared.
PROBABILITY = "probability"


def check_capabilities(method: DictConfig) -> None:
    """Refuse parts of a method that need what its backbone, sampler or evaluator does not provide.

    A part names what it needs in ``needs``, a backbone what it provides in ``capabilities``; parts without ``needs``
    work with every backbone. A sampler that inverts nothing says so by ``inverts``, an evaluator whose scores are
    probabilities by ``probability``.

    Raises:
        ConfigError: With the part's key and what it needs.
    """
    backbone: Any = load_target(str(method.backbone._target_), "backbone")
    sampler: Any = load_target(str(method.sampler._target_), "sampler") if "sampler" in method else None
    lacking = {name for name in NEEDS if not getattr(backbone.capabilities, name)}
    for key, part, needs in needed(method):
        for need in sorted(lacking & set(needs)):
            raise ConfigError(f"{key}: {part} needs a backbone that {NEEDS[need]}; {backbone.__name__} does not")
        if INVERSION in needs and not getattr(sampler, "inverts", True):
            raise ConfigError(f"{key}: {part} needs a sampler that inverts the image; {sampler.__name__} does not")
    _check_odds(method)


def needed(method: DictConfig) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Walk a method's settings and parts, with their keys and the capabilities they need."""
    for name in ("guidance", "inversion_guidance"):
        if method.get(name, 1) != 1:
            yield f"{method._get_full_key(name)}", f"{name} other than 1", ("unconditional",)
    for name in map(str, method):
        child: Any = method[name]
        if isinstance(child, DictConfig):
            for key, node in components(child, child._get_full_key(None)):
                target = load_target(str(node._target_), key)
                yield key, target.__name__, getattr(target, "needs", ())


def _check_odds(method: DictConfig) -> None:
    policy, evaluator = method.get("policy"), method.get("evaluator")
    if evaluator is None or not isinstance(policy, DictConfig) or policy.get("min_odds_gain") is None:
        return
    judge = load_target(str(evaluator._target_), "evaluator")
    if not getattr(judge, PROBABILITY, False):
        raise ConfigError(
            f"{policy._get_full_key('min_odds_gain')}: odds are those of a probability, which {judge.__name__}'s score "
            "is not; expected an evaluator with the class attribute probability = True, such as evaluator=reader or "
            "evaluator=classifier, or evaluator.recommended.min_odds_gain=null"
        )
