"""Reading a language model's answer: strict about the vocabulary, lenient about form, never silently wrong."""

import html
import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

from diffharmon.describer.answer_words import read_words
from diffharmon.language_model.faults import AnswerError
from diffharmon.types import Description

_SIDES = {"foreground": "foreground", "fg": "foreground", "background": "background", "bg": "background"}
_LABEL = (
    r"(?P<{0}>foreground object|object name|main object|object|obj|subject|foreground|background|fg|bg)"
    r"(?:[ _](?:words?|conditions?|description|lighting|light|imaging conditions?))?"
)
_LABELS = re.compile(
    "|".join(
        (
            r"[(\[<{]\s*" + _LABEL.format("bracketed") + r"\s*[)\]>}]\s*[:=]?",
            r"\b" + _LABEL.format("named") + r"\s*[:=]",
            r"(?:^|[&\n|;])[ \t]*" + _LABEL.format("leading") + r"(?=\s)(?:\s*-\s+)?",
        )
    )
)
_ENDS = re.compile(r"\n\s*\n|\n\s*(?:explanation|reason|reasoning|rationale|justification|notes?)\b")
_PLACEHOLDERS = frozenset(["obj", "object", "foreground", "background", "unknown", "none", "n/a", "name", "subject"])
_LEAD_IN = re.compile(r"^(?:so |sure |ok |okay )?(?:(?:the )?(?:foreground |main )?(?:object|subject|answer) is )")
_NAME = re.compile(r"[^\W\d_]+(?:[-' ][^\W\d_]+){0,2}")


class _Sections(NamedTuple):
    object: str
    foreground: str
    background: str


def parse(text: str) -> Description:
    """Read a description from an answer of the form ``object & (foreground) words & (background) words``.

    Letter case, punctuation, markdown, the order of the sections, lead-ins and explanations on other lines, labelled
    lines and JSON are accepted; synonyms are mapped and logged. Of several whole answers the first one counts.

    Raises:
        AnswerError: when no whole description is found, or it breaks a rule of the vocabulary: a word outside it, two
            words of one list, no brightness word, a negated word.
    """
    clean = _clean(text)
    if not clean:
        raise AnswerError("the answer is empty")
    problem: AnswerError | None = None
    for sections in _candidates(clean):
        try:
            return Description(
                _object(sections.object),
                read_words(sections.foreground, "foreground"),
                read_words(sections.background, "background"),
            )
        except AnswerError as error:
            problem = problem or error
    reason = problem or "it does not have the form 'object & (foreground) words & (background) words'"
    raise AnswerError(f"{reason}; the answer was {_short(text)}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 160 else f"{line[:160]}...")


def _clean(text: str) -> str:
    text = re.sub(r"<think>.*?(</think>|$)", "", text, flags=re.DOTALL)
    text = unicodedata.normalize("NFKC", html.unescape(text)).lower()
    text = re.sub(r"[‐‑‒–—―]", "-", text)
    text = re.sub(r"^```\w*|^\s*(?:[-•·+]|\d+[.)])\s+", "", text, flags=re.MULTILINE)
    text = re.sub(r"</?(?:answer|output|result|response|final)>", "", text)
    return re.sub(r"[*`#$~]+|\\(?=[&_()])", "", text).strip()


def _candidates(text: str) -> Iterator[_Sections]:
    """Yield everything that looks like a whole answer: JSON, then single lines, paragraphs and the whole text."""
    yield from _json(text)
    plain = re.sub(r"[\"“”„«»]|(?<!\w)'|'(?!\w)", "", text)
    lines = plain.splitlines()
    blocks = re.split(r"\n\s*\n", plain)
    for candidate in dict.fromkeys((*lines, *blocks, plain)):
        sections = _split(candidate)
        if sections is not None:
            yield sections


def _split(text: str) -> _Sections | None:
    labels = [(_name(match), match.start(), match.end()) for match in _LABELS.finditer(text)]
    if not labels:
        fields = text.split("&")
        return _Sections(*fields) if len(fields) == 3 else None
    names = [name for name, _, _ in labels]
    if names.count("foreground") != 1 or names.count("background") != 1 or names.count("object") > 1:
        return None
    ends = [start for _, start, _ in labels[1:]] + [len(text)]
    content = {name: text[begin:end] for (name, _, begin), end in zip(labels, ends, strict=True)}
    last = names[-1]
    content[last] = _ENDS.split(content[last].lstrip("\n"))[0]
    content.setdefault("object", text[: labels[0][1]])
    return _Sections(content["object"], content["foreground"], content["background"])


def _name(match: re.Match[str]) -> str:
    label = match["bracketed"] or match["named"] or match["leading"]
    return _SIDES.get(label, "object")


def _object(text: str) -> str:
    name = re.split(r"[:\n]", text.strip(" \t\n&:-|.,;"))[-1]
    name = re.sub(r"(?<=\w)\s*\([^()]*\)", "", name).strip(" \t()[]{}<>.,;|&!-")
    name = _LEAD_IN.sub("", name)
    name = re.sub(r"^(?:an?|the|one|some) ", "", " ".join(name.replace("_", " ").split()))
    if name in _PLACEHOLDERS or not _NAME.fullmatch(name):
        raise AnswerError(f"it does not name the object in one to three words ({name!r})")
    return name


def _json(text: str) -> Iterator[_Sections]:
    decoder = json.JSONDecoder()
    position = text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError:
            end = position + 1
        else:
            yield from _json_sections(value)
        position = text.find("{", end)


def _json_sections(value: Any) -> Iterator[_Sections]:
    if not isinstance(value, dict):
        return
    fields: dict[str, Any] = {}
    for key, content in value.items():
        label = re.sub(r"[\s_]+", " ", key).strip()
        if label in ("object", "obj", "object name", "foreground object", "subject", "name"):
            fields.setdefault("object", content)
        elif label.split(" ")[0] in _SIDES:
            fields.setdefault(_SIDES[label.split(" ")[0]], content)
    if set(fields) == {"object", "foreground", "background"}:
        yield _Sections(*(_flatten(fields[name]) for name in _Sections._fields))


def _flatten(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_flatten(content) or 'none'}" for key, content in value.items())
    if isinstance(value, list):
        return ", ".join(_flatten(content) for content in value)
    return "" if value is None else str(value)
