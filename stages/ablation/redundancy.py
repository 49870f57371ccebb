"""What each principle does to the labels, which are redundant, and what an ablation may conclude.
Arithmetic only.

In: the judge matrix, {pair: {principle: margin}}, both orders combined
(`aggregate.combine_orders`), 0 where a principle does not speak, and no cell where the judge was
not asked; or the `Effect`s of leaving principles out. Out: plain data.

"No effect" is a claim that needs evidence of its own: an interval inside a stated margin (two
one-sided tests, Schuirmann 1987). A large p-value is no evidence; what is neither shown to matter
nor shown not to matter is `undecided`.

Two that say the same are each redundant *while the other stays*: dropping one is safe, dropping
both is another question. What a principle decides also depends on how principles are combined: with
`mean` a duplicate doubles a weight, and with `random` a pair whose principle is gone falls to any
other one, so even a duplicate's pairs change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from stages.statistics.corrections import holm
from stages.statistics.differences import Effect
from stages.statistics.paired import Estimate, by_prompt, kappa, share

Matrix = Mapping[str, Mapping[str, float]]
Decide = Callable[
    [str, Mapping[str, float]], tuple[float, list[str]]
]  # (pair, its margins) -> (margin, who decided)


@dataclass(frozen=True)
class Finding:
    """`verdict`: "works" (differs from 0 after correction), "equivalent" (inside the margin, after
    Holm), or "undecided".

    An effect can be shown to differ from 0 and to be smaller than the margin; it then `differs` and
    is `inside`, and the verdict is "works". With one seed all this holds for these runs alone
    (`over`).
    """

    variant: str
    verdict: str
    differs: bool
    inside: bool
    margin: float | None
    p_adjusted: float
    p_equivalence_holm: float
    over: str

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def findings(
    effects: Mapping[str, Effect], margin: float | None, alpha: float = 0.05
) -> dict[str, Finding]:
    """What may be said of each variant. Both claims are corrected for all variants, each family at
    `alpha`: that an effect differs as the effects were, that it is small by Holm. Without a margin
        nothing is small.
    """
    names = list(effects)
    differ = [effects[name].p_adjusted for name in names]
    within = holm(
        [1.0 if margin is None else equivalence_p(effects[name], margin) for name in names]
    )
    return {
        name: Finding(
            variant=name,
            verdict="works" if p <= alpha else "equivalent" if q <= alpha else "undecided",
            differs=p <= alpha,
            inside=q <= alpha,
            margin=margin,
            p_adjusted=p,
            p_equivalence_holm=q,
            over=effects[name].over,
        )
        for name, p, q in zip(names, differ, within, strict=True)
    }


def equivalence_p(effect: Effect, margin: float) -> float:
    """The larger p of the two one-sided tests that the effect lies within +-margin; 1 where it is
    estimated outside.
    """
    room = margin - abs(effect.value)
    return effect.spread.p(room) / 2 if room > 0 else 1.0


@dataclass(frozen=True)
class Agreement:
    """How far two principles say the same, over the pairs where both speak (`both`).

    `agree` is the share with the same sign; `kappa` and `phi` are None where one of them always
    says the same. `covered` is the share of the pairs where either speaks in which both do.
    """

    first: str
    second: str
    both: int
    agree: Estimate | None
    covered: Estimate | None
    kappa: float | None
    phi: float | None


def agreements(
    matrix: Matrix, confidence: float = 0.95, prompts: Mapping[str, str] | None = None
) -> list[Agreement]:
    """Every two principles, in the order in which the matrix names them, on the pairs for which
    both were asked.

    Args:
        prompts: by pair its prompt; pairs of one are averaged, for they are not independent. None:
            each has its own.
    """
    names = list(dict.fromkeys(name for cells in matrix.values() for name in cells))
    return [
        _agreement(one, other, matrix, confidence, prompts or {})
        for one, other in combinations(names, 2)
    ]


def _agreement(
    first: str, second: str, matrix: Matrix, confidence: float, prompts: Mapping[str, str]
) -> Agreement:
    pairs = [pair for pair, cells in matrix.items() if first in cells and second in cells]
    one, other = (
        np.sign([matrix[pair][name] for pair in pairs]).astype(int) for name in (first, second)
    )
    both, either = (one != 0) & (other != 0), (one != 0) | (other != 0)
    a, b = one[both], other[both]
    varied = len(a) > 0 and abs(a.sum()) < len(a) and abs(b.sum()) < len(b)

    def among(chosen: Any, values: Any) -> Estimate | None:
        where = [pair for pair, yes in zip(pairs, chosen, strict=True) if yes]
        return _share(dict(zip(where, values[chosen], strict=True)), prompts, confidence)

    return Agreement(
        first=first,
        second=second,
        both=len(a),
        agree=among(both, one == other),
        covered=among(either, both),
        kappa=kappa(list(zip(a.tolist(), b.tolist(), strict=True))) if varied else None,
        phi=float(np.corrcoef(a, b)[0, 1]) if varied else None,
    )


def _share(
    values: Mapping[str, Any], prompts: Mapping[str, str], confidence: float
) -> Estimate | None:
    return share(
        by_prompt((prompts.get(pair, pair), float(value)) for pair, value in values.items()),
        confidence,
    )


@dataclass(frozen=True)
class Attribution:
    """What one principle does to the labels of all pairs.

    Args:
        speaks: share of the pairs for which it was asked where it has a preference.
        decides: share of pairs that it decides; several deciders share a pair evenly.
        flips, loses, gains: share of pairs whose label turns round, vanishes or appears when it
            alone is left out.
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
    """Every principle, by labelling all pairs with it and without it; `prompts` as in `agreements`."""
    names = list(dict.fromkeys(name for cells in matrix.values() for name in cells))
    labels = {pair: decide(pair, cells) for pair, cells in matrix.items()}
    was = np.sign([margin for margin, _ in labels.values()])

    def without(name: str, pair: str) -> float:
        cells = matrix[pair]
        kept = {other: margin for other, margin in cells.items() if other != name}
        return labels[pair][0] if name not in cells else decide(pair, kept)[0] if kept else 0.0

    found = {}
    for name in names:
        now = np.sign([without(name, pair) for pair in matrix])
        pivotal = _share(dict(zip(matrix, was != now, strict=True)), prompts or {}, confidence)
        assert pivotal is not None
        found[name] = Attribution(
            principle=name,
            speaks=float(np.mean([cells[name] != 0 for cells in matrix.values() if name in cells])),
            decides=float(
                np.mean(
                    [
                        (name in who) / len(who) if margin and who else 0.0
                        for margin, who in labels.values()
                    ]
                )
            ),
            flips=float(np.mean(was * now < 0)),
            loses=float(np.mean((was != 0) & (now == 0))),
            gains=float(np.mean((was == 0) & (now != 0))),
            pivotal=pivotal,
        )
    return found


