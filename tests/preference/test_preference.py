"""Scores from choices against an independent solver, and files of answers."""

import json
import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from diffharmon.errors import InputError
from diffharmon.preference.answers import Answer, Session, counted, read_sessions, write_session
from diffharmon.preference.bradley_terry import scores, standings
from diffharmon.preference.orders import disagreements


def drawn(strengths, images=60, ties=0.0, seed=0):
    """Choices of somebody who follows the model exactly."""
    rng = np.random.default_rng(seed)
    answers = []
    for image in range(images):
        for left, right in ((0, 1), (2, 0), (1, 2)):
            wins = rng.random() < 1 / (1 + math.exp(strengths[right] - strengths[left]))
            choice = "tie" if rng.random() < ties else ("left" if wins else "right")
            answers.append(Answer(str(image), f"run {left}", f"run {right}", choice))
    return answers


@pytest.mark.parametrize("prior", [0.01, 0.5])
def test_scores_equal_those_of_choix_and_of_a_logistic_regression(prior):
    wins = np.random.default_rng(3).integers(0, 9, (5, 5)).astype(float)
    np.fill_diagonal(wins, 0)
    wins[4, :] += 3
    wins[:, 4] = 0  # it never loses: only the prior bounds it
    found = scores(wins, prior)
    pairs = [(i, j) for i in range(5) for j in range(5) for _ in range(int(wins[i, j]))]
    rows = np.zeros((len(pairs), 5))
    for row, (winner, loser) in zip(rows, pairs, strict=True):
        row[winner], row[loser] = 1, -1
    # Every choice is told from both sides, which takes half the weight each.
    model = LogisticRegression(fit_intercept=False, C=1 / (2 * prior), tol=1e-10, max_iter=1000)
    model.fit(np.vstack((rows, -rows)), np.repeat([1, 0], len(rows)), np.full(2 * len(rows), 0.5))
    np.testing.assert_allclose(found, model.coef_[0] - model.coef_[0].mean(), atol=1e-4)
    choix = pytest.importorskip("choix", reason="the extra dev brings choix")
    np.testing.assert_allclose(found, choix.opt_pairwise(5, pairs, alpha=prior, tol=1e-9), atol=1e-4)


def test_intervals_hold_the_truth_and_the_order_is_found():
    table = standings(drawn([1.0, 0.0, -1.0]), resamples=200)
    assert [one.run for one in table] == ["run 0", "run 1", "run 2"]
    for one, truth in zip(table, (1.0, 0.0, -1.0), strict=True):
        assert one.low < truth < one.high
        assert one.low < one.score < one.high < one.low + 1.5
    assert sum(one.comparisons for one in table) == 2 * 180
    assert sum(one.score for one in table) == pytest.approx(0)


def test_ties_count_half_and_sides_do_not_matter():
    only_ties = [Answer(str(i), "a", "b", "tie") for i in range(9)]
    assert [(one.score, one.wins) for one in standings(only_ties, resamples=10)] == [(0, 0.5), (0, 0.5)]
    answers = drawn([0.5, 0.0, -0.5], ties=0.2)
    turned = [
        Answer(a.image, a.right, a.left, {"left": "right", "right": "left", "tie": "tie"}[a.choice]) for a in answers
    ]
    assert standings(turned, resamples=10) == standings(answers, resamples=10)


def test_one_image_gives_no_interval():
    table = standings([Answer("one", "a", "b", "left")], resamples=10)
    assert table[0].run == "a"
    assert math.isnan(table[0].low)
    with pytest.raises(ValueError, match="at least one answer"):
        standings([])


def test_sessions_that_fail_the_catch_trials_do_not_count(tmp_path):
    caught = [Answer("x", "a", "a", "left", catch="left"), Answer("y", "a", "a", "right", catch="left")]
    choice = Answer("x", "a", "b", "right", seconds=1.5)
    careful, careless = Session("people", (choice, caught[0])), Session("people", (choice, *caught))
    for name, session in (("1.json", careful), ("2.json", careless)):
        write_session(tmp_path / name, session)
    read = read_sessions([tmp_path])
    assert read == [careful, careless]
    assert [session.caught for session in read] == [1.0, 0.5]
    assert counted(read) == [choice]


def test_a_changed_mind_between_orders_is_counted():
    answers = [
        Answer("x", "a", "b", "left"), Answer("x", "b", "a", "right"),
        Answer("y", "a", "b", "left"), Answer("y", "b", "a", "left"),
        Answer("z", "a", "b", "tie"), Answer("z", "b", "a", "tie"),
        Answer("w", "a", "b", "left"),
    ]  # fmt: skip
    assert disagreements(answers) == (3, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1", "no file of answers"),
        ({"format": "other", "judge": "people", "answers": []}, "its format is 'other'"),
        (
            {"answers": [{"image": "x", "left": "a", "right": "b", "choice": "both"}]},
            "expected one of left, right, tie",
        ),
        ({"answers": [{"image": "x", "left": "a", "right": "a", "choice": "left"}]}, "compared with itself"),
        ({"answers": [{"image": "x", "who": "me"}]}, "no file of answers"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    if isinstance(content, dict):
        content = json.dumps({"format": "diffharmon answers 1", "judge": "people", **content})
    (tmp_path / "answers.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_sessions([tmp_path / "answers.json"])


def test_no_files_and_the_same_file_twice_are_refused(tmp_path):
    with pytest.raises(InputError, match="no file of answers; expected"):
        read_sessions([tmp_path])
    for name in ("a.json", "b.json"):
        write_session(tmp_path / name, Session("people", (Answer("x", "a", "b", "tie"),)))
    with pytest.raises(InputError, match="the same answers as"):
        read_sessions([tmp_path])
