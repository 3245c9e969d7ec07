import torch

from diffharmon.errors import InputError
from diffharmon.module import Failure, Finished, HarmonizeModule, Pending, explain
from diffharmon.types import Attempt, Description, Outcome, Score


class Breaks:
    """A method that fails as real ones do."""

    def __init__(self, error):
        self.error = error

    def harmonize(self, composite, observe):
        raise self.error


class Untouched:
    """A method that gives the composite back."""

    def harmonize(self, composite, observe):
        assert composite.real is None
        best = Attempt(-1, composite.image, Score(0.0), Description("cat", ("dim",), ("bright",)))
        return Outcome(best, (best,), "test")


def test_running_out_of_memory_says_what_helps(composite):
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 9 GB")):
        failure = HarmonizeModule(Breaks(error)).predict_step(composite, 0)
        assert isinstance(failure, Failure)
        assert "out of memory" in failure.error
        assert "backbone.dtype=bfloat16" in failure.error


def test_an_error_of_one_image_is_kept_with_its_reason(composite):
    failure = HarmonizeModule(Breaks(ValueError("odd\nthing"))).predict_step(composite, 0)
    assert (failure.name, failure.source, failure.error) == ("toy", "test", "ValueError: odd thing")
    assert explain(InputError("plain")) == "plain"


def test_the_ground_truth_comes_back_only_after_harmonizing(composite):
    finished = HarmonizeModule(Untouched()).predict_step(composite, 0)
    assert isinstance(finished, Finished)
    assert finished.composite.real is composite.real
    assert finished.seconds > 0


def test_what_cannot_be_read_is_a_failure_of_that_image(composite):
    class Dataset:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            if index == 1:
                raise InputError("b.png is damaged")
            return composite

        def name(self, index):
            return "ab"[index]

    pending = Pending(Dataset(), [1, 0])
    assert pending[0] == Failure("b", "", "b.png is damaged")
    assert pending[1] is composite
