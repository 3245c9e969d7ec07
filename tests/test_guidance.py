import pytest
import torch

from diffharmon.types import Guidance

TIME = torch.tensor(401)


def test_guidance_zero_and_one_are_the_two_branches(backbone):
    latent = torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        without, with_text = backbone.embed(["", "cat dim"])
        branches = [backbone.predict(latent, TIME, text) for text in (without, with_text)]
        for guidance, branch in zip((0.0, 1.0), branches, strict=True):
            assert torch.equal(Guidance(guidance).predict(backbone.predict, latent, TIME, without, with_text), branch)
        mixed = Guidance(2.5).predict(backbone.predict, latent, TIME, without, with_text)
    torch.testing.assert_close(mixed, branches[0] + 2.5 * (branches[1] - branches[0]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("guidance", "rows"), [(0.0, (0, 1)), (1.0, (0, 0)), (2.5, (0, 1, 2, 2))])
def test_the_edited_branch_follows_the_source_in_the_conditional_half(guidance, rows):
    assert Guidance(guidance).rows == rows
