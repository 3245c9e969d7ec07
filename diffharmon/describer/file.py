"""Descriptions prepared in a file: the reference's caption.txt, the same with names, or JSON lines."""

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from natsort import natsorted

from diffharmon.describer import words
from diffharmon.errors import InputError
from diffharmon.images import SUFFIXES, require_regular
from diffharmon.types import Attempt, Composite, Description

MAX_BYTES = 64 * 2**20
ORDERS = ("natural", "alphabetical")


class File:
    r"""Reads descriptions from a file; any word is allowed, also outside the vocabulary.

    A weight may follow a word, as in ``bright:0.6``.

    Three forms are distinguished by their content:

    * ``object words,object words;object words,object words``: the reference's caption.txt. One line an image, in the
      order of the files in ``images``; a foreground and a background prompt, further pairs after ``;``. The first word
      of a prompt is the object.
    * ``name<TAB>object words,object words``: the same, keyed by the image's name.
    * JSON lines (name ending in ``.jsonl`` or ``.json``): ``{"name": ..., "object": ..., "foreground": [...],
      "background": [...]}``, several lines with one name for several descriptions.

    A name is the composite's name, or its last part with or without the file's ending.

    Args:
        path: The file.
        images: Folder with the composites, or the only one; needed where the lines carry no names.
        order: The order of the images that lines without names follow: ``natural`` (``2.png`` before ``10.png``, as
            the public code) or ``alphabetical`` (``10.png`` before ``2.png``). None accepts names for which both are
            the same and refuses others.

    Raises:
        InputError: for a file that cannot be read, naming the line, and lines that cannot be paired with the images.
    """

    def __init__(self, path: str, images: str | None = None, order: str | None = None) -> None:
        if order not in (None, *ORDERS):
            raise InputError(f"describer.order must be one of {', '.join(ORDERS)}, or null, got {order}")
        file = Path(path).expanduser()
        lines = _lines(file)
        if file.suffix.lower() in {".jsonl", ".json"}:
            pairs = _json_lines(file, lines)
        elif any("\t" in line for line in lines):
            pairs = _named_lines(file, lines)
        else:
            pairs = _ordered_lines(file, lines, images, order)
        table: dict[str, list[Description]] = {}
        for name, description in pairs:
            table.setdefault(_composed(name), []).append(description)
        self.path = str(file)
        self.descriptions: Mapping[str, Sequence[Description]] = table

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Return the image's first description that was not tried; when all were, see `words.choose`.

        Raises:
            InputError: when the file does not have the image.
        """
        return words.choose(self.prepared(composite.name), previous)

    def prepared(self, name: str) -> Sequence[Description]:
        """Return all descriptions of an image.

        Raises:
            InputError: when the file does not have the image.
        """
        given = _composed(name)
        last = given.replace("\\", "/").rsplit("/", 1)[-1]
        for spelled in dict.fromkeys((given, last, Path(last).stem)):
            if spelled in self.descriptions:
                return self.descriptions[spelled]
        known = sorted(self.descriptions)
        raise InputError(
            f"{self.path} has no description of image {name!r}; its {len(known)} names are "
            f"{', '.join(known[:5])}{', ...' if len(known) > 5 else ''}"
        )


def _composed(name: str) -> str:
    """Bring accents to one form: some systems decompose them in file names."""
    return unicodedata.normalize("NFC", name)


def _lines(file: Path) -> list[str]:
    require_regular(file, "a file of descriptions", MAX_BYTES, "describer.path")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not a text file in UTF-8: {error}") from None
    except OSError as error:
        raise InputError(
            f"describer.path={file} cannot be read ({error.strerror}); expected a file of descriptions"
        ) from None
    lines = [line.rstrip("\r") for line in text.rstrip().split("\n")]
    if lines == [""]:
        raise InputError(f"{file} is empty; expected a description in each line")
    return lines


def _prompts(text: str, where: str) -> Iterator[Description]:
    for pair in text.strip().rstrip(";").split(";"):
        prompts = [prompt.split() for prompt in pair.split(",")]
        if len(prompts) != 2:
            raise InputError(
                f"{where}: {pair.strip()!r} has {len(prompts) - 1} commas; expected two prompts with one comma between "
                "them, 'object words,object words'"
            )
        front, back = prompts
        if front[:1] != back[:1]:
            raise InputError(
                f"{where}: the two prompts of {pair.strip()!r} start with different words; expected the same object, "
                "one word, at the start of both"
            )
        name = front[0] if front else ""
        foreground, front_weights = words.weighted(front[1:], where)
        background, back_weights = words.weighted(back[1:], where)
        words.require(name, foreground, background, where)
        yield Description(
            name,
            foreground,
            background,
            describer="file",
            user_provided=True,
            foreground_weights=front_weights,
            background_weights=back_weights,
        )


def _named_lines(file: Path, lines: Sequence[str]) -> Iterator[tuple[str, Description]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, tab, text = line.partition("\t")
        if not tab or not name.strip():
            raise InputError(f"{file}:{number}: expected 'name<TAB>object words,object words', got {line!r}")
        for description in _prompts(text, f"{file}:{number}"):
            yield name.strip(), description


def _ordered_lines(
    file: Path, lines: Sequence[str], images: str | None, order: str | None
) -> Iterator[tuple[str, Description]]:
    if images is None:
        raise InputError(
            f"the lines of {file} carry no image names; set describer.images to the folder whose files they follow "
            "in order, or begin each line with the image's name and a tab"
        )
    folder = Path(images).expanduser()
    if folder.is_dir():
        paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
        names = _in_order(file, [path.name for path in paths], order)
    elif folder.is_file():
        names = [folder.name]
    else:
        raise InputError(f"describer.images={folder} does not exist; expected the folder of the composites")
    if len(names) != len(lines):
        raise InputError(
            f"{file} has {len(lines)} lines but {folder} has {len(names)} images; expected one line for each image"
        )
    stems = [Path(name).stem for name in names]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise InputError(f"{folder} has several images named {', '.join(twice)}; expected each name once")
    for number, (stem, line) in enumerate(zip(stems, lines, strict=True), 1):
        for description in _prompts(line, f"{file}:{number}"):
            yield stem, description


def _in_order(file: Path, names: Sequence[str], order: str | None) -> list[str]:
    """Order the images as the lines do; refuses to guess where the two usual orders differ."""
    natural, alphabetical = natsorted(names), sorted(names)
    if order is None and natural != alphabetical:
        place = next(place for place, pair in enumerate(zip(natural, alphabetical, strict=True)) if len(set(pair)) > 1)
        raise InputError(
            f"the lines of {file} carry no image names, and line {place + 1} is for {natural[place]} in natural order "
            f"but for {alphabetical[place]} in alphabetical order; set describer.order to natural (the public code's) "
            "or alphabetical, or begin each line with the image's name and a tab"
        )
    return alphabetical if order == "alphabetical" else natural


def _json_lines(file: Path, lines: Sequence[str]) -> Iterator[tuple[str, Description]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not JSON ({error}); expected one object in each line") from None
        yield _text(row, "name", where), _from_row(row, where)


def _text(row: Any, key: str, where: str) -> str:
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise InputError(
            f"{where}: {key!r} is {value!r}; expected 'name', 'object', 'foreground' and 'background' in each line"
        )
    return value.strip()


def _from_row(row: dict[str, Any], where: str) -> Description:
    name = " ".join(words.split(row.get("object"), f"{where} object"))
    front, front_weights = words.weighted(row.get("foreground"), f"{where} foreground")
    back, back_weights = words.weighted(row.get("background"), f"{where} background")
    words.require(name, front, back, where)
    describer = row.get("describer")
    return Description(
        name,
        front,
        back,
        describer=f"file ({describer})" if describer else "file",
        user_provided=True,
        foreground_weights=front_weights,
        background_weights=back_weights,
    )
