import torch

from diffharmon.dataset.demo import Demo
from diffharmon.images import to_uint8
from diffharmon.protocols import Dataset
from diffharmon.types import Description


def test_demo_composite():
    demo = Demo()
    assert isinstance(demo, Dataset)
    assert isinstance(Demo.description, Description)
    composite = demo[0]
    assert composite.name == demo.name(0)
    assert composite.image.shape == composite.real.shape == (3, 400, 600)
    assert 0.3 < float(composite.mask.mean()) < 0.5
    assert set(composite.mask.unique().tolist()) == {0.0, 1.0}
    outside = composite.mask == 0
    assert torch.equal(composite.image[:, outside[0]], composite.real[:, outside[0]])
    assert torch.allclose(to_uint8(composite.image).float() / 255, composite.image, atol=1e-6)


def test_foreground_is_darker_and_cooler_than_it_was():
    composite = Demo()[0]
    inside = composite.mask[0] > 0
    image, real = composite.image[:, inside].mean(1), composite.real[:, inside].mean(1)
    assert image.mean() < 0.75 * real.mean()
    assert image[2] / image[0] > 1.3 * real[2] / real[0]


def test_demo_is_the_same_each_time():
    first, second = Demo()[0], Demo()[0]
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.mask, second.mask)
