"""Reading the condition words of one side of an answer against the closed vocabulary."""

import logging
import re
from collections.abc import Iterator

from diffharmon.condition.vocabulary import VOCABULARY, list_of
from diffharmon.describer.synonyms import SYNONYMS
from diffharmon.language_model.faults import AnswerError

_log = logging.getLogger(__name__)

_LISTS = r"(?:brightness|weather|(?:colou?r[ _-]?)?temperature|seasons?|time(?:[ _-]of[ _-]day)?|colou?r[ _-]?tones?"
_LIST_LABEL = re.compile(_LISTS + r"|environment)(?:\s*[:=]|\s+-(?=\s))\s*")
# A whole answer, not the middle of "dawn/autumn".
_NOT_APPLICABLE = re.compile(r"(?<![a-z])n/a(?![a-z])")
_NOTHING = frozenset(("none", "n/a", "na", "null", "nothing", "not applicable", "unknown", "-", ""))
_NEGATIONS = frozenset(
    ("not", "no", "non", "without", "never", "hardly", "barely", "isn't", "aren't", "neither", "nor", "less", "un")
)
# Words that change nothing about which vocabulary word is meant, as long as one stands beside them.
_FILLER_WORDS = """a an the is are it its with of in at under by and very quite rather somewhat slightly fairly mostly
    extremely really more looks appears lit light lights lighting illumination conditions condition atmosphere ambience
    ambiance mood scene setting surroundings tone tones toned hue hues tint tints cast color colors colored colour
    colours coloured weather temperature season time brightness environment feel feeling"""
_FILLERS = frozenset(_FILLER_WORDS.split())


def read_words(text: str, side: str) -> tuple[str, ...]:
    """Return the vocabulary words in ``text``, in its order, each once.

    Args:
        text: Lower-case words with any separators; labels such as ``brightness:`` may stand before them.
        side: ``foreground`` or ``background``, for messages.

    Raises:
        AnswerError: for a word outside the vocabulary, a negated word, two words of one list, or no brightness word.
    """
    found: dict[str, str] = {}
    for phrase in _phrases(text):
        for word in _phrase_words(phrase, side):
            name = list_of(word)
            if name is None:
                raise AssertionError(f"{word!r} was read as a vocabulary word")
            if found.setdefault(name, word) != word:
                raise AnswerError(f"the {side} has two words of the list {name}: {found[name]} and {word}")
    if not found:
        raise AnswerError(f"the {side} has no words")
    if "brightness" not in found:
        raise AnswerError(
            f"the {side} ({', '.join(found.values())}) has no brightness word; expected one of "
            f"{', '.join(VOCABULARY['brightness'])}"
        )
    return tuple(found.values())


def _phrases(text: str) -> Iterator[str]:
    """Split at punctuation and list labels; a value such as ``weather: none`` gives no phrase."""
    text = re.sub(r"\s+and\s+(?!white\b)|[\s,;]+as well as\s+", ", ", text)
    text = re.sub(r"(?m)^\s*(?:[-•·+]|\d+[.)])\s+", "", text)
    for part in re.split(r"[,;/|&+\n()\[\]{}<>!.?:]+", _NOT_APPLICABLE.sub("none", _LIST_LABEL.sub(", ", text))):
        phrase = " ".join(part.replace("_", " ").split()).strip("-' ")
        if phrase not in _NOTHING:
            yield phrase


def _phrase_words(phrase: str, side: str) -> Iterator[str]:
    tokens = [token for token in phrase.split(" ") if token]
    if _NEGATIONS.intersection(tokens):
        raise AnswerError(f"the {side} says {phrase!r}, a negation; expected words that do apply")
    fillers, position, known = [], 0, False
    while position < len(tokens):
        length, word = _longest(tokens[position:])
        if word:
            known = True
            yield word
        elif tokens[position] in _FILLERS:
            fillers.append(tokens[position])
        elif "-" in tokens[position]:
            tokens[position : position + 1] = [part for part in tokens[position].split("-") if part]
            continue
        else:
            raise AnswerError(f"the {side} word {tokens[position]!r} is not in the vocabulary")
        position += length
    # "(brightness)" behind its word is a label of its own; any other lone filler was meant as a description.
    if not known and not re.fullmatch(_LISTS + r"|environment)", phrase):
        raise AnswerError(f"the {side} word {phrase!r} is not in the vocabulary")


def _longest(tokens: list[str]) -> tuple[int, str]:
    """Match up to three tokens at the front with a vocabulary word or synonym; length 1 and no word where none fits."""
    for length in range(min(3, len(tokens)), 0, -1):
        form = "-".join(tokens[:length])
        if list_of(form):
            return length, form
        if form in SYNONYMS:
            _log.info("read %r as %r", form, SYNONYMS[form])
            return length, SYNONYMS[form]
    return 1, ""
