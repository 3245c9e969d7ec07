import torch

from diffharmon.images import from_uint8, read_image
from diffharmon.results import panels


def pictures(height=300, width=400):
    generator = torch.Generator().manual_seed(0)
    composite = torch.rand(3, height, width, generator=generator)
    mask = torch.zeros(1, height, width)
    mask[:, height // 4 : height // 2, width // 4 : width // 2] = 1
    return composite, (composite + 0.1 * mask).clamp(0, 1), mask


def test_parts_of_a_comparison():
    composite, result, mask = pictures()
    parts = panels.comparison_parts(composite, result, mask)
    assert list(parts) == ["composite", "result", "mask", "|result - composite| x4"]
    difference = parts["|result - composite| x4"]
    assert torch.equal(difference, ((result - composite).abs() * 4).clamp(0, 1))
    assert difference.max() > 0.39
    with_real = panels.comparison_parts(composite, result, mask, real=result)
    assert list(with_real)[2] == "real"
    assert with_real["|result - real| x4"].max() == 0


def test_strip_holds_the_pictures_side_by_side():
    composite, result, mask = pictures()
    picture = from_uint8(panels.comparison(composite, result, mask, composite))
    parts = panels.comparison_parts(composite, result, mask, composite)
    gap = (picture.shape[2] - 5 * 400) // 4
    caption = picture.shape[1] - 300
    assert picture.shape[0] == 3
    assert gap > 0
    for index, part in enumerate(parts.values()):
        left = index * (400 + gap)
        assert torch.allclose(picture[:, caption:, left : left + 400], part, atol=0.51 / 255)
        assert picture[:, :caption, left : left + 400].min() < 0.5  # there is text


def test_the_difference_of_large_pictures_is_the_shrunk_one_of_their_values():
    composite, result, mask = pictures(1000, 700)
    seen = panels.comparison_parts(composite, result, mask)["|result - composite| x4"]
    whole = panels.fit(((result - composite).abs() * 4).clamp(0, 1))
    assert torch.equal(seen, whole)
    assert torch.equal(panels.fit(seen), seen)


def test_pictures_fit_a_reasonable_size(tmp_path):
    assert panels.fit(torch.zeros(3, 3000, 4000)).shape == (3, 480, 640)
    assert panels.fit(torch.zeros(3, 4000, 1000)).shape == (3, 480, 120)
    assert panels.fit(torch.zeros(3, 300, 400)).shape == (3, 300, 400)
    assert panels.fit(torch.zeros(3, 64, 64)).shape == (3, 256, 256)
    assert panels.fit(torch.zeros(3, 40, 9)).shape == (3, 280, 63)
    strip = panels.comparison(*pictures(1500, 2400))
    panels.write(tmp_path / "new" / "strip.png", strip)
    assert torch.equal(read_image(tmp_path / "new" / "strip.png").image, from_uint8(strip))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["strip.png"]
    assert strip.shape[2] <= 4 * 640 + 3 * 8


def test_attention_overlay_is_hottest_at_the_peak():
    image, _, _ = pictures()
    attention = torch.zeros(16, 16)
    attention[3, 12] = 0.02
    overlay = from_uint8(panels.attention_overlay(image * 0, attention, "warm"))
    caption = overlay.shape[1] - 300
    brightness = overlay[:, caption:].sum(0)
    row, column = divmod(int(brightness.argmax()), 400)
    assert abs(row / 300 - 3.5 / 16) < 0.03
    assert abs(column / 400 - 12.5 / 16) < 0.03
    assert brightness[250, 50] < 0.2 * brightness.max()


def test_flat_and_empty_maps_are_drawn():
    image, _, _ = pictures(40, 60)
    for attention in (torch.zeros(8, 8), torch.full((8, 8), 0.1)):
        overlay = panels.attention_overlay(image, attention, "a word longer than the picture is wide, so it is cut")
        heat = overlay[:, panels.CAPTION :].float()
        assert heat.std(dim=(1, 2)).max() > 0, "the photo is seen"
        assert overlay.shape[2] == 300


def test_attention_strip_has_one_picture_a_word():
    image, _, _ = pictures()
    strip = from_uint8(panels.attention_strip(image, {"dim": torch.rand(8, 8), "warm": torch.rand(8, 8)}))
    assert strip.shape[2] == 3 * 400 + 2 * 8
    assert torch.allclose(strip[:, -300:, :400], image, atol=0.51 / 255)
