from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffharmon.errors import InputError
from diffharmon.training.photos import PhotoRecord, Photos, is_held_out


def test_the_two_sides_share_no_photo_and_miss_none(photo_root: Path) -> None:
    sides = [Photos(photo_root, 32, validation, share=0.3) for validation in (False, True)]
    stems = [{record.stem for record in side.records} for side in sides]
    assert stems[0].isdisjoint(stems[1])
    assert len(stems[0] | stems[1]) == 24
    assert min(map(len, stems)) > 0


def test_crops_and_pairs_of_one_photo_stay_together() -> None:
    for number in range(60):
        crops = {is_held_out("open_wallpapers", f"op_hill{number}_{end}", share=0.5) for end in ("f", "c0", "c12")}
        pair = {is_held_out("deep_photo_style", f"dp_{side}{number}", share=0.5) for side in ("in", "tar")}
        assert len(crops) == len(pair) == 1


def test_the_share_held_out_is_about_what_was_asked() -> None:
    share = np.mean([is_held_out("a", str(number), share=0.06) for number in range(5000)])
    assert 0.045 < share < 0.075


def test_pixels_agree_with_the_file(photo_root: Path, photos: Photos) -> None:
    record = photos.records[0]
    with Image.open(photo_root / record.source / f"{record.stem}.jpg") as opened:
        expected = np.asarray(opened.convert("RGB").resize((36, 36), Image.Resampling.LANCZOS))
    assert np.array_equal((photos.image(0) * 255).round().byte().permute(1, 2, 0).numpy(), expected)


def test_masks_belong_to_their_photos(photos: Photos) -> None:
    assert photos.masks
    for index, mask in enumerate(photos.masks):
        assert photos.records[mask.photo].source == "shapes"
        assert photos.mask(index).mean() == pytest.approx(mask.area, abs=1e-3)
        assert mask.noun in ("car", None)


def test_a_scene_class_names_condition_and_object() -> None:
    record = PhotoRecord("weather4", "a", "rain")
    assert (record.condition, record.noun) == ("rainy", "street")
    assert PhotoRecord("x", "b", "great white shark").noun == "shark"
    assert PhotoRecord("x", "b", "").condition == "daylight"


def test_limit_keeps_few(photo_root: Path) -> None:
    assert len(Photos(photo_root, 32, limit=5)) == 5


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training photos"):
        Photos(tmp_path / "missing")
