"""Methods that know no batches, and one that breaks on them, harmonize one image at a time."""

from dataclasses import replace

import pytest

from diffharmon.method.batch import batches, harmonize_all
from diffharmon.method.identity import Identity
from diffharmon.types import ignore


@pytest.fixture
def photos(composite):
    return [
        replace(composite.blind(), name=name, image=composite.image * scale)
        for name, scale in zip("abc", (1, 0.9, 0.8), strict=True)
    ]


def test_a_method_that_knows_no_batches_goes_one_at_a_time(photos):
    assert not batches(Identity())
    outcomes = harmonize_all(Identity(), photos, [ignore] * 3)
    assert all(outcome.best.image is photo.image for outcome, photo in zip(outcomes, photos, strict=True))


def test_a_batch_method_that_breaks_is_replaced_by_one_at_a_time(photos):
    class Broken(Identity):
        def harmonize_batch(self, composites, observers):
            raise RuntimeError("planned")

    assert len(harmonize_all(Broken(), photos, [ignore] * 3)) == 3
