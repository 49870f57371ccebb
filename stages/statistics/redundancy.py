"""The effect of each principle on the labels, and which principles are redundant.

In: the judge matrix, {pair: {principle: margin}}, both orders combined, 0 where a principle has
no preference, and no cell where the judge was not asked. Out: plain data.

A principle "speaks" on a pair if it has a preference there. Two principles that always agree are
each redundant *while the other stays*: dropping one is safe, dropping both is another question. The
effect of a principle also depends on how principles are combined: with `mean` a duplicate doubles a
weight, and with `random` any other principle decides the pairs of a dropped one, so dropping even a
duplicate changes labels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from stages.statistics.agreement import kappa
from stages.statistics.equivalence import Finding
from stages.statistics.intervals import Estimate, by_prompt, share

Matrix = Mapping[str, Mapping[str, float]]
# (pair, its margins) -> (margin, who decided)
Decide = Callable[[str, Mapping[str, float]], tuple[float, list[str]]]


@dataclass(frozen=True)
class Agreement:
    """How far two principles agree.

    Args:
        both: the number of pairs where both speak.
        agree: the share of these pairs with the same sign.
        covered: of the pairs where at least one speaks, the share where both speak.
        kappa, phi: over the pairs where both speak; None where one of them always prefers the same
            side.
    """

    first: str
    second: str
    both: int
    agree: Estimate | None
    covered: Estimate | None
    kappa: float | None
    phi: float | None


def agreements(
    matrix: Matrix,
    confidence: float = 0.95,
    prompts: Mapping[str, str] | None = None,
    names: Sequence[str] | None = None,
) -> list[Agreement]:
    """Compare every two principles, on the pairs for which both were asked.

    Args:
        names: the principles, in the order of the result. None: in the matrix's order.
        prompts: the prompt of each pair; pairs of one prompt are averaged, as they are not
            independent. None: each pair has its own prompt.
    """
    results = []
    for first, second in combinations(names or principles_of(matrix), 2):
        results.append(_agreement(first, second, matrix, confidence, prompts or {}))
    return results


def principles_of(matrix: Matrix) -> list[str]:
    """The principles of a matrix, in the order in which its cells first name them."""
    return list(dict.fromkeys(name for cells in matrix.values() for name in cells))


def _agreement(
    first: str, second: str, matrix: Matrix, confidence: float, prompts: Mapping[str, str]
) -> Agreement:
    pairs = [pair for pair, cells in matrix.items() if first in cells and second in cells]
    signs_first = np.sign([matrix[pair][first] for pair in pairs]).astype(int)
    signs_second = np.sign([matrix[pair][second] for pair in pairs]).astype(int)
    both = (signs_first != 0) & (signs_second != 0)
    either = (signs_first != 0) | (signs_second != 0)
    a, b = signs_first[both], signs_second[both]
    varied = len(a) > 0 and abs(a.sum()) < len(a) and abs(b.sum()) < len(b)

    def share_among(selected: Any, values: Any) -> Estimate | None:
        chosen = [pair for pair, yes in zip(pairs, selected, strict=True) if yes]
        return _share(chosen, values[selected], prompts, confidence)

    return Agreement(
        first=first,
        second=second,
        both=len(a),
        agree=share_among(both, signs_first == signs_second),
        covered=share_among(either, both),
        kappa=kappa(list(zip(a.tolist(), b.tolist(), strict=True))) if varied else None,
        phi=float(np.corrcoef(a, b)[0, 1]) if varied else None,
    )


def _share(
    pairs: Iterable[str], values: Any, prompts: Mapping[str, str], confidence: float
) -> Estimate | None:
    names = [prompts.get(pair, pair) for pair in pairs]
    return share(by_prompt(zip(names, values, strict=True)), confidence)


@dataclass(frozen=True)
class Attribution:
    """The effect of one principle on the labels of all pairs.

    Args:
        speaks: of the pairs for which it was asked, the share where it has a preference.
        decides: share of pairs that it decides; several deciders share a pair evenly.
        flips, loses, gains: share of pairs whose label is reversed, removed or added when only
            this principle is left out.
        pivotal: the three together, with Wilson's interval.
    """

    principle: str
    speaks: float
    decides: float
    flips: float
    loses: float
    gains: float
    pivotal: Estimate


def attributions(
    matrix: Matrix,
    decide: Decide,
    confidence: float = 0.95,
    prompts: Mapping[str, str] | None = None,
) -> dict[str, Attribution]:
    """Measure every principle by labelling all pairs with it and without it.

    Args:
        prompts: as in `agreements`.
    """
    labels = {pair: decide(pair, cells) for pair, cells in matrix.items()}
    before = np.sign([margin for margin, _ in labels.values()])

    def margin_without(name: str, pair: str) -> float:
        cells = matrix[pair]
        if name not in cells:
            return labels[pair][0]
        others = {other: margin for other, margin in cells.items() if other != name}
        return decide(pair, others)[0] if others else 0.0

    results = {}
    for name in principles_of(matrix):
        after = np.sign([margin_without(name, pair) for pair in matrix])
        pivotal = _share(matrix, before != after, prompts or {}, confidence)
        assert pivotal is not None
        spoken = [cells[name] != 0 for cells in matrix.values() if name in cells]
        decided = [_part_of(name, who) if margin else 0.0 for margin, who in labels.values()]
        results[name] = Attribution(
            principle=name,
            speaks=float(np.mean(spoken)),
            decides=float(np.mean(decided)),
            flips=float(np.mean(before * after < 0)),
            loses=float(np.mean((before != 0) & (after == 0))),
            gains=float(np.mean((before == 0) & (after != 0))),
            pivotal=pivotal,
        )
    return results


def _part_of(name: str, deciders: Sequence[str]) -> float:
    return (name in deciders) / len(deciders) if deciders else 0.0


@dataclass(frozen=True)
class Redundancy:
    """Whether `principle` can be removed while `beside` stays.

    Args:
        verdict: "redundant", "distinct" or "undecided".
    """

    principle: str
    beside: str
    verdict: str
    agree: float
    covered: float
    pivotal: float


def redundancies(
    pair_agreements: Sequence[Agreement],
    single: Mapping[str, Attribution],
    least: float = 0.9,
    tolerance: float = 0.05,
    outcomes: Mapping[str, Finding] | None = None,
) -> list[Redundancy]:
    """The redundancy of each principle beside each other one, in both directions.

    Two principles that never both speak are left out. Redundant: the intervals of `agree` and
    `covered` lie above `least`, that of `pivotal` below `tolerance`, and, if `outcomes` has what
    leaving it out did to the models, that is "equivalent". All of these must be shown, so the
    chance of a wrong "redundant" is below 1 - confidence for each (intersection-union test, Berger
    1982).
    Distinct: one of the intervals lies on the other side, or leaving it out "differs". What models
    of one seed did shows neither.

    Args:
        pair_agreements, single: the results of `agreements` and `attributions`.
    """
    results = []
    for pair in pair_agreements:
        agree, covered = pair.agree, pair.covered
        if agree is None or covered is None:
            continue
        overlap_low = min(agree.low, covered.low)
        overlap_high = min(agree.high, covered.high)
        for name, beside in ((pair.first, pair.second), (pair.second, pair.first)):
            pivotal = single[name].pivotal
            outcome = outcomes[name].verdict if outcomes and name in outcomes else None
            same = overlap_low >= least and pivotal.high <= tolerance
            if overlap_high < least or pivotal.low > tolerance or outcome == "differs":
                verdict = "distinct"
            elif same and outcome in (None, "equivalent"):
                verdict = "redundant"
            else:
                verdict = "undecided"
            shares = (agree.value, covered.value, pivotal.value)
            results.append(Redundancy(name, beside, verdict, *shares))
    return results
