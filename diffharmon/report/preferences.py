"""What people, or judging models, preferred: a table of Bradley-Terry scores for each judge and each thing asked."""

from collections.abc import Sequence

from diffharmon.preference.answers import MIN_CAUGHT, Answer, Session, counted
from diffharmon.preference.bradley_terry import Standing, standings
from diffharmon.preference.orders import disagreements
from diffharmon.report.grids import Cell, Grid, with_interval
from diffharmon.report.statistics import Estimate

NOTE = (
    "Bradley-Terry scores of mean 0 (a lead of 1 wins 73 % of the choices; a tie is half a win), with 95 % bootstrap "
    "intervals over images."
)


def preference_grids(sessions: Sequence[Session], seed: int = 0) -> list[Grid]:
    """Lay out one table for each judge and axis.

    Args:
        sessions: The answers.
        seed: Seed of the bootstrap.
    """
    found = []
    for judge in dict.fromkeys(session.judge for session in sessions):
        own = [session for session in sessions if session.judge == judge]
        answers = counted(own)
        for axis in dict.fromkeys(answer.axis for answer in answers):
            asked = [answer for answer in answers if answer.axis == axis]
            note = f"{NOTE} {made_of(own, asked)}"
            found.append(grid(f"{axis.capitalize()}, judged by {judge}", note, standings(asked, seed)))
        if not answers:
            found.append(Grid(f"Judged by {judge}", made_of(own, ()), ("run",), ()))
    return found


def made_of(sessions: Sequence[Session], answers: Sequence[Answer]) -> str:
    """Say how many answers there are, how many are ties, how often both orders disagree, and who was left out."""
    parts = [f"{len(answers)} choices on {len({answer.image for answer in answers})} images"]
    parts.append(f"{sum(answer.choice == 'tie' for answer in answers)} ties")
    twice, changed = disagreements(answers)
    if twice:
        parts.append(f"{changed} of {twice} pairs shown in both orders were answered differently")
    left_out = sum(not session.is_attentive for session in sessions)
    text = f"{len(sessions)} session{'s' * (len(sessions) != 1)}, {', '.join(parts)}."
    if left_out:
        text += f" {left_out} left out: fewer than {MIN_CAUGHT:.0%} of the trials with a spoiled picture were right."
    return text


def grid(title: str, note: str, table: Sequence[Standing]) -> Grid:
    """Lay out the runs, the best first."""
    rows = []
    for one in table:
        estimate = Estimate(one.score, one.low, one.high, one.comparisons)
        rows.append(
            (
                Cell(one.run),
                Cell(with_interval(estimate, 2, sign=True), one.score, one is table[0]),
                Cell(f"{100 * one.wins:.0f} %", one.wins),
                Cell(str(one.comparisons), float(one.comparisons)),
            )
        )
    return Grid(title, note, ("run", "score ↑", "preferred ↑", "comparisons"), tuple(rows))
