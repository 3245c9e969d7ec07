"""Stored descriptions."""

import threading
import time
from dataclasses import replace

import torch

from diffharmon.describer.cache import Cache, key
from diffharmon.types import Description

SAID = Description("palm tree", ("dim", "été"), ("bright",), "somebody")


def test_the_key_follows_what_the_words_depend_on(composite):
    base = key(composite, "model", "v1", 0)
    assert base == key(replace(composite, name="other", real=composite.image), "model", "v1", 0)
    changed = composite.image.clone()
    changed[0, 3, 3] += 0.01
    others = [
        key(replace(composite, image=changed), "model", "v1", 0),
        key(replace(composite, mask=1 - composite.mask), "model", "v1", 0),
        key(replace(composite, image=composite.image.mT, mask=composite.mask.mT), "model", "v1", 0),
        key(composite, "other", "v1", 0),
        key(composite, "model", "v2", 0),
        key(composite, "model", "v1", 1),
    ]
    assert len({base, *others}) == 7


def test_a_description_comes_back_as_it_was(tmp_path):
    assert Cache(str(tmp_path)).get_or_make("ab", lambda: SAID) == SAID
    assert Cache(str(tmp_path)).get_or_make("ab", lambda: 1 / 0) == SAID
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["ab.json"]


def test_a_damaged_file_is_replaced(tmp_path, caplog):
    for damage in ('{"object": "c', "[]", '{"object": "cat"}', ""):
        (tmp_path / "ab.json").write_text(damage)
        assert Cache(str(tmp_path)).get_or_make("ab", lambda: SAID) == SAID
    assert "is replaced" in caplog.text


def test_a_failure_stores_nothing(tmp_path):
    for _ in range(2):
        try:
            Cache(str(tmp_path)).get_or_make("ab", lambda: 1 / 0)
        except ZeroDivisionError:
            continue
        raise AssertionError("the failure was hidden")
    assert Cache(str(tmp_path)).get_or_make("ab", lambda: SAID) == SAID


def test_many_threads_make_it_once(tmp_path):
    made = []

    def make():
        made.append(1)
        time.sleep(0.05)
        return SAID

    said = []
    threads = [
        threading.Thread(target=lambda: said.append(Cache(str(tmp_path)).get_or_make("ab", make))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert said == [SAID] * 8


def test_images_on_any_scale_of_bits_agree(composite):
    noise = 0.3 / 255 * (torch.rand(composite.image.shape) - 0.5)
    exact = (composite.image * 255).round() / 255
    assert key(replace(composite, image=exact), "m", "v", 0) == key(
        replace(composite, image=(exact + noise).clamp(0, 1)), "m", "v", 0
    )
