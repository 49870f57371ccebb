"""The answers of one form, by what was asked: cells of two questions each. Arithmetic only.

A cell holds the log-odds of the two questions about one contrast of one request: of choices both
orders (`ab`, `ba`), of Yes or No both answers (`a`, `b`). Its preference is in favour of the first
answer, and free of what the judge leans to: a place, or Yes.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from stages.evaluation.instrument.planted import NATURAL
from stages.evaluation.instrument.questions import OPPOSITE, PLAIN
from stages.runtime.rows import Question

Cell = Mapping[str, float]
"""By place, the log-odds."""
ByRequest = dict[str, Cell]
"""By the id of the request."""
Preference = Callable[[Cell], float]
"""From a cell to the log-odds in favour of the first answer."""
Both = tuple[str, float, float]
"""(request, log-odds as first asked, log-odds as asked again)"""


def choice_preference(cell: Cell) -> float:
    """Return the log-odds in favour of the first answer, averaged over both orders."""
    return (cell["ab"] - cell["ba"]) / 2


def yes_no_preference(cell: Cell) -> float:
    """Return by how much the log-odds of Yes are larger for the first answer."""
    return cell["a"] - cell["b"]


def wins(log_odds: float) -> float:
    """Return 1 for the first option, 0 for the second, one half for a tie."""
    if log_odds == 0:
        return 0.5
    return float(log_odds > 0)


def is_flipped(cell: Cell) -> float:
    """Return 1 where the same place wins in both orders."""
    return float((cell["ab"] > 0) == (cell["ba"] > 0))


class Cells:
    """The cells of one form.

    Args:
        rows: the answers.
        preference: what a cell says of its two answers.
    """

    def __init__(self, rows: Sequence[Question], preference: Preference):
        self.preference = preference
        self._cells: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
        for row in rows:
            asked = self._cells.setdefault((row.contrast, row.wording), {})
            cell = asked.setdefault(row.prompt_id, {})
            cell[row.place] = row.log_odds

    def parts(self, wording: str, contrast: str = NATURAL) -> ByRequest:
        """Return the cells, those too that lack one of the two answers."""
        return dict(self._cells.get((contrast, wording), {}))

    def whole(self, wording: str, contrast: str = NATURAL) -> ByRequest:
        """Return the cells with both answers."""
        cells = {}
        for request, cell in self.parts(wording, contrast).items():
            if len(cell) == 2:
                cells[request] = cell
        return cells

    def natural(self) -> list[tuple[str, Cell]]:
        """Return (request, cell) of the natural pairs, under principles and their opposites."""
        plain = self.whole(PLAIN)
        opposite = self.whole(OPPOSITE)
        return [*plain.items(), *opposite.items()]

    def under_both(self) -> list[Both]:
        """Return the preferences under a principle and under its opposite."""
        opposite = self.whole(OPPOSITE)
        pairs = []
        for request, cell in self.whole(PLAIN).items():
            if request in opposite:
                before = self.preference(cell)
                after = self.preference(opposite[request])
                pairs.append((request, before, after))
        return pairs

    def asked_again(self, wording: str) -> list[Both]:
        """Return what was asked twice.

        It is the preference where both questions of a cell were, otherwise the one that was.
        """
        plain = self.whole(PLAIN)
        pairs = []
        for request, cell in self.parts(wording).items():
            first = plain.get(request)
            if first is None:
                continue
            if len(cell) == 2:
                pairs.append((request, self.preference(first), self.preference(cell)))
                continue
            for place, log_odds in cell.items():
                pairs.append((request, first[place], log_odds))
        return pairs

    def preferences(self, contrast: str) -> list[tuple[str, float]]:
        """Return (request, preference) of a contrast under principles as they are."""
        cells = self.whole(PLAIN, contrast)
        return [(request, self.preference(cell)) for request, cell in cells.items()]

    def clearest(self) -> set[str]:
        """Return the half of the requests whose preference is clearest under both wordings.

        Its sign plays no part, so that chance alone turns one half of them.
        """
        sizes = {}
        for request, before, after in self.under_both():
            sizes[request] = abs(before * after)
        ranked = sorted(sizes, key=sizes.__getitem__, reverse=True)
        half = math.ceil(len(ranked) / 2)
        return set(ranked[:half])
