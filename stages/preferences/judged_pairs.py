"""Stage `judged_pairs`: preference pairs from the judge matrix. Arithmetic only, no calls.

In: `judgements`; `ratings` (Rating rows that hold P(violated) for each safety principle), optional;
`principles`, optional: Proposals whose ids say which of the constitution's principles count. Out:
one Pair for every pair on which the judge does not abstain; with `aggregate: salmon` up to `passes`
of them, with ids `<pair>#<pass>`.

1. Orders: `aggregate.combine_orders`.
2. Principles: `aggregate.aggregate`, or SALMON's subsets (`salmon.py`).
3. Label: sigmoid of the margin (`soft`), optionally clamped as Bai et al. 2022 do for
   chain-of-thought labels, or 1 (`hard`, SALMON's).
4. Rules and noise, both off by default (`rules.py`).
5. Safety: a response is safe if no rating of it is above one half (BeaverTails, Ji et al. 2023,
   arXiv 2307.04657: safe = no category set).

The margin of a SALMON pair is its deciding principle's logit difference; normalising only decides
which one that is.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from stages.doubts.preferences import doubt_cells, doubt_pairs
from stages.guards.errors import UserError
from stages.preferences import salmon
from stages.preferences.aggregate import soft_label
from stages.preferences.label_rule import Rule
from stages.preferences.pair_inputs import Safety, check_config, drop_cut_off_pairs, read_cells
from stages.preferences.pair_metrics import describe_pairs
from stages.preferences.rules import apply_overrides
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context, Drop
from stages.runtime.rows import Dropped, Judgement, Pair, Proposal, Rating
from stages.runtime.stage import Stage
from stages.runtime.store import derive_fraction
from stages.runtime.typed_config import Count, Few, Fraction, NotNegative, Portion, Positive
from stages.text.cut_off import CutOff, count_cut_off


@dataclass(frozen=True)
class Config:
    constitution: Selection
    """Which columns of the matrix count, their weights, and which are negated: their margins
    change sign.
    """
    orders: Literal["agree", "average", "swap_average"] = "agree"
    """What to do with the two orders of a cell."""
    aggregate: Literal["random", "mean", "sum", "vote", "max_abs", "salmon"] = "random"
    """How a pair's principles become one margin."""
    clip: Positive | None = None
    """Bound each principle's margin to [-clip, clip] first; null: no bound."""
    label: Literal["soft", "hard"] = "soft"
    """Use soft labels, the sigmoid of the margin, or hard ones."""
    clamp: tuple[Fraction, Fraction] | None = None
    """Bounds for soft labels, at the same distance from one half: [0.4, 0.6] in the paper."""
    cut_off: CutOff = "drop"
    """Whether pairs with a response that was cut off at max_tokens are dropped first."""
    min_margin: NotNegative = 0.0
    """Drop pairs with a smaller margin."""
    keep: Portion = 1.0
    """The fraction of pairs to keep, strongest margins first; pairs that a rule
    decided count as the strongest.
    """
    passes: Few = 1
    """salmon: label every pair under this many subsets (4 in SALMON)."""
    normalise: Literal["variance", "std", "none"] = "variance"
    """salmon: what a principle's margins are divided by before they compete."""
    geometric: Portion = 0.2
    """salmon: the subset's size is geometric with this probability, drawn again while it is above
    `max_principles`.
    """
    max_principles: Count = 8
    """salmon: the largest subset."""
    negation: Fraction = 0.5
    """salmon: the probability that a drawn principle is negated, if it has an opposite."""
    overrides: tuple[Literal["disclaimer", "script"], ...] = ()
    """Rules that decide in place of the principles."""
    noise: Fraction = 0.0
    """The fraction of labels to flip."""
    override_noise: Fraction | None = None
    """The same where a rule decided (SALMON: 0.25 here, and 0.1 as `noise`); null: `noise`."""


