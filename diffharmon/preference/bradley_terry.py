"""Scores from pairwise choices (Bradley and Terry, Biometrika 1952): the higher one wins with the logistic probability.

A tie counts as half a win for each side. A weak Gaussian prior keeps the score of a run that always wins finite.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from diffharmon.preference.answers import Answer

PRIOR = 0.1  # weight of the squared scores beside the log likelihood, as choix's alpha
RESAMPLES = 1000
_LEVELS = (2.5, 97.5)  # percentiles of a 95 % interval
_STEPS = 50
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Standing:
    """How one run fared.

    Attributes:
        run: Its label.
        score: Log of its strength, of mean 0 over the runs; a lead of 1 wins 73 % of the choices.
        low: Lower end of the score's 95 % bootstrap interval over images.
        high: Upper end of it.
        wins: Share of its comparisons won, a tie as half.
        comparisons: Number of its comparisons.
    """

    run: str
    score: float
    low: float
    high: float
    wins: float
    comparisons: int


def standings(answers: Sequence[Answer], seed: int = 0, resamples: int = RESAMPLES) -> list[Standing]:
    """Score all runs that were compared, the best first.

    Answers on the same image depend on each other, so the bootstrap draws images.

    Args:
        answers: Choices, without catch trials.
        seed: Seed of the bootstrap.
        resamples: Number of draws.

    Raises:
        ValueError: There are no answers.
    """
    if not answers:
        raise ValueError("expected at least one answer to score runs by, got none")
    runs = sorted({run for answer in answers for run in (answer.left, answer.right)})
    images = sorted({answer.image for answer in answers})
    by_image = np.zeros((len(images), len(runs), len(runs)))
    for answer in answers:
        left, right, image = runs.index(answer.left), runs.index(answer.right), images.index(answer.image)
        share = {"left": 1.0, "right": 0.0, "tie": 0.5}[answer.choice]
        by_image[image, left, right] += share
        by_image[image, right, left] += 1 - share
    wins = by_image.sum(0)
    found = scores(wins)
    generator = np.random.default_rng(seed)
    drawn = [scores(by_image[generator.integers(0, len(images), len(images))].sum(0)) for _ in range(resamples)]
    low, high = np.percentile(drawn, _LEVELS, axis=0) if len(images) > 1 else np.full((2, len(runs)), np.nan)
    played = wins.sum(1) + wins.sum(0)
    table = [
        Standing(
            run,
            score=float(found[i]),
            low=float(low[i]),
            high=float(high[i]),
            wins=float(wins[i].sum() / played[i]),
            comparisons=int(played[i]),
        )
        for i, run in enumerate(runs)
    ]
    return sorted(table, key=lambda standing: -standing.score)


def scores(wins: Float[np.ndarray, "runs runs"], prior: float = PRIOR) -> Float[np.ndarray, "runs"]:
    """Return the scores that maximize log likelihood minus prior, by Newton's method.

    Args:
        wins: How often the run of a row was preferred to that of a column.
        prior: Weight of the sum of squared scores; must be positive.
    """
    values = np.zeros(len(wins))
    games = wins + wins.T
    for _ in range(_STEPS):
        expected = 1 / (1 + np.exp(values[None] - values[:, None]))
        gradient = (wins - games * expected).sum(1) - 2 * prior * values
        spread = games * expected * (1 - expected)
        hessian = np.diag(spread.sum(1) + 2 * prior) - spread
        step = np.linalg.solve(hessian, gradient)
        values = values + np.clip(step, -1, 1)
        if np.abs(step).max() < _TOLERANCE:
            break
    return values - values.mean()