@dataclass(frozen=True)
class Redundancy:
    """Whether `principle` can go while `beside` stays: "redundant", "distinct" or "undecided"."""

    principle: str
    beside: str
    verdict: str
    agree: float
    covered: float
    pivotal: float


def redundancies(
    agreed: Sequence[Agreement],
    alone: Mapping[str, Attribution],
    least: float = 0.9,
    tolerance: float = 0.05,
    outcomes: Mapping[str, Finding] | None = None,
) -> list[Redundancy]:
    """Each principle beside each other one, both ways round, out of `agreements` and
    `attributions`; two that never both speak are left out.

    Redundant: the intervals of `agree` and `covered` lie above `least`, that of `pivotal` below
    `tolerance`, and, if `outcomes` has what leaving it out did to the models, that is "equivalent".
    All of it must be shown, so the chance of a wrong "redundant" is below 1 - confidence for each
    (intersection-union test, Berger 1982). Distinct: one of the intervals lies on the other side,
    or leaving it out "works".
    """
    result = []
    for pair in agreed:
        for name, beside in ((pair.first, pair.second), (pair.second, pair.first)):
            if pair.agree is None or pair.covered is None:
                continue
            outcome = outcomes[name].verdict if outcomes and name in outcomes else None
            same = (
                min(pair.agree.low, pair.covered.low) >= least
                and alone[name].pivotal.high <= tolerance
            )
            other = (
                min(pair.agree.high, pair.covered.high) < least
                or alone[name].pivotal.low > tolerance
                or outcome == "works"
            )
            verdict = (
                "distinct"
                if other
                else "redundant"
                if same and outcome in (None, "equivalent")
                else "undecided"
            )
            values = pair.agree.value, pair.covered.value, alone[name].pivotal.value
            result.append(Redundancy(name, beside, verdict, *values))
    return result
