"""Stage `judged_pairs`: preference pairs out of the judge matrix. Arithmetic only, no calls.

In: `judgements`. Out: one Pair for every pair that is not abstained on.

1. Orders: an inconsistent verdict counts as 0 (`agree`), or the two margins are averaged (`average`).
2. Principles: `random` takes one a pair (Constitutional AI, Bai et al. 2022, section 4.1: ensembling over principles
   happens across the dataset), `mean` and `sum` weigh all, `vote` counts signs, `max_abs` lets the strongest decide
   (SALMON, Sun et al. 2023, section 3.2). Weights come from the constitution.
3. Label: sigmoid of the margin (`soft`), optionally clamped as the paper does for chain-of-thought labels, or 1 (`hard`).
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from stages.principles.assign import assign
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Judgement, Pair

VERSION = 2
NEEDS = ("judgements",)
ALSO_TAKES: tuple[str, ...] = ()
CALLS = False


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: which columns of the matrix count, and their weights.
    orders: what to do with the two orders of a cell.
    aggregate: how a pair's principles become one margin.
    clip: bound each principle's margin to [-clip, clip] first.
    label: soft or hard.
    clamp: bounds for soft labels, the same to both sides of one half: [0.4, 0.6] in the paper.
    min_margin: abstain below it.
    keep: the share of pairs to keep, strongest margins first.
    """

    constitution: Selection
    orders: Literal["agree", "average"] = "agree"
    aggregate: Literal["random", "mean", "sum", "vote", "max_abs"] = "random"
    clip: float | None = None
    label: Literal["soft", "hard"] = "soft"
    clamp: tuple[float, float] | None = None
    min_margin: float = 0.0
    keep: float = 1.0


def identity(config: Config) -> dict[str, Any]:
    return {"constitution": select(config.constitution).identity("weight")}


def combine_orders(margin_ab: float, margin_ba: float, orders: str) -> float:
    """One margin of two; with `agree`, verdicts that contradict each other count as exactly 0."""
    if orders == "agree" and margin_ab * margin_ba <= 0:
        return 0.0
    return (margin_ab + margin_ba) / 2


def soft_label(margin: float, clamp: tuple[float, float] | None) -> float:
    """P(chosen is better) for a margin >= 0."""
    label = 1 / (1 + math.exp(-margin))
    return min(max(label, clamp[0]), clamp[1]) if clamp else label


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Aggregate every pair.

    Raises:
        UserError: there are no judgements, none of the constitution's principles was judged, or `clamp` cannot be used.
    """
    _check_clamp(config, f"step {context.step!r}")
    principles = {p.id: p for p in select(config.constitution).principles}
    cells: dict[str, list[Judgement]] = {}
    for row in inputs["judgements"].rows(Judgement):
        cells.setdefault(row.parent, [])
        if row.principle in principles:
            cells[row.parent].append(row)
    if not cells:
        judge = inputs["judgements"]
        lost = ", ".join(f"{number} dropped ({reason})" for reason, number in judge.manifest["dropped"].items())
        raise UserError(
            f"the judge step holds no rows{': ' * bool(lost)}{lost}",
            where=f"step {judge.step!r}",
            mend=f"see {judge.directory / 'dropped.parquet'}" if lost else "see why it kept none",
        )
    if not any(cells.values()):
        raise UserError(
            "none of the constitution's principles was judged",
            where=f"step {context.step!r}",
            mend="give this step the constitution of the `judge` step, or a subset of it",
        )
    pairs, dropped = [], []
    for name, judged in cells.items():
        if not judged:
            dropped.append(Dropped(id=name, reason="judged under none of these principles"))
            continue
        if config.aggregate == "random":
            drawn = assign([principles[cell.principle] for cell in judged], name, context.seed).id
            judged = [cell for cell in judged if cell.principle == drawn]
        margins = [_bounded(combine_orders(c.margin_ab, c.margin_ba, config.orders), config.clip) for c in judged]
        margin, deciding = aggregate(margins, [principles[c.principle].weight for c in judged], config.aggregate)
        if margin == 0 or abs(margin) < config.min_margin:
            dropped.append(Dropped(id=name, reason="the judge abstains" if margin == 0 else "margin too small"))
            continue
        pairs.append(_pair(name, [judged[i] for i in deciding], margin, config))
    if config.keep < 1:
        ranked = sorted(pairs, key=lambda p: (-p.margin, p.id))
        weak = {p.id for p in ranked[math.ceil(config.keep * len(ranked)) :]}
        dropped += [Dropped(id=p.id, reason="among the weakest margins") for p in pairs if p.id in weak]
        pairs = [p for p in pairs if p.id not in weak]
    decided: dict[str, int] = {}
    for pair in pairs:
        for principle in pair.principles:
            decided[principle] = decided.get(principle, 0) + 1
    mean_label = sum(p.label for p in pairs) / len(pairs) if pairs else None
    return Result(rows=pairs, row_type=Pair, dropped=dropped, metrics={"decided_by": decided, "mean_label": mean_label})


def _check_clamp(config: Config, where: str) -> None:
    if config.clamp is None:
        return
    low, high = config.clamp
    if config.label == "hard" or not 0 <= low <= 0.5 <= high <= 1 or not math.isclose(low + high, 1):
        raise UserError(
            f"`clamp: [{low}, {high}]` cannot be used with `label: {config.label}`",
            where=where,
            mend="give bounds that lie alike on both sides of one half, such as [0.4, 0.6], and `label: soft`",
        )


def _bounded(margin: float, clip: float | None) -> float:
    return margin if clip is None else max(-clip, min(clip, margin))


def aggregate(margins: list[float], weights: list[float], how: str) -> tuple[float, list[int]]:
    """One margin, and which of the principles decided it (their places).
    A principle drawn at `random` has had its weight in the draw, so its margin is left alone. `vote` gives the weighted
    share of votes as log-odds with half a vote added to each side, so that its soft label is a smoothed share.
    """
    if how == "max_abs":
        best = max(range(len(margins)), key=lambda i: (abs(margins[i]) * weights[i], -i))
        return margins[best], [best]
    speaking = [i for i, margin in enumerate(margins) if margin != 0]
    if how == "vote":
        ups, downs = (sum(weights[i] for i in speaking if (margins[i] > 0) == up) for up in (True, False))
        return (math.log((ups + 0.5) / (downs + 0.5)) if ups != downs else 0.0), speaking
    if how == "random":
        return margins[0], speaking
    total = sum(margin * weight for margin, weight in zip(margins, weights, strict=True))
    return (total if how == "sum" else total / sum(weights)), speaking


def _pair(name: str, cells: list[Judgement], margin: float, config: Config) -> Pair:
    first = cells[0]
    up = 1 if margin > 0 else -1
    chosen, rejected = (first.response_a, first.response_b) if up > 0 else (first.response_b, first.response_a)
    return Pair(
        id=name,
        parent=name,
        kind=first.kind,
        prompt=first.prompt,
        chosen=chosen,
        rejected=rejected,
        label=1.0 if config.label == "hard" else soft_label(abs(margin), config.clamp),
        margin=abs(margin),
        principles=[c.principle for c in cells],
        margins_ab=[up * c.margin_ab for c in cells],
        margins_ba=[up * c.margin_ba for c in cells],
    )
