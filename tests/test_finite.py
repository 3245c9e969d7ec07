import pytest
import torch

from diffharmon.method.finite import FiniteGuard, NotFinite, require_finite_outcome, require_numbers
from diffharmon.types import Attempt, Event, Outcome, Score, ignore


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        (torch.float16, "backbone.dtype=bfloat16"),
        (torch.bfloat16, "backbone.dtype=float32"),
        (torch.float32, "weights are damaged"),
    ],
)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_names_the_stage_and_what_helps(dtype, advice, bad):
    with pytest.raises(NotFinite, match=f"encode: 1 of 4 values .*{advice}"):
        FiniteGuard(dtype).require("encode", torch.tensor([0.0, 1.0, bad, 2.0]))


def test_finite_values_pass_unchanged():
    value = torch.tensor([0.0, -65504.0])
    assert FiniteGuard(torch.float16).require("encode", value) is value


def test_an_event_is_checked_before_it_is_passed_on():
    seen = []
    observe = FiniteGuard().watch(seen.append)
    good = Event("null", 0, 4, {"loss": 0.5, "latent": torch.zeros(3)})
    observe(good)
    with pytest.raises(NotFinite, match=r"null, step 3 of 4, loss: .*learning_rate"):
        observe(Event("null", 2, 4, {"latent": torch.zeros(3), "loss": torch.tensor(float("nan"))}))
    assert seen == [good]


def test_an_event_without_values_passes():
    FiniteGuard().watch(ignore)(Event("edit", 0, 1, {}))


def outcome(description, image, score):
    attempt = Attempt(0, image, Score(score), description, number=0)
    return Outcome(attempt, (attempt,), "done")


def test_any_methods_outcome_is_checked(description):
    require_finite_outcome(outcome(description, torch.zeros(3, 2, 2), 0.5))
    with pytest.raises(NotFinite, match="iteration 0: the image"):
        require_finite_outcome(outcome(description, torch.full((3, 2, 2), float("nan")), 0.5))
    with pytest.raises(NotFinite, match="the score of iteration 0 is nan"):
        require_finite_outcome(outcome(description, torch.zeros(3, 2, 2), float("nan")))


def test_a_metric_may_be_infinite_but_not_nan():
    require_numbers({"psnr": float("inf"), "name": "a", "area": 0.1})
    with pytest.raises(NotFinite, match="measure: ssim, fssim is not a number"):
        require_numbers({"psnr": 30.0, "ssim": float("nan"), "fssim": float("nan")})