@dataclass(frozen=True)
class Decision:
    """What the principles decide about a pair; `cells` and `negated` run parallel."""

    margin: float
    """Above 0 it prefers `response_a`."""
    cells: list[Judgement]
    """The cells behind the margin."""
    negated: list[bool]
    """Whether SALMON negated each one's principle; []: none."""
    deciding: str
    """The only principle that decided; "" where several did."""


def check(config: Config) -> None:
    """Refuse options that exclude each other."""
    principles = select(config.constitution).principles
    check_config(config, principles, "stage 'judged_pairs'")


def identity(config: Config) -> dict[str, Any]:
    """The principles by id and weight, and those that are or can be negated; no texts."""
    constitution = select(config.constitution)
    facts: dict[str, Any] = {"constitution": constitution.identity("weight")}
    selected = {principle.id for principle in constitution.principles}
    negated = sorted(selected.intersection(config.constitution.negate))
    if negated:
        facts["negated"] = negated
    if config.aggregate == "salmon" and config.negation:
        # The words of an opposite matter only to the stage that reads them.
        facts["negatable"] = sorted(p.id for p in constitution.principles if p.opposite)
    return facts


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Aggregate every pair.

    Raises:
        UserError: there are no judgements, none of the constitution's principles was judged, all
            margins of the table are 0, options that exclude each other, or ratings that are not
            probabilities.
    """
    where = f"step {context.step!r}"
    check(config)
    principles = {p.id: p for p in select(config.constitution).principles}
    if "principles" in inputs:
        ids = [row.id for row in inputs["principles"].rows(Proposal)]
        principles = {name: principles[name] for name in ids if name in principles}
    negated = frozenset(config.constitution.negate)
    rule = Rule(principles, negated, context.seed, config.orders, config.clip, config.aggregate)
    all_cells = read_cells(inputs["judgements"], set(principles), where, negated)
    cells, dropped = drop_cut_off_pairs(all_cells, config.cut_off)
    safety = Safety(inputs["ratings"]) if "ratings" in inputs else None
    scale: dict[str, float] = {}
    unscaled: list[str] = []
    if rule.by_subsets:
        matrix = [cell for pair_cells in cells.values() for cell in pair_cells]
        scale = salmon.scales(matrix, config.normalise)
        unscaled = sorted({cell.principle for cell in matrix} - scale.keys())
        if matrix and not scale:
            raise UserError(
                "the verdicts of no principle differ from pair to pair, so none can be normalised",
                where=where,
                fix="judge more pairs, look at the judge's margins, or set `normalise: none`",
            )
    pairs = []
    firsts = set()
    for pair_id, pair_cells in cells.items():
        for number in range(1, config.passes + 1):
            row_id = f"{pair_id}#{number}" if rule.by_subsets else pair_id
            try:
                decision = decide(row_id, pair_cells, rule, scale, config)
                pair = _make_pair(row_id, decision, safety, config, context.seed)
            except Drop as reason:
                dropped.append(Dropped(id=row_id, reason=str(reason)))
                continue
            pairs.append(pair)
            if pair.chosen == pair_cells[0].response_a:
                firsts.add(row_id)
    weak = _weakest(pairs, config.keep)
    for pair in pairs:
        if pair.id in weak:
            dropped.append(Dropped(id=pair.id, reason="among the weakest margins"))
    pairs = [pair for pair in pairs if pair.id not in weak]
    cut_off = count_cut_off([pair_cells[0] for pair_cells in all_cells.values() if pair_cells])
    metrics = {"cut_off": cut_off, **describe_pairs(pairs, unscaled)}
    used = [cell for pair_cells in cells.values() for cell in pair_cells]
    warnings = doubt_cells(used) + doubt_pairs(pairs, firsts)
    return Result(rows=pairs, row_type=Pair, dropped=dropped, metrics=metrics, warnings=warnings)


STAGE = Stage(
    version=4,
    config=Config,
    run=run,
    inputs={"judgements": Judgement},
    optional={"ratings": Rating, "principles": Proposal},
    gives=Pair,
    check=check,
    identity=identity,
    meant_to_drop=("among the weakest margins", "margin too small"),
)


def decide(
    row_id: str, cells: list[Judgement], rule: Rule, scale: dict[str, float], config: Config
) -> Decision:
    """Return what the principles decide about one row, without rules and noise.

    Args:
        scale: for SALMON, what each principle's margins are divided by (`salmon.scales`).

    Raises:
        Drop: the judge abstains, or the row has no cells that can decide it.
    """
    if not cells:
        raise Drop("judged under none of these principles")
    margins = rule.margins(cells)
    by_principle = {cell.principle: cell for cell in cells}
    if rule.by_subsets:
        scaled = [rule.principles[name] for name in by_principle if name in scale]
        if not scaled:
            raise Drop("judged under none of these principles that can be normalised")
        subset = salmon.choose_principles(
            scaled, row_id, rule.seed, config.geometric, config.max_principles, config.negation
        )
        negated = {principle.id: is_negated for principle, is_negated in subset}
        scores = {name: margins[name] / scale[name] for name in negated}
        deciding, score = salmon.decide(scores, negated)
        margin = math.copysign(margins[deciding], score) if score else 0.0
        decision = Decision(
            margin, [by_principle[name] for name in negated], list(negated.values()), deciding
        )
    else:
        margin, names = rule.decide(row_id, margins)
        deciding = names[0] if len(names) == 1 else ""
        decision = Decision(margin, [by_principle[name] for name in names], [], deciding)
    if decision.margin == 0:
        raise Drop("the judge abstains")
    if abs(decision.margin) < config.min_margin:
        raise Drop("margin too small")
    return decision


def _make_pair(
    row_id: str, decision: Decision, safety: Safety | None, config: Config, seed: int
) -> Pair:
    cells = decision.cells
    first = cells[0]
    a = first.response_a
    b = first.response_b
    request = first.prompt[-1]["content"]
    override = apply_overrides(request, a, b, config.overrides, row_id, seed)
    noise_rate = config.noise
    if override and config.override_noise is not None:
        noise_rate = config.override_noise
    noise = derive_fraction(seed, row_id, "noise") < noise_rate
    a_is_better = override.a_wins if override else decision.margin > 0
    a_wins = a_is_better != noise
    chosen, rejected = (a, b) if a_wins else (b, a)
    endings = [first.finish_reason_a, first.finish_reason_b]
    if not a_wins:
        endings.reverse()
    sign = 1 if a_wins else -1
    margin = 0.0 if override else abs(decision.margin)
    label = 1.0
    if config.label == "soft":
        label = soft_label(math.inf if override else margin, config.clamp)
    return Pair(
        id=row_id,
        prompt_id=first.prompt_id,
        chosen_id=first.response_a_id if a_wins else first.response_b_id,
        rejected_id=first.response_b_id if a_wins else first.response_a_id,
        kind=first.kind,
        prompt=first.prompt,
        chosen=chosen,
        rejected=rejected,
        label=label,
        margin=margin,
        principles=[cell.principle for cell in cells],
        margins_ab=[sign * cell.margin_ab for cell in cells],
        margins_ba=[sign * cell.margin_ba for cell in cells],
        negated=decision.negated,
        deciding="" if override else decision.deciding,
        override=override.rule if override else "",
        noise=noise,
        chosen_safe=safety.is_safe(first.prompt_id, chosen) if safety else None,
        rejected_safe=safety.is_safe(first.prompt_id, rejected) if safety else None,
        chosen_finish_reason=endings[0],
        rejected_finish_reason=endings[1],
    )


def _weakest(pairs: list[Pair], keep: float) -> set[str]:
    """Return the ids of the pairs that are not among the fraction `keep` to keep."""
    ranked = sorted(pairs, key=lambda pair: (not pair.override, -pair.margin, pair.id))
    return {pair.id for pair in ranked[math.ceil(keep * len(ranked)) :]}
