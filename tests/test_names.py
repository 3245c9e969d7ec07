"""Folder names are contained in their parent, injective on any file system, and unchanged for ordinary names."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffharmon.results.names import MAX_BYTES, folder_name, folder_names

PIECES = st.sampled_from(
    ["a", "A", "foo", "Foo", " ", ".", "..", "/", "\\", "~", "\0", "é", "e\u0301", "ß", "ss", "\u200b"]
)
NAMES = st.one_of(st.lists(PIECES, max_size=5).map("".join), st.text(max_size=300), st.sampled_from(["con", "NUL.x"]))
ORDINARY = (
    "c1_55_1",
    "d1048-20120628-200951_1_3",
    "Canon_0010_a_1_2",
    "žluť-ü_7_1",
    "photo (1)",
    "IMG_1234",
    "a.b",
    "日本",
)


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names_stay(name):
    assert folder_name(unicodedata.normalize("NFC", name)) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "...", "foo ", " foo", "foo.", ".foo", "a/b", "a\\b", "/etc", "C:x", "con", "Aux.png", "LPT1"),
        *("a\0b", "a\nb", "x" * 121, "é" * 61, "e\u0301", "a~0123456789abcdef", "foo\u200b", "\u2028", "=1+1|x"),
        "\ud800",
    ],
)  # fmt: skip
def test_names_that_are_no_plain_component_get_a_digest(name):
    result = folder_name(name)
    assert result != name
    assert result[-17] == "~"


@given(NAMES)
def test_a_folder_name_is_one_component_that_every_system_takes(name):
    result = folder_name(name)
    assert result
    assert not set(result) & set('<>:"/\\|?*\0')
    assert result == result.strip(" .")
    assert len(result.encode()) <= MAX_BYTES
    assert unicodedata.is_normalized("NFC", result)
    assert result.isprintable()


@given(st.lists(NAMES, max_size=30))
def test_no_two_names_share_a_folder_even_without_case(names):
    folders = folder_names(names)
    assert set(folders) == set(names)
    spelled = {unicodedata.normalize("NFD", folder).casefold() for folder in folders.values()}
    assert len(spelled) == len(set(names))


@given(st.lists(NAMES, max_size=10))
def test_order_and_repetition_do_not_matter(names):
    assert folder_names(names) == folder_names([*reversed(names), *names])


def test_names_that_differ_in_case_alone_all_get_a_digest():
    folders = folder_names(["Foo", "foo", "bar", "Straße", "strasse"])
    assert folders["bar"] == "bar"
    assert all("~" in folders[name] for name in ("Foo", "foo", "Straße", "strasse"))
