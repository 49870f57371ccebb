"""What the answers of a judge's examination show. Arithmetic only.

In: Question rows. Out: for choices and for Yes or No a plain dict of estimates {value, low, high,
n}, where n counts requests; None where nothing was asked:

    mass        {median, low: the share of questions with less than LOW_MASS, n}: the probability of
                both options together
    first       choices: how often the place shown first wins; 0.5 is fair
    flips       choices: how often the preference depends on the order, over natural pairs
    flips_clear the same over the half of the requests whose preference is clearest
    yes         Yes or No: how often the answer is Yes. Each answer is asked about under a principle
                and under its opposite, so that 0.5 is fair
    turned      Yes or No: how often an answer gets Yes under exactly one of the two
    turning     how the preference between two answers moves when the principle is replaced by its
                opposite: minus Spearman's correlation of the two preferences over the requests. 1:
                it is reversed; 0: it is noise; -1: the principle is not read
    paraphrase  how often the verdict is the same in other words
    repeat      how often it is the same when the question is asked again
    spread      standard deviations of log-odds: `answers` between two answers, `paraphrase` and
                `repeat` under other words and none; a judge that sees answers has the first largest
    planted     by kind, and `all` but the contrary ones: how often the better answer is preferred
    people      how often the answer is preferred that people preferred
    prior       Yes or No: the mean log-odds of Yes over the natural questions

A preference is the mean over both orders for choices; for Yes or No it is the difference of the two
answers' log-odds. Neither depends on the judge's bias for a place or for Yes.

Sources: Shi et al. 2024 (arXiv 2406.07791) for flips, first place and repeats; Zheng et al. 2023
(arXiv 2306.05685) for orders; Sun et al. 2023 (arXiv 2310.05910) for opposites of principles.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Any

from stages.evaluation.instrument.planted import CONTRARY, NATURAL, PEOPLE, PLANTED
from stages.evaluation.instrument.questions import (
    CHOICE_FORM,
    OPPOSITE,
    PARAPHRASE,
    PLAIN,
    REPEAT,
    YES_NO_FORM,
)
from stages.runtime.calls import LOW_MASS
from stages.runtime.rows import Question
from stages.statistics.intervals import Estimate, by_prompt, mean_interval, share

Cell = Mapping[str, float]
"""By place, the log-odds."""
Cells = dict[tuple[str, str], dict[str, Cell]]
"""By contrast and wording, and request."""
FEWEST = 4
"""Requests for a correlation with an interval."""


def read_answers(rows: Sequence[Question], confidence: float = 0.95) -> dict[str, Any]:
    """Return the readings of both forms."""
    return {
        CHOICE_FORM: _choices([row for row in rows if row.form == CHOICE_FORM], confidence),
        YES_NO_FORM: _yes_no([row for row in rows if row.form == YES_NO_FORM], confidence),
    }


def _choices(rows: Sequence[Question], confidence: float) -> dict[str, Any]:
    cells = _cells(rows)
    natural = [*_of(cells, PLAIN), *_of(cells, OPPOSITE)]
    first_places = [
        (row.prompt_id, _wins(row.log_odds)) for row in rows if row.wording in (PLAIN, OPPOSITE)
    ]
    clear = _clearest(cells)
    flips = [(prompt, _is_flipped(cell)) for prompt, cell in natural]
    flips_clear = [(prompt, value) for prompt, value in flips if prompt in clear]
    return {
        "mass": _mass(rows),
        "first": _share(first_places, confidence),
        "flips": _share(flips, confidence),
        "flips_clear": _share(flips_clear, confidence),
        **_common(cells, choice_preference, "ab", confidence),
    }


def _yes_no(rows: Sequence[Question], confidence: float) -> dict[str, Any]:
    cells = _cells(rows)
    natural = [*_of(cells, PLAIN), *_of(cells, OPPOSITE)]
    answers = [(prompt, value) for prompt, cell in natural for value in cell.values()]
    opposite = dict(_of(cells, OPPOSITE))
    turned = []
    for prompt, cell in _of(cells, PLAIN):
        for place, value in cell.items():
            if place in opposite.get(prompt, {}):
                is_turned = (value > 0) != (opposite[prompt][place] > 0)
                turned.append((prompt, float(is_turned)))
    return {
        "mass": _mass(rows),
        "yes": _share([(prompt, _wins(value)) for prompt, value in answers], confidence),
        "turned": _share(turned, confidence),
        "prior": _plain(mean_interval(list(by_prompt(answers).values()), confidence=confidence)),
        **_common(cells, yes_no_preference, "a", confidence),
    }


def choice_preference(cell: Cell) -> float:
    """Return the log-odds in favour of the first answer, averaged over both orders."""
    return (cell["ab"] - cell["ba"]) / 2


def yes_no_preference(cell: Cell) -> float:
    """Return by how much the log-odds of Yes are larger for the first answer."""
    return cell["a"] - cell["b"]


def _common(
    cells: Cells,
    preference: Any,
    place: str,
    confidence: float,
) -> dict[str, Any]:
    """Return what is measured alike in both forms; `place` is the question that is repeated."""
    plain = dict(_of(cells, PLAIN))
    opposite = dict(_of(cells, OPPOSITE))
    both = [prompt for prompt in plain if prompt in opposite]
    under_principle = [preference(plain[prompt]) for prompt in both]
    under_opposite = [preference(opposite[prompt]) for prompt in both]
    changes = {}
    agreements = {}
    for wording in (PARAPHRASE, REPEAT):
        again = dict(_of(cells, wording, whole=False))
        pairs = _answered_twice(plain, again, preference if wording == PARAPHRASE else None, place)
        agreements[wording] = _share(
            [(prompt, float((old > 0) == (new > 0))) for prompt, old, new in pairs], confidence
        )
        changes[wording] = _noise([new - old for _, old, new in pairs])
    return {
        "turning": _plain(turning(under_principle, under_opposite, confidence)),
        **agreements,
        "spread": {"answers": _noise([preference(cell) for cell in plain.values()]), **changes},
        "planted": _planted(cells, preference, confidence),
        "people": _right(cells, (PEOPLE,), preference, confidence),
    }


def _answered_twice(
    plain: Mapping[str, Cell], again: Mapping[str, Cell], preference: Any, place: str
) -> list[tuple[str, float, float]]:
    """Return (request, log-odds, log-odds when asked again).

    It is the preference where both orders were asked again, otherwise the one question.
    """
    pairs = []
    for prompt, cell in again.items():
        if prompt not in plain:
            continue
        if preference and cell.keys() == plain[prompt].keys():
            pairs.append((prompt, preference(plain[prompt]), preference(cell)))
        elif place in cell:
            pairs.append((prompt, plain[prompt][place], cell[place]))
    return pairs


def turning(
    under_principle: Sequence[float], under_opposite: Sequence[float], confidence: float = 0.95
) -> Estimate | None:
    """Return minus Spearman's correlation, with Fisher's interval of a correlation of ranks.

    Where one side does not vary, it is 0 with the interval of that. None for fewer than 4 requests.
    """
    n = len(under_principle)
    if n < FEWEST:
        return None
    from scipy.stats import norm, pearsonr, rankdata

    if len(set(under_principle)) == 1 or len(set(under_opposite)) == 1:
        half = math.tanh(norm.ppf((1 + confidence) / 2) / math.sqrt(n - 3))
        return Estimate(0.0, -half, half, n)
    result = pearsonr(rankdata(under_principle), rankdata(under_opposite))
    interval = result.confidence_interval(confidence)
    return Estimate(-float(result.statistic), -float(interval.high), -float(interval.low), n)


def _planted(cells: Cells, preference: Any, confidence: float) -> dict[str, Any]:
    kinds = {kind: _right(cells, (kind,), preference, confidence) for kind in (*PLANTED, CONTRARY)}
    return kinds | {"all": _right(cells, PLANTED, preference, confidence)}


def _right(
    cells: Cells, contrasts: Sequence[str], preference: Any, confidence: float
) -> dict[str, Any] | None:
    """How often the first answer of these contrasts is preferred."""
    values = []
    for contrast in contrasts:
        for prompt, cell in _of(cells, PLAIN, contrast):
            values.append((prompt, _wins(preference(cell))))
    return _share(values, confidence)


def _clearest(cells: Cells) -> set[str]:
    """Return the half of the requests whose preference is clearest under both wordings.

    The sign of a preference plays no part, so that chance alone turns one half of them.
    """
    opposite = dict(_of(cells, OPPOSITE))
    sizes = {}
    for prompt, cell in _of(cells, PLAIN):
        if prompt in opposite:
            size = choice_preference(cell) * choice_preference(opposite[prompt])
            sizes[prompt] = abs(size)
    ranked = sorted(sizes, key=lambda prompt: sizes[prompt], reverse=True)
    return set(ranked[: math.ceil(len(ranked) / 2)])


def _cells(rows: Sequence[Question]) -> Cells:
    cells: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for row in rows:
        of_contrast = cells.setdefault((row.contrast, row.wording), {})
        of_contrast.setdefault(row.prompt_id, {})[row.place] = row.log_odds
    return {key: dict(by_request) for key, by_request in cells.items()}


def _of(
    cells: Cells, wording: str, contrast: str = NATURAL, whole: bool = True
) -> list[tuple[str, Cell]]:
    """Return the cells of a contrast; `whole` leaves out those where a question has no answer."""
    chosen = []
    for prompt, cell in cells.get((contrast, wording), {}).items():
        if len(cell) == 2 or not whole:
            chosen.append((prompt, cell))
    return chosen


def _wins(log_odds: float) -> float:
    """1 for the first option, 0 for the second, one half for a tie."""
    return 0.5 if log_odds == 0 else float(log_odds > 0)


def _is_flipped(cell: Cell) -> float:
    return float((cell["ab"] > 0) == (cell["ba"] > 0))


def _mass(rows: Sequence[Question]) -> dict[str, Any] | None:
    masses = [row.mass for row in rows if row.mass is not None]
    if not masses:
        return None
    low = fmean(mass < LOW_MASS for mass in masses)
    return {"median": median(masses), "low": low, "n": len(masses)}


def _noise(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def _share(values: Iterable[tuple[str, float]], confidence: float) -> dict[str, Any] | None:
    return _plain(share(by_prompt(values), confidence))


def _plain(estimate: Estimate | None) -> dict[str, Any] | None:
    return estimate.plain() if estimate else None
