"""The loop's decisions: a table of histories, and the recorded behaviour of the public code."""

import json
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffharmon.errors import InputError
from diffharmon.method.policy import UNCONVINCING, Next, Policy, Stop, decide
from diffharmon.types import Attempt, Description, Score

WORDS = [Description("cat", (f"light{number}",), ("bright",)) for number in range(50)]


def trial(iteration: int, description: int, score: float) -> Attempt:
    return Attempt(iteration, torch.zeros(3, 1, 1), Score(score), WORDS[description], number=0)


def again(start: int, description: int, iteration: int) -> Next:
    return Next(start, WORDS[description], iteration)


COMPOSITE = trial(-1, 0, 0.5)


def history(*scores: float, description: int = 0, composite: float = 0.5) -> list[Attempt]:
    return [trial(-1, 0, composite), *(trial(index, description, score) for index, score in enumerate(scores))]


def first(options):
    return options[0]


def play(scores, known, policy, choose=first, composite=-1.0):
    """Run the loop on scripted scores; return moves, attempts and how their images descend from each other."""
    attempts, starts, moves = [trial(-1, 0, composite)], [None], []
    count = known
    remaining = iter(scores)
    while True:
        move = decide(attempts, WORDS[:count], policy, choose)
        moves.append(move)
        if isinstance(move, Stop):
            return moves, attempts, starts
        description = move.description
        if description is None:
            description, count = WORDS[count], count + 1
        attempts.append(trial(move.iteration, WORDS.index(description), next(remaining)))
        starts.append(move.start)


TABLE = [
    # nothing tried yet
    ([COMPOSITE], 1, Policy(), again(0, 0, 0)),
    ([COMPOSITE], 3, Policy(), again(0, 0, 0)),
    # every description is tried on the composite first
    ([*history(0.9)], 3, Policy(), again(0, 1, 0)),
    ([*history(0.9), trial(0, 1, 0.1)], 3, Policy(), again(0, 2, 0)),
    # the best of them goes on; ties go to the first
    ([*history(0.6), trial(0, 1, 0.9), trial(0, 2, 0.7)], 3, Policy(), again(2, 1, 1)),
    ([*history(0.9), trial(0, 1, 0.9)], 2, Policy(ties="last"), again(1, 0, 1)),
    # rising, one drop, drop then equal, equal: go on
    (history(0.6, 0.7), 1, Policy(), again(2, 0, 2)),
    (history(0.6, 0.5), 1, Policy(), again(2, 0, 2)),
    (history(0.6, 0.5, 0.5), 1, Policy(), again(3, 0, 3)),
    (history(0.6, 0.6, 0.6), 1, Policy(), again(3, 0, 3)),
    # two drops: back to the image before them, and another description
    (
        [*history(0.6, composite=0.1), trial(0, 1, 0.5), trial(1, 0, 0.5), trial(2, 0, 0.4)],
        2,
        Policy(),
        again(1, 1, 3),
    ),
    (history(0.5, 0.6, 0.5, 0.4), 1, Policy(redescribe="new"), Next(2, None, 4)),
    # ... unless there is none, or switching is off
    (history(0.6, 0.5, 0.4), 1, Policy(), Stop(1, "the score fell 2 times in a row and there is no other description")),
    (
        history(0.6, 0.5, 0.4),
        1,
        Policy(restarts=0, redescribe="new"),
        Stop(1, "the score fell 2 times in a row after 0 of 0 switches of description"),
    ),
    # a drop across a switch does not count; two drops after it do
    ([*history(0.9, 0.8, 0.7), trial(3, 1, 0.6), trial(4, 1, 0.5)], 2, Policy(redescribe="new"), again(5, 1, 5)),
    (
        [*history(0.9, 0.8, 0.7), trial(3, 1, 0.6), trial(4, 1, 0.5), trial(5, 1, 0.4)],
        2,
        Policy(redescribe="new"),
        Stop(1, "the score fell 2 times in a row after 1 of 1 switches of description"),
    ),
    (
        [*history(0.9, 0.8, 0.7), trial(3, 1, 0.6), trial(4, 1, 0.5), trial(5, 1, 0.4)],
        2,
        Policy(redescribe="new", restarts=2),
        Next(4, None, 6),
    ),
    # patience
    (history(0.6, 0.5), 1, Policy(patience=1, redescribe="new"), Next(1, None, 2)),
    (history(0.6, 0.5, 0.4), 1, Policy(patience=3), again(3, 0, 3)),
    # the end: best of everything, with or without the composite
    (history(0.4, 0.3), 1, Policy(iterations=2), Stop(0, "all 2 iterations done")),
    (history(0.4, 0.3), 1, Policy(iterations=2, include_composite=False), Stop(1, "all 2 iterations done")),
    (history(0.5, 0.5), 1, Policy(iterations=2), Stop(0, "all 2 iterations done")),
    (history(0.5, 0.5), 1, Policy(iterations=2, ties="last"), Stop(2, "all 2 iterations done")),
    # a composite that is good enough
    (history(), 1, Policy(skip_above=0.5), Stop(0, "the composite's score is at least 0.5")),
    (history(), 1, Policy(skip_above=0.51), again(0, 0, 0)),
    (history(0.4, 0.3), 1, Policy(skip_above=0.6, iterations=2), Stop(0, "all 2 iterations done")),
    (history(0.5, 0.7, 0.7), 1, Policy(iterations=3), Stop(2, "all 3 iterations done")),
    ([*history(0.6), trial(0, 1, 0.9)], 2, Policy(iterations=1), Stop(2, "one iteration done")),
    # a change must convince: odds from 1 to 4, to a little less, and from 1/4 to 1
    (history(0.8), 1, Policy(iterations=1, min_odds_gain=3.999), Stop(1, "one iteration done")),
    (history(0.8), 1, Policy(iterations=1, min_odds_gain=4.001), Stop(0, f"{UNCONVINCING} 4.001 times")),
    (history(0.5, composite=0.2), 1, Policy(iterations=1, min_odds_gain=3.999), Stop(1, "one iteration done")),
    (history(0.3, 0.85), 1, Policy(iterations=2, min_odds_gain=4.0), Stop(2, "all 2 iterations done")),
    (
        history(0.3),
        1,
        Policy(iterations=1, include_composite=False, min_odds_gain=1.0),
        Stop(0, f"{UNCONVINCING} 1 times"),
    ),
    (history(0.4, 0.3), 1, Policy(iterations=2, min_odds_gain=4.0), Stop(0, "all 2 iterations done")),
    (
        [*history(0.6), trial(1, 0, 0.5), trial(2, 0, 0.4)],
        1,
        Policy(min_odds_gain=4.0),
        Stop(0, f"{UNCONVINCING} 4 times"),
    ),
]


