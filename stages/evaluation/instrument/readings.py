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
    turned      Yes or No: how often an answer is in the upper half of all log-odds under exactly
                one of the two
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
answers' log-odds. Neither depends on the judge's bias for a place or for Yes; nor does `turned`.

Sources: Shi et al. 2024 (arXiv 2406.07791) for flips, first place and repeats; Zheng et al. 2023
(arXiv 2306.05685) for orders; Sun et al. 2023 (arXiv 2310.05910) for opposites of principles.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, median, stdev
from typing import Any

from stages.evaluation.instrument.cells import (
    Both,
    Cells,
    choice_preference,
    is_flipped,
    wins,
    yes_no_preference,
)
from stages.evaluation.instrument.planted import CONTRARY, NATURAL, PEOPLE, PLANTED
from stages.evaluation.instrument.questions import (
    CHOICE_FORM,
    OPPOSITE,
    PARAPHRASE,
    PLAIN,
    REPEAT,
    YES_NO_FORM,
)
from stages.runtime.rows import Question
from stages.runtime.tally import LOW_MASS
from stages.statistics.intervals import Estimate, by_prompt, mean_interval, share

Plain = dict[str, Any]
"""An estimate as plain data."""
Values = Iterable[tuple[str, float]]
"""(request, value)"""
FEWEST = 4
"""Requests for a correlation with an interval."""


def read_answers(rows: Sequence[Question], confidence: float = 0.95) -> Plain:
    """Return the readings of both forms."""
    choices = [row for row in rows if row.form == CHOICE_FORM]
    verdicts = [row for row in rows if row.form == YES_NO_FORM]
    return {
        CHOICE_FORM: _choices(choices, confidence),
        YES_NO_FORM: _yes_no(verdicts, confidence),
    }


def _choices(rows: Sequence[Question], confidence: float) -> Plain:
    cells = Cells(rows, choice_preference)
    clear = cells.clearest()
    flips = []
    for request, cell in cells.natural():
        flips.append((request, is_flipped(cell)))
    flips_clear = [flip for flip in flips if flip[0] in clear]
    places = []
    for row in rows:
        if row.wording in (PLAIN, OPPOSITE):
            places.append((row.prompt_id, wins(row.log_odds)))
    return {
        "mass": _mass(rows),
        "first": _share(places, confidence),
        "flips": _share(flips, confidence),
        "flips_clear": _share(flips_clear, confidence),
        **_common(cells, confidence),
    }


def _yes_no(rows: Sequence[Question], confidence: float) -> Plain:
    cells = Cells(rows, yes_no_preference)
    answers = []
    for request, cell in cells.natural():
        for log_odds in cell.values():
            answers.append((request, log_odds))
    yes = [(request, wins(log_odds)) for request, log_odds in answers]
    means = list(by_prompt(answers).values())
    prior = mean_interval(means, confidence=confidence)
    return {
        "mass": _mass(rows),
        "yes": _share(yes, confidence),
        "turned": _share(_turned(cells), confidence),
        "prior": _plain(prior),
        **_common(cells, confidence),
    }


def _turned(cells: Cells) -> list[tuple[str, float]]:
    """Whether each answer is in the upper half under exactly one of a principle and its opposite.

    Half of these questions deserve a Yes, so the middle is where an unbiased judge would turn.
    """
    natural = [log_odds for _, cell in cells.natural() for log_odds in cell.values()]
    middle = median(natural or [0.0])
    opposite = cells.whole(OPPOSITE)
    turned = []
    for request, cell in cells.whole(PLAIN).items():
        if request not in opposite:
            continue
        for place, log_odds in cell.items():
            other = opposite[request][place]
            is_turned = (log_odds > middle) != (other > middle)
            turned.append((request, float(is_turned)))
    return turned


def _common(cells: Cells, confidence: float) -> Plain:
    """What is measured alike in both forms."""
    both = cells.under_both()
    under_principle = [before for _, before, _ in both]
    under_opposite = [after for _, _, after in both]
    paraphrased = cells.asked_again(PARAPHRASE)
    repeated = cells.asked_again(REPEAT)
    answers = [preference for _, preference in cells.preferences(NATURAL)]
    return {
        "turning": _plain(turning(under_principle, under_opposite, confidence)),
        "paraphrase": _same(paraphrased, confidence),
        "repeat": _same(repeated, confidence),
        "spread": {
            "answers": _deviation(answers),
            "paraphrase": _change(paraphrased),
            "repeat": _change(repeated),
        },
        "planted": _planted(cells, confidence),
        "people": _right(cells, (PEOPLE,), confidence),
    }


def turning(
    under_principle: Sequence[float],
    under_opposite: Sequence[float],
    confidence: float = 0.95,
) -> Estimate | None:
    """Return minus Spearman's correlation, with Fisher's interval of a correlation of ranks.

    Where one side does not vary, it is 0 with the interval of that. None for fewer than 4 requests.
    """
    n = len(under_principle)
    if n < FEWEST:
        return None
    from scipy.stats import norm, pearsonr, rankdata

    if len(set(under_principle)) == 1 or len(set(under_opposite)) == 1:
        quantile = float(norm.ppf((1 + confidence) / 2))
        half = math.tanh(quantile / math.sqrt(n - 3))
        return Estimate(0.0, -half, half, n)
    result = pearsonr(rankdata(under_principle), rankdata(under_opposite))
    interval = result.confidence_interval(confidence)
    value = -float(result.statistic)
    return Estimate(value, -float(interval.high), -float(interval.low), n)


def _planted(cells: Cells, confidence: float) -> Plain:
    """By kind, and all of them but the contrary ones."""
    shares = {}
    for kind in (*PLANTED, CONTRARY):
        shares[kind] = _right(cells, (kind,), confidence)
    shares["all"] = _right(cells, PLANTED, confidence)
    return shares


def _right(cells: Cells, contrasts: Sequence[str], confidence: float) -> Plain | None:
    """How often the first answer of these contrasts is preferred."""
    values = []
    for contrast in contrasts:
        for request, preference in cells.preferences(contrast):
            values.append((request, wins(preference)))
    return _share(values, confidence)


def _same(pairs: Sequence[Both], confidence: float) -> Plain | None:
    """How often both answers are the same."""
    values = []
    for request, before, after in pairs:
        is_same = (before > 0) == (after > 0)
        values.append((request, float(is_same)))
    return _share(values, confidence)


def _change(pairs: Sequence[Both]) -> float | None:
    return _deviation([after - before for _, before, after in pairs])


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def _mass(rows: Sequence[Question]) -> Plain | None:
    masses = [row.mass for row in rows if row.mass is not None]
    if not masses:
        return None
    low = fmean(mass < LOW_MASS for mass in masses)
    return {"median": median(masses), "low": low, "n": len(masses)}


def _share(values: Values, confidence: float) -> Plain | None:
    return _plain(share(by_prompt(values), confidence))


def _plain(estimate: Estimate | None) -> Plain | None:
    return estimate.plain() if estimate else None
