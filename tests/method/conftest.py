"""The method on the toy model."""

import pytest

from diffharmon.describer.fixed import Fixed
from diffharmon.evaluator.none import NoEvaluator
from diffharmon.method.diffusion import Diffusion
from diffharmon.method.policy import Policy
from diffharmon.recomposer.paste import Paste
from diffharmon.sampler.ddim import DDIM
from diffharmon.structure.attention import CrossAttention, SelfAttention


@pytest.fixture
def method(build_method):
    """Build the method with some parts and settings changed."""
    return build_method


@pytest.fixture(scope="session")
def build_method(backbone):
    """Build the method with some parts and settings changed: one iteration, a few steps, no optimizer."""

    def build(**changes):
        parts = {
            "describer": Fixed("cat", "dim cold", "bright"),
            "backbone": backbone,
            "sampler": DDIM(steps=5, direct_inversion=False),
            "embedding": {},
            "structure": {"cross_attention": CrossAttention(), "self_attention": SelfAttention()},
            "recomposer": Paste(),
            "evaluator": NoEvaluator(),
            "policy": Policy(iterations=1, ties="last"),
            "guidance": 2.5,
        }
        return Diffusion(**{**parts, **changes})

    return build