@pytest.mark.parametrize(("trials", "known", "policy", "move"), TABLE)
def test_table(trials, known, policy, move):
    assert decide(trials, WORDS[:known], policy, first) == move


@pytest.mark.parametrize("score", [0.0, 1.0, -3.0, 7.5])
def test_odds_are_asked_of_probabilities_alone(score):
    with pytest.raises(InputError, match=rf"min_odds_gain needs a probability, the evaluator's score is {score:g};"):
        decide(
            history(0.5, composite=score),
            WORDS[:1],
            Policy(iterations=1, include_composite=False, min_odds_gain=2.0),
            first,
        )


# Decisions under scripted scores; `tests/reference/golden/README.md` says where they come from.
TRACES = Path(__file__).parents[1] / "reference" / "golden" / "evaluator_trace.json"
RECORDED = json.loads(TRACES.read_text(encoding="utf-8"))


@pytest.mark.parametrize("trace", RECORDED, ids=[trace["name"] for trace in RECORDED])
def test_every_decision_of_the_public_code_is_reproduced(trace):
    choices = iter(trace["choices"])

    def choose(options):
        offered, chosen = next(choices)
        assert [WORDS.index(option) for option in options] == offered
        return WORDS[chosen]

    policy = Policy(iterations=trace["iterations"], include_composite=False)
    moves, trials, starts = play(trace["scores"], trace["prompts"], policy, choose)
    assert [WORDS.index(attempt.description) for attempt in trials[1:]] == trace["descriptions"]
    assert starts[1:] == trace["starts"]
    assert moves[-1].best == trace["best"]
    assert next(choices, None) is None


def test_images_without_an_evaluator_all_run_and_the_last_wins():
    moves, trials, _ = play([0.0] * 9, 1, Policy(iterations=4, ties="last"), composite=0.0)
    assert [attempt.iteration for attempt in trials] == [-1, 0, 1, 2, 3]
    assert moves[-1].best == 4


@given(
    st.lists(st.floats(0, 1), min_size=40, max_size=40),
    st.integers(1, 4),
    st.builds(
        Policy,
        iterations=st.integers(1, 12),
        patience=st.integers(1, 3),
        restarts=st.integers(0, 3),
        redescribe=st.sampled_from(["known", "new"]),
        include_composite=st.booleans(),
        ties=st.sampled_from(["first", "last"]),
    ),
)
def test_any_loop_ends_with_its_best_trial(scores, known, policy):
    moves, trials, starts = play(scores, known, policy, random.Random(0).choice, composite=0.5)
    assert trials[-1].iteration < policy.iterations
    switches = [move for move in moves[known:-1] if move.description != trials[move.start].description]
    assert len(switches) <= policy.restarts
    assert all(start < index for index, start in enumerate(starts) if start is not None)
    candidates = trials if policy.include_composite else trials[1:]
    assert trials[moves[-1].best].score.value == max(attempt.score.value for attempt in candidates)


def test_the_same_history_gives_the_same_move():
    trials = [*history(0.6, composite=0.1), trial(0, 1, 0.5), trial(0, 2, 0.4), trial(1, 0, 0.5), trial(2, 0, 0.4)]
    moves = {decide(trials, WORDS[:3], Policy(), random.Random(7).choice) for _ in range(5)}
    assert len(moves) == 1
    assert next(iter(moves)).description in WORDS[1:3]


@pytest.mark.parametrize(
    ("trials", "known", "message"),
    [
        ([], 1, "untouched composite"),
        ([trial(0, 0, 0.5)], 1, "untouched composite"),
        ([COMPOSITE, COMPOSITE], 1, "untouched composite"),
        ([COMPOSITE], 0, "0 descriptions"),
        (history(float("nan")), 1, "score of iteration 0 is nan"),
        (history(0.5, composite=float("inf")), 1, "iteration -1 is inf"),
    ],
)
def test_impossible_histories_are_refused(trials, known, message):
    with pytest.raises(InputError, match=message):
        decide(trials, WORDS[:known], Policy(), first)
