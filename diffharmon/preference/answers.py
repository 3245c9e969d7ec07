"""Files of answers to pairwise questions, as the page of a user study saves them and a judging model writes them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from diffharmon.errors import InputError

FORMAT = "diffharmon answers 1"
HARMONY = "harmony"
Choice = Literal["left", "right", "tie"]
MIN_CAUGHT = 0.75  # share of catch trials that a session must answer rightly for its answers to count


@dataclass(frozen=True)
class Answer:
    """One answer: which of two pictures of an image was preferred.

    Attributes:
        image: The image's name.
        left: Label of the run shown on the left, or first.
        right: Label of the run shown on the right, or second.
        choice: What was preferred.
        axis: What was asked for.
        catch: The right choice where the question was a catch trial, else empty.
        seconds: How long it took.
    """

    image: str
    left: str
    right: str
    choice: Choice
    axis: str = HARMONY
    catch: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Session:
    """The answers of one person in one sitting, or of one model.

    Attributes:
        judge: Who answered: ``people``, or the name of a model.
        answers: The answers, in order.
    """

    judge: str
    answers: tuple[Answer, ...]

    @property
    def caught(self) -> float:
        """Share of catch trials answered rightly; 1 without any."""
        trials = [answer for answer in self.answers if answer.catch]
        return sum(answer.choice == answer.catch for answer in trials) / len(trials) if trials else 1.0

    @property
    def is_attentive(self) -> bool:
        """Whether its answers count."""
        return self.caught >= MIN_CAUGHT


def write_session(path: Path, session: Session) -> None:
    """Write a file of answers."""
    content = {"format": FORMAT, "judge": session.judge, "answers": [asdict(answer) for answer in session.answers]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_sessions(paths: Iterable[Path]) -> list[Session]:
    """Read files of answers; a folder stands for all ``*.json`` in it.

    Raises:
        InputError: A file is none of answers, or is given twice.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        raise InputError("no file of answers; expected the files that the study's page saved, or a folder of them")
    known: dict[str, Path] = {}
    sessions = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
            session = _session(json.loads(text))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file}: no file of answers of diffharmon ({type(error).__name__}: {error})") from error
        if text in known:
            raise InputError(f"{file}: the same answers as {known[text]}; expected each file once")
        known[text] = file
        sessions.append(session)
    return sessions


def _session(content: Mapping[str, Any]) -> Session:
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
    for row in content["answers"]:
        if row["choice"] not in get_args(Choice):
            raise ValueError(f"choice {row['choice']!r}, expected one of {', '.join(get_args(Choice))}")
    answers = tuple(Answer(**row) for row in content["answers"])
    for answer in answers:
        if not answer.catch and answer.left == answer.right:
            raise ValueError(f"{answer.left!r} is compared with itself on {answer.image!r}")
    return Session(str(content["judge"]), answers)


def counted(sessions: Sequence[Session]) -> list[Answer]:
    """Return the answers that count: of attentive sessions, without their catch trials."""
    return [answer for session in sessions if session.is_attentive for answer in session.answers if not answer.catch]
