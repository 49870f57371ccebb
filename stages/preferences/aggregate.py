"""From a pair's cells of the judge matrix to one margin.

Pure functions; positive margins prefer `response_a`.

Orders: `agree` counts contradicting verdicts as no verdict, as SALMON does (Sun et al. 2023, arXiv
2310.05910); `swap_average` averages the probabilities of the two orders (RLAIF, Lee et al. 2023,
arXiv 2309.00267); `average` averages the logits. Principles: one at `random` (Constitutional AI,
Bai et al. 2022, section 4.1: ensembling over principles happens across the dataset), `mean`, `sum`,
`vote`, or only the strongest (`max_abs`). SALMON's rule, with its random subsets and negation, is
in `salmon.py`.
"""

import math
from collections.abc import Sequence


def combine_orders(margin_ab: float, margin_ba: float, orders: str) -> float:
    """Return one margin from those of the two orders.

    With `agree`, verdicts that contradict each other count as exactly 0.
    """
    if orders == "swap_average":
        log_p_a = _log_add(_log_sigmoid(margin_ab), _log_sigmoid(margin_ba))
        log_p_b = _log_add(_log_sigmoid(-margin_ab), _log_sigmoid(-margin_ba))
        return log_p_a - log_p_b
    if orders == "agree" and margin_ab * margin_ba <= 0:
        return 0.0
    return (margin_ab + margin_ba) / 2


def _log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x >= 0 else x - math.log1p(math.exp(x))


def _log_add(x: float, y: float) -> float:
    """Return log(exp(x) + exp(y))."""
    low, high = sorted((x, y))
    return high + math.log1p(math.exp(low - high))


def clip_margin(margin: float, clip: float | None) -> float:
    """Return the margin within [-clip, clip]."""
    return margin if clip is None else max(-clip, min(clip, margin))


def soft_label(margin: float, clamp: tuple[float, float] | None) -> float:
    """Return P(chosen is better) for a margin >= 0.

    `clamp` is the paper's bound for labels with a chain of thought (Bai et al. 2022: [0.4, 0.6]);
    others are not clamped.
    """
    label = 1 / (1 + math.exp(-margin))
    return min(max(label, clamp[0]), clamp[1]) if clamp else label


def strongest(scores: Sequence[float]) -> int:
    """Return the index of the largest |score|; of equals the first."""
    return max(range(len(scores)), key=lambda index: (abs(scores[index]), -index))


def aggregate(margins: list[float], weights: list[float], how: str) -> tuple[float, list[int]]:
    """Return one margin, and the indices of the principles that decided it.

    The weight of a principle drawn at `random` counted in the draw, so its margin is not weighted
    again. `vote` gives the weighted fraction of votes as log-odds, with half a vote added to each
    side, so that its soft label is a smoothed fraction.
    """
    weighted = [margin * weight for margin, weight in zip(margins, weights, strict=True)]
    if how == "max_abs":
        best = strongest(weighted)
        return margins[best], [best]
    deciding = [index for index, margin in enumerate(margins) if margin != 0]
    if how == "random":
        return margins[0], deciding
    if how == "vote":
        votes_a = sum(weights[index] for index in deciding if margins[index] > 0)
        votes_b = sum(weights[index] for index in deciding if margins[index] < 0)
        return math.log((votes_a + 0.5) / (votes_b + 0.5)), deciding
    total = sum(weighted)
    return (total if how == "sum" else total / sum(weights)), deciding
