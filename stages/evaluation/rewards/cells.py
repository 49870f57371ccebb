"""Judged pairs under one principle, and the questions that reward models are asked about them.

Pure functions. In: the judge matrix of held-out pairs, and a ground truth if there is one. Out:
`Cell`s, and `Question`s that a model answers by its difference in score.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stages.evaluation.ground_truth import GroundTruth
from stages.evaluation.judge_agreement import better_response, right
from stages.principles.constitution import Principle, wording
from stages.runtime.rows import Judgement, Message


@dataclass(frozen=True)
class Question:
    """A pair under principle texts.

    The answer is the score of a minus that of b. It is right if it has the sign of `better`.
    """

    prompt_id: str
    prompt: list[Message]
    a: str
    """The text of one response; `b` is that of the other."""
    b: str
    texts: tuple[str, ...]
    """The principles, in the order in which the model reads them."""
    better: int
    """+1 if response a is better, -1 if b is."""


Answer = Callable[[Question], float]
"""A model's difference in score."""


@dataclass(frozen=True)
class Cell:
    """A pair under one principle."""

    row: Judgement
    principle: Principle
    better: int
    """+1 if response a is better, -1 if b is, 0 if neither is preferred."""

    @property
    def key(self) -> tuple[str, str]:
        return self.row.pair_id, self.principle.id

    def question(self, texts: tuple[str, ...], better: int) -> Question:
        """The pair under other texts."""
        return Question(
            prompt_id=self.row.prompt_id,
            prompt=self.row.prompt,
            a=self.row.response_a,
            b=self.row.response_b,
            texts=texts,
            better=better,
        )


def read_cells(
    rows: Sequence[Judgement],
    principles: Mapping[str, Principle],
    truth: GroundTruth | None,
    min_margin: float,
) -> tuple[list[Cell], list[Cell]]:
    """The cells that prefer one response, and those that prefer neither.

    The ground truth prefers a response if only the other one violates the principle's dimension;
    principles that it does not know have no cells. Without a ground truth the judge decides: it
    must prefer the same response in both orders, by at least `min_margin` on average.
    """
    decided: list[Cell] = []
    undecided: list[Cell] = []
    for row in rows:
        principle = principles.get(row.principle)
        if principle is None:
            continue
        if truth:
            better = better_response(row, principle.dimension, truth)
        else:
            better = _better_by_judge(row, min_margin)
        if better is not None:
            cells = decided if better else undecided
            cells.append(Cell(row, principle, better))
    return decided, undecided


def _better_by_judge(row: Judgement, min_margin: float) -> int:
    margin = (row.margin_ab + row.margin_ba) / 2
    orders_agree = row.margin_ab * row.margin_ba > 0
    if not orders_agree or abs(margin) < min_margin:
        return 0
    return 1 if margin > 0 else -1


def by_pair(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """The cells of each pair."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.row.pair_id, []).append(cell)
    return groups


def ask(cell: Cell, negated: bool = False) -> Question:
    """One cell as a question, under its principle or the principle's opposite."""
    better = -cell.better if negated else cell.better
    return cell.question((wording(cell.principle, negated),), better)


def is_right(question: Question, answer: Answer) -> float:
    """1 if the answer is right, 0 if not, and 0.5 for a tie."""
    return right(answer(question), question.better)
