"""How a judge's choices agree with those of people. Arithmetic only.

In: Judgement rows whose `response_a` is what people chose. Out: by measure and prompt,

    accuracy        both orders' margins averaged; a tie counts half
    chosen_first    accuracy of the order in which the chosen response is shown first
    chosen_second   accuracy of the other order
    consistent      accuracy where both orders agree
    flips           pairs where they do not agree
    first_place     choices of the response shown first

and Cohen's kappa and Krippendorff's alpha over pairs. For these two a coin decides the place of the
chosen response, so that a judge that always chooses the same place is at 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stages.evaluation.comparison import Groups
from stages.evaluation.judge_agreement import right
from stages.evaluation.win_rates import score
from stages.runtime.rows import Judgement
from stages.runtime.store import derive_seed
from stages.statistics.agreement import kappa, krippendorff
from stages.statistics.intervals import Intervals, by_prompt

MEASURES = ("accuracy", "chosen_first", "chosen_second", "consistent", "flips", "first_place")
MOST_RESAMPLES = 500
"""The most bootstrap draws for the intervals of kappa and alpha."""
Margins = dict[str, tuple[float, float]]
"""By pair, the margins of both orders."""


def margins_by_pair(rows: Sequence[Judgement], weights: Mapping[str, float]) -> Margins:
    """The margins of each pair, averaged over its principles by weight."""
    groups: dict[str, list[Judgement]] = {}
    for row in rows:
        groups.setdefault(row.pair_id, []).append(row)
    margins = {}
    for pair, group in groups.items():
        total = sum(weights[row.principle] for row in group)
        first = sum(weights[row.principle] * row.margin_ab for row in group)
        second = sum(weights[row.principle] * row.margin_ba for row in group)
        margins[pair] = (first / total, second / total)
    return margins


def measures_by_prompt(rows: Sequence[Judgement], weights: Mapping[str, float]) -> Groups:
    """The measures, and the accuracy by `kind` and by `principle` where there are several."""
    kinds = {row.pair_id: row.kind for row in rows}
    prompt_ids = {row.pair_id: row.prompt_id for row in rows}
    values: dict[str, list[tuple[str, float | None]]] = {name: [] for name in MEASURES}
    for pair, (first, second) in margins_by_pair(rows, weights).items():
        prompt_id = prompt_ids[pair]
        measures = _measure(first, second)
        for name, value in measures.items():
            values[name].append((prompt_id, value))
        kind = f"kind {kinds[pair]}"
        values.setdefault(kind, []).append((prompt_id, measures["accuracy"]))
    for row in rows:
        is_right = right(row.margin_ab + row.margin_ba)
        values.setdefault(f"principle {row.principle}", []).append((row.prompt_id, is_right))
    averaged = {name: by_prompt(cells) for name, cells in values.items()}
    for prefix in ("kind ", "principle "):
        groups = [name for name in averaged if name.startswith(prefix)]
        if len(groups) == 1:  # it would repeat `accuracy`
            del averaged[groups[0]]
    return averaged


def _measure(first: float, second: float) -> dict[str, float | None]:
    """The measures of one pair, from the margins of its two orders."""
    agreed = score(first, second)
    return {
        "accuracy": right(first + second),
        "chosen_first": right(first),
        "chosen_second": right(second),
        "consistent": None if agreed == 0.5 else agreed,
        "flips": float(first * second < 0),
        "first_place": ((first > 0) + (second < 0)) / 2,
    }


def kappa_with_interval(margins: Margins, intervals: Intervals) -> dict[str, Any]:
    """Cohen's kappa with people as {value, low, high, n}; ties are left out."""
    pairs = []
    for pair, (first, second) in margins.items():
        place = _chosen_place(pair, intervals.seed)
        choice = _choice(first + second, place)
        if choice is not None:
            pairs.append((place, choice))
    value = kappa(pairs)
    low = high = None
    if value is not None:
        kappas = _few(intervals).resample(pairs, kappa)
        low, high = intervals.percentiles(kappas)
    return {
        "value": value,
        "low": low,
        "high": high,
        "n": len(pairs),
    }


def alphas_with_intervals(
    judges: Mapping[str, Margins], intervals: Intervals
) -> dict[str, dict[str, Any]] | None:
    """Krippendorff's alpha of the judges, and of the judges and people; None with one judge.

    A tie counts as a missing judgement.

    Source: Krippendorff 1970.
    """
    if len(judges) < 2:
        return None
    pairs = list(dict.fromkeys(pair for margins in judges.values() for pair in margins))
    people: list[Any] = [_chosen_place(pair, intervals.seed) for pair in pairs]
    choices: list[list[Any]] = []
    for margins in judges.values():
        of_judge = []
        for pair, place in zip(pairs, people, strict=True):
            margin = sum(margins.get(pair, (0.0, 0.0)))
            of_judge.append(_choice(margin, place))
        choices.append(of_judge)
    raters = {
        "judges": choices,
        "judges_and_people": [*choices, people],
    }
    few = _few(intervals)
    alphas = {}
    for name, labels in raters.items():
        estimate = krippendorff(
            labels,
            few.resamples,
            few.confidence,
            few.seed,
        )
        if estimate:
            alphas[name] = estimate.plain()
    return alphas or None


def _few(intervals: Intervals) -> Intervals:
    """Fewer draws, because each takes a while."""
    return replace(intervals, resamples=min(intervals.resamples, MOST_RESAMPLES))


def _chosen_place(pair: str, seed: int) -> int:
    """Where a coin places the chosen response: 0 or 1."""
    return derive_seed(seed, "place", pair) % 2


def _choice(margin: float, chosen_place: int) -> int | None:
    """The place of the response that the judge prefers; None for a tie."""
    if margin == 0:
        return None
    return chosen_place if margin > 0 else 1 - chosen_place
