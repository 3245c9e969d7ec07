import os
from dataclasses import replace

import pytest
import torch

from diffharmon.files import ASSETS
from diffharmon.results.provenance import weights
from diffharmon.results.provenance.configuration import config_hash, differences, portable
from diffharmon.results.provenance.inputs import as_columns, compare, composite_digests, words_digest
from diffharmon.results.provenance.weights import file_digest, folder_digest, weights_digest, weights_path

CONFIG = {"seed": 1, "backbone": {"steps": 3, "path": "x"}, "name": "a", "trainer": {"devices": 1}}


def test_the_hash_does_not_depend_on_where_the_package_lies(monkeypatch, tmp_path):
    here = config_hash({**CONFIG, "path": str(ASSETS / "tiny"), "deep": [{"file": str(ASSETS / "mini" / "a.txt")}]})
    monkeypatch.setattr("diffharmon.results.provenance.configuration.ASSETS", tmp_path)
    there = config_hash(
        {**CONFIG, "path": str(tmp_path / "tiny"), "deep": [{"file": str(tmp_path / "mini" / "a.txt")}]}
    )
    assert here == there
    assert portable({"path": str(tmp_path / "tiny")}) == {"path": "${asset:tiny}"}


def test_what_differs_is_named_by_its_full_key():
    other = {**CONFIG, "backbone": {"steps": 4, "path": "x"}, "name": "b", "guidance": 2}
    assert differences(CONFIG, other) == ["backbone.steps: 3 -> 4", "guidance: absent -> 2"]
    assert differences(CONFIG, CONFIG) == []


def test_only_groups_that_the_method_uses_decide():
    def digest(method, steps):
        sampler = {"steps": steps}
        return config_hash({"seed": 0, "sampler": sampler, "method": {**method, "seed": 0}, "metrics": {}})

    assert digest({"strength": 1}, 3) == digest({"strength": 1}, 4)
    assert digest({"strength": 1}, 3) != digest({"strength": 2}, 3)
    assert digest({"sampler": {"steps": 3}}, 3) != digest({"sampler": {"steps": 4}}, 4)
    assert digest({"sampler": {"steps": 3}}, 3) != digest({"sampler": {"steps": 4}}, 3), "where they differ, both count"


def test_a_setting_that_the_method_repeats_is_named_once():
    former, present = ({"sampler": {"steps": n}, "method": {"sampler": {"steps": n}, "guidance": n}} for n in (3, 4))
    assert differences(former, present) == ["sampler.steps: 3 -> 4", "method.guidance: 3 -> 4"]


def test_a_list_that_changed_is_named():
    assert differences({"words": ["a"]}, {"words": ["b"]}) == ["words: ['a'] -> ['b']"]


def test_an_edited_file_has_another_digest_and_an_unchanged_one_is_not_read_again(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    first = file_digest(path)
    monkeypatch.setattr(weights.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert file_digest(path) == first
    monkeypatch.undo()
    path.write_bytes(b"two")
    os.utime(path, ns=(0, 0))
    assert file_digest(path) != first


def test_a_file_of_the_hubs_cache_is_known_by_its_name(tmp_path):
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.parent.mkdir()
    blob.write_bytes(b"never read")
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    assert file_digest(link) == "ab" * 6


@pytest.mark.parametrize("name", ["unet/model.safetensors", "unet/config.json", "tokenizer/merges.txt"])
def test_a_folders_digest_covers_weights_configuration_and_vocabulary(tmp_path, name):
    for each in ("unet/model.safetensors", "unet/config.json", "tokenizer/merges.txt", "README.md"):
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_text("before")
    first = folder_digest(tmp_path)
    (tmp_path / "README.md").write_text("after")
    assert folder_digest(tmp_path) == first
    (tmp_path / name).write_text("after!")
    assert folder_digest(tmp_path) != first


def test_weights_are_found_wherever_a_setting_names_them(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"one")
    config = {"method": {"parts": [{"checkpoint": str(tmp_path / "net.pth")}]}, "dataset": {"path": "/x"}}
    first = weights_digest(config)
    (tmp_path / "net.pth").write_bytes(b"other")
    assert weights_digest(config) != first


def test_models_that_the_method_does_not_use_have_no_say(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"one")
    config = {"method": {"strength": 1}, "metrics": {}, "backbone": {"path": str(tmp_path / "net.pth")}}
    first = weights_digest(config)
    (tmp_path / "net.pth").write_bytes(b"other")
    assert weights_digest(config) == first


def test_a_hub_model_is_digested_in_the_revision_that_is_set(tmp_path, monkeypatch):
    repository = tmp_path / "models--owner--name"
    for number, commit in enumerate(("a" * 40, "b" * 40)):
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text("{}")
        (snapshot / "model.safetensors").write_bytes(bytes([number]))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def digest(**settings):
        return weights_digest({"method": {"backbone": {"path": "owner/name", **settings}}})

    assert digest() == digest(revision=None) == digest(revision="a" * 40)
    assert digest(revision="b" * 40) not in (digest(), weights_digest({}))


@pytest.mark.parametrize("value", ["", "bright", "a" * 5000, "nul\0byte", "no/such-model", "models", "caption.txt"])
def test_other_settings_name_no_weights(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.safetensors").write_bytes(b"")
    assert weights_path(value) is None


def test_each_part_of_a_composite_has_its_own_digest(composite):
    before = composite_digests(composite)
    assert set(before) == {"photo", "mask", "real"}
    for field, kind in (("image", "photo"), ("mask", "mask"), ("real", "real")):
        tensor = getattr(composite, field).clone()
        tensor[0, 0, 0] += 1 / 65535
        after = composite_digests(replace(composite, **{field: tensor}))
        assert {name for name in before if before[name] != after[name]} == {kind}
    assert composite_digests(replace(composite, profile=b"icc"))["photo"] != before["photo"]
    assert composite_digests(replace(composite, alpha=torch.ones(1, 48, 72)))["photo"] != before["photo"]


def test_words_have_a_digest(description):
    assert words_digest([description]) == words_digest([replace(description)])
    assert words_digest([description]) != words_digest([replace(description, background=("warm",))])


def test_a_resumed_run_redoes_what_changed_and_summarizes_it():
    now = {name: {"photo": "p", "mask": "m"} for name in "abcd"}
    rows = [{"name": name, "status": "ok", **as_columns(now[name])} for name in "abcd"]
    now["b"] = {"photo": "p", "mask": "edited"}
    resumed = compare(rows, now)
    assert resumed.done == {"a", "c", "d"}
    assert str(resumed) == "3 done before, 1 redone (mask changed)"
    now["c"] = {"photo": "p", "mask": "m", "real": "new"}
    assert str(compare(rows, now)) == "2 done before, 2 redone (mask, real changed)"
    del now["d"]
    assert compare(rows, now).done == {"a"}
    assert str(compare(rows[:1], now)) == "1 done before"
