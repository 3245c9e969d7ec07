"""Whether a judge that sees the same pair in both orders keeps to its choice."""

from collections.abc import Sequence

from diffharmon.preference.answers import Answer


def disagreements(answers: Sequence[Answer]) -> tuple[int, int]:
    """Count pairs that were shown in both orders, and those of them in which the choice changed with the order.

    A person's repeated answers to a pair in one order count once, the last.

    Args:
        answers: Choices on one axis by one judge.
    """
    chosen = {(answer.image, answer.left, answer.right): _preferred(answer) for answer in answers}
    pairs = [(key, (key[0], key[2], key[1])) for key in chosen if key[1] < key[2]]
    both = [(chosen[first], chosen[second]) for first, second in pairs if second in chosen]
    return len(both), sum(first != second for first, second in both)


def _preferred(answer: Answer) -> str:
    return {"left": answer.left, "right": answer.right, "tie": ""}[answer.choice]
