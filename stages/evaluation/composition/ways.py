"""Every way to make one label of a pair out of its row of the judge matrix.

In: the cells of a pair, as `judged_pairs` reads them. Out: by the name of a way a margin, above 0
for the first answer, 0 where it abstains, and how many cells it read.

    random         one principle, drawn by weight (Constitutional AI)
    mean, weighted all principles, each with the weight 1, or its own
    vote           the sign of each
    max_abs        the widest margin decides
    salmon         a random subset, some negated; the widest normalised margin decides
    lexicographic  levels in order, by authority, then weight: the first level whose principles have
                   a preference (by their mean) decides

All but the last are those of `judged_pairs`: `aggregate.aggregate` and `judged_pairs.decide`.
`salmon` labels under the first of its passes, and negation is off: a label under negated principles
is not about the same set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean

from stages.preferences import judged_pairs, salmon
from stages.preferences.aggregate import aggregate
from stages.preferences.label_rule import Rule
from stages.principles.constitution import AUTHORITIES, Principle
from stages.runtime.context import Drop
from stages.runtime.rows import Judgement

RULES = {
    "random": "random",
    "weighted": "mean",
    "mean": "mean",
    "vote": "vote",
    "max_abs": "max_abs",
}
"""The ways that are an `aggregate` of `judged_pairs`."""
WEIGHTED = ("random", "weighted")
LEXICOGRAPHIC = "lexicographic"
SALMON = "salmon"
WAYS = (*RULES, SALMON, LEXICOGRAPHIC)


@dataclass(frozen=True)
class Composed:
    """The label of a pair by one way."""

    margin: float
    cells: int
    """How many cells a judge would have to fill for this label alone."""


def compose(
    cells: Mapping[str, Sequence[Judgement]], rule: Rule, config: judged_pairs.Config
) -> dict[str, dict[str, Composed]]:
    """Return by way and pair what it decides.

    Args:
        cells: by pair.
        rule: the principles, the seed, the orders and the clip of `judged_pairs`.
        config: SALMON's options.
    """
    every_cell = [cell for row in cells.values() for cell in row]
    scale = salmon.scales(every_cell, config.normalise)
    principles = list(rule.principles.values())
    levels = levels_of(principles)
    composed: dict[str, dict[str, Composed]] = {way: {} for way in WAYS}
    for pair_id, row in cells.items():
        if not row:
            continue
        margins = rule.margins(row)
        for way in RULES:
            composed[way][pair_id] = _by_rule(
                way,
                pair_id,
                margins,
                rule,
            )
        composed[SALMON][pair_id] = _by_salmon(
            pair_id,
            row,
            rule,
            scale,
            config,
        )
        composed[LEXICOGRAPHIC][pair_id] = lexicographic(margins, levels)
    return composed


def levels_of(principles: Sequence[Principle]) -> list[list[str]]:
    """Return the ids of the principles in levels, the highest first; those without an authority
    come after all that have one.
    """

    def level(principle: Principle) -> tuple[int, float]:
        names = AUTHORITIES
        place = names.index(principle.authority) if principle.authority else len(names)
        return place, -principle.weight

    ranked = sorted(principles, key=level)
    return [[principle.id for principle in group] for _, group in groupby(ranked, key=level)]


def lexicographic(margins: Mapping[str, float], levels: Sequence[Sequence[str]]) -> Composed:
    """Return the margin of the first level that has a preference, and the cells read until then."""
    read = 0
    for level in levels:
        judged = [margins[name] for name in level if name in margins]
        read += len(judged)
        if judged and fmean(judged):
            return Composed(fmean(judged), read)
    return Composed(0.0, read)


def _by_rule(way: str, pair_id: str, margins: Mapping[str, float], rule: Rule) -> Composed:
    if way in WEIGHTED:
        with_weights = replace(rule, aggregate=RULES[way])
        margin, _ = with_weights.decide(pair_id, margins)
        cells = 1 if way == "random" else len(margins)
        return Composed(margin, cells)
    values = list(margins.values())
    weights = [1.0] * len(values)
    margin, _ = aggregate(values, weights, RULES[way])
    return Composed(margin, len(margins))


def _by_salmon(
    pair_id: str,
    row: Sequence[Judgement],
    rule: Rule,
    scale: dict[str, float],
    config: judged_pairs.Config,
) -> Composed:
    subsets = replace(rule, aggregate=SALMON, clip=None)
    try:
        decision = judged_pairs.decide(
            f"{pair_id}#1",
            list(row),
            subsets,
            scale,
            config,
        )
    except Drop:
        return Composed(0.0, len(row))
    return Composed(decision.margin, len(decision.cells))


def standards_of(
    sides: Mapping[str, int], rule: Rule, levels: Sequence[Sequence[str]]
) -> dict[str, int]:
    """Return by standard which answer is better: 1, -1, or 0 where it has no preference.

    `unanimous`: all principles that have a preference have the same; `priorities`: the first level
    with a preference; `weights`: the sum of the weights.

    Args:
        sides: by principle, 1 if only the second answer breaks it, -1 if only the first does, or 0.
    """
    votes = set(sides.values()) - {0}
    margins = {name: float(side) for name, side in sides.items()}
    total = 0.0
    for name, side in sides.items():
        total += rule.principles[name].weight * side
    return {
        "unanimous": votes.pop() if len(votes) == 1 else 0,
        "priorities": sign(lexicographic(margins, levels).margin),
        "weights": sign(total),
    }


def sign(margin: float) -> int:
    return (margin > 0) - (margin < 0)
