"""How one region of a photo is shown."""

import pytest
import torch

from diffharmon.images.regions import GREY, box_around, close_up, hide


@pytest.fixture
def photo():
    generator = torch.Generator().manual_seed(0)
    image, region = torch.rand(3, 12, 16, generator=generator), torch.zeros(1, 12, 16)
    region[:, 3:9, 4:10] = 1
    return image, region


@pytest.mark.parametrize("context", [True, False])
def test_the_region_is_shown_as_it_is(photo, context):
    image, region = photo
    shown = hide(image, region, context)
    inside = region.bool().expand_as(image)
    assert torch.equal(shown[inside], image[inside])
    assert not torch.equal(shown, image)


def test_without_context_the_rest_is_grey(photo):
    image, region = photo
    assert (hide(image, region, False)[~region.bool().expand_as(image)] == GREY).all()


def test_the_screen_lets_every_second_pixel_through(photo):
    image, region = photo
    shown = hide(image, region * 0, True)
    open_, covered = (shown == image).all(0), (shown == GREY).all(0)
    assert open_.sum() == covered.sum() == image[0].numel() / 2
    assert not (open_[:, 1:] & open_[:, :-1]).any()
    assert not (open_[1:] & open_[:-1]).any()


def test_a_batch_is_hidden_as_its_images_are(photo):
    image, region = photo
    images, regions = torch.stack([image, image.flip(-1)]), torch.stack([region, 1 - region])
    for one, cover, shown in zip(images, regions, hide(images, regions, True), strict=True):
        assert torch.equal(shown, hide(one, cover, True))


def test_the_close_view_holds_the_object_and_its_surroundings():
    mask = torch.zeros(1, 100, 100)
    mask[:, 40:60, 45:55] = 1
    assert box_around(mask, 0.5) == (30, 70, 30, 70)
    layers = torch.arange(10000.0).view(1, 100, 100)
    assert torch.equal(close_up(layers, mask), layers[:, 28:72, 28:72])
    assert close_up(mask, mask).sum() == mask.sum()
