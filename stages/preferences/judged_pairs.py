"""Stage `judged_pairs`: preference pairs out of the judge matrix. Arithmetic only, no calls.

In: `judgements`; `ratings` (Rating rows that hold P(violated) for each safety principle), optional.
Out: one Pair for every pair that is not abstained on; with `aggregate: salmon` up to `passes` of
them, with ids `<pair>#<pass>`.

1. Orders: `aggregate.combine_orders`. 2. Principles: `aggregate.aggregate`, or SALMON's subsets
(`salmon.py`).
3. Label: sigmoid of the margin (`soft`), optionally clamped as Bai et al. 2022 do for
chain-of-thought labels, or 1 (`hard`, SALMON's). 4. Rules and noise, both off by default
(`overrides.py`). 5. Safety: a response is safe if no rating of it is above one half (BeaverTails,
Ji et al. 2023, arXiv 2307.04657: safe = no category set).

The margin of a SALMON pair is its deciding principle's logit difference; normalising only settles
which one decides.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.preferences import salmon
from stages.preferences.aggregate import aggregate, bounded, combine_orders, soft_label
from stages.preferences.overrides import Unusable, overridden
from stages.preferences.pair_checks import Safety, check_config, read_cells
from stages.principles.assign import assign
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context, Drop
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Judgement, Pair
from stages.runtime.stage import Stage

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: which columns of the matrix count, their weights, and which are negated: those say
        the contrary.
    orders: what to do with the two orders of a cell.
    aggregate: how a pair's principles become one margin.
    clip: bound each principle's margin to [-clip, clip] first.
    label: soft or hard.
    clamp: bounds for soft labels, the same to both sides of one half: [0.4, 0.6] in the paper.
    min_margin: abstain below it.
    keep: the share of pairs to keep, strongest margins first; what a rule decided counts as
        strongest.
    passes: salmon: label every pair under so many subsets (4 in SALMON).
    normalise: salmon: what a principle's margins are divided by before they compete.
    geometric, max_principles: salmon: the subset's size is geometric, drawn anew while it is above
        the maximum.
    negation: salmon: the chance that a drawn principle is turned to its opposite, if it has one.
    overrides: rules that decide in place of the principles.
    noise: the share of labels to turn round.
    override_noise: the same where a rule decided (0.25 in SALMON, beside 0.1); null: `noise`.
    """

    constitution: Selection
    orders: Literal["agree", "average", "swap_average"] = "agree"
    aggregate: Literal["random", "mean", "sum", "vote", "max_abs", "salmon"] = "random"
    clip: Annotated[float, Field(gt=0)] | None = None
    label: Literal["soft", "hard"] = "soft"
    clamp: tuple[float, float] | None = None
    min_margin: Annotated[float, Field(ge=0)] = 0.0
    keep: Annotated[float, Field(gt=0, le=1)] = 1.0
    passes: Annotated[int, Field(ge=1)] = 1
    normalise: Literal["variance", "std", "none"] = "variance"
    geometric: Annotated[float, Field(gt=0, le=1)] = 0.2
    max_principles: Annotated[int, Field(ge=1)] = 8
    negation: Share = 0.5
    overrides: tuple[Literal["disclaimer", "script"], ...] = ()
    noise: Share = 0.0
    override_noise: Share | None = None


@dataclass(frozen=True)
class Decision:
    """What the principles say of a pair: `margin` > 0 prefers `response_a`; `cells` and `negated`
    run parallel.
    """

    margin: float
    cells: list[Judgement]
    negated: list[bool]
    deciding: str


@dataclass(frozen=True)
class Rule:
    """How a pair's cells become one margin; which of them SALMON's subsets draw is left out.

    Args:
        principles: the columns of the matrix that count, by id; only ids and weights are read.
        negated: ids of those whose margins `read_cells` flips.
        seed: the run's; `random` draws by it.
        orders, clip, aggregate: as in `Config`.
    """

    principles: Mapping[str, Principle]
    negated: frozenset[str]
    seed: int
    orders: str
    clip: float | None
    aggregate: str

    @property
    def by_subsets(self) -> bool:
        """Whether SALMON's subsets of the principles decide, and not this rule alone."""
        return self.aggregate == "salmon"

    def margins(self, cells: Sequence[Judgement]) -> dict[str, float]:
        """Each principle's margin on one pair, in logits, both orders combined and clipped."""
        margins = {}
        for cell in cells:
            margin = combine_orders(cell.margin_ab, cell.margin_ba, self.orders)
            margins[cell.principle] = bounded(margin, self.clip)
        return margins

    def decide(self, pair_id: str, margins: Mapping[str, float]) -> tuple[float, list[str]]:
        """One margin of a pair's `margins`, and the ids of the principles behind it."""
        if self.aggregate == "random":
            speaking = [self.principles[name] for name in margins]
            drawn = assign(speaking, pair_id, self.seed).id
            margins = {drawn: margins[drawn]}
        names = list(margins)
        weights = [self.principles[name].weight for name in names]
        margin, places = aggregate(list(margins.values()), weights, self.aggregate)
        return margin, [names[place] for place in places]


def rule_of(step: Artifact) -> Rule:
    """The rule by which a finished `judged_pairs` step labelled its pairs."""
    options = step.config
    principles = {}
    for name, facts in options["constitution"].items():
        said = {"id": name, "text": name, "weight": facts.get("weight", 1.0)}
        principles[name] = Principle.model_validate(said)
    return Rule(
        principles,
        frozenset(options.get("negated") or ()),
        step.seed or 0,
        options["orders"],
        options["clip"],
        options["aggregate"],
    )


def check(config: Config) -> None:
    principles = select(config.constitution).principles
    check_config(config, Config, principles, "stage 'judged_pairs'")


def identity(config: Config) -> dict[str, Any]:
    chosen = select(config.constitution)
    told: dict[str, Any] = {"constitution": chosen.identity("weight")}
    if negated := sorted(
        {p.id for p in chosen.principles}.intersection(config.constitution.negate)
    ):
        told["negated"] = negated
    if (
        config.aggregate == "salmon" and config.negation
    ):  # which can be negated matters here; in which words, to who reads it
        return told | {"negatable": sorted(p.id for p in chosen.principles if p.opposite)}
    return told


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Aggregate every pair.

    Raises:
        UserError: there are no judgements, none of the constitution's principles was judged, no
        cell of the table speaks, options that exclude each other, or ratings that are no
        probabilities.
    """
    where = f"step {context.step!r}"
    check(config)
    principles = {p.id: p for p in select(config.constitution).principles}
    negated = frozenset(config.constitution.negate)
    rule = Rule(principles, negated, context.seed, config.orders, config.clip, config.aggregate)
    cells = read_cells(inputs["judgements"], set(principles), where, negated)
    safety = Safety(inputs["ratings"]) if "ratings" in inputs else None
    matrix = [cell for judged in cells.values() for cell in judged]
    scale = salmon.scales(matrix, config.normalise) if config.aggregate == "salmon" else {}
    unscaled = (
        sorted({cell.principle for cell in matrix} - scale.keys())
        if config.aggregate == "salmon"
        else []
    )
    if config.aggregate == "salmon" and not scale:
        raise UserError(
            "the verdicts of no principle differ from pair to pair, so none can be normalised",
            where=where,
            fix="judge more pairs, look at the judge's margins, or set `normalise: none`",
        )
    pairs, dropped = [], []
    for name, judged in cells.items():
        for number in range(1, config.passes + 1):
            row_id = f"{name}#{number}" if config.aggregate == "salmon" else name
            try:
                decision = _decide(row_id, judged, rule, scale, config)
                pairs.append(_pair(row_id, decision, safety, config, context.seed))
            except (Drop, Unusable) as reason:
                dropped.append(Dropped(id=row_id, reason=str(reason)))
    if config.keep < 1:
        ranked = sorted(pairs, key=lambda p: (not p.override, -p.margin, p.id))
        weak = {p.id for p in ranked[math.ceil(config.keep * len(ranked)) :]}
        dropped += [
            Dropped(id=p.id, reason="among the weakest margins") for p in pairs if p.id in weak
        ]
        pairs = [p for p in pairs if p.id not in weak]
    return Result(rows=pairs, row_type=Pair, dropped=dropped, metrics=_metrics(pairs, unscaled))


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    inputs=("judgements",),
    optional=("ratings",),
    check=check,
    identity=identity,
)


def _decide(
    row_id: str,
    judged: list[Judgement],
    rule: Rule,
    scale: dict[str, float],
    config: Config,
) -> Decision:
    if not judged:
        raise Drop("judged under none of these principles")
    margins = rule.margins(judged)
    by_id = {cell.principle: cell for cell in judged}
    if rule.by_subsets:
        speaking = [rule.principles[name] for name in by_id if name in scale]
        if not speaking:
            raise Drop("judged under none of these principles that can be normalised")
        subset = salmon.draw(
            speaking, row_id, rule.seed, config.geometric, config.max_principles, config.negation
        )
        negated = {p.id: turned for p, turned in subset}
        deciding, score = salmon.decide(
            {name: margins[name] / scale[name] for name in negated}, negated
        )
        margin = math.copysign(margins[deciding], score) if score else 0.0
        decision = Decision(
            margin, [by_id[name] for name in negated], list(negated.values()), deciding
        )
    else:
        margin, names = rule.decide(row_id, margins)
        behind = [by_id[name] for name in names]
        decision = Decision(margin, behind, [], names[0] if len(names) == 1 else "")
    if decision.margin == 0:
        raise Drop("the judge abstains")
    if abs(decision.margin) < config.min_margin:
        raise Drop("margin too small")
    return decision


def _pair(
    row_id: str, decision: Decision, safety: Safety | None, config: Config, seed: int
) -> Pair:
    cells, first = decision.cells, decision.cells[0]
    a, b = first.response_a, first.response_b
    ruled = overridden(first.prompt[-1]["content"], a, b, config.overrides, row_id, seed)
    rate = config.override_noise if ruled and config.override_noise is not None else config.noise
    noise = salmon.chance(seed, row_id, "noise") < rate
    a_wins = (ruled[1] if ruled else decision.margin > 0) != noise
    up = 1 if a_wins else -1
    chosen, rejected = (a, b) if a_wins else (b, a)
    margin = 0.0 if ruled else abs(decision.margin)
    soft = soft_label(math.inf if ruled else margin, config.clamp)
    return Pair(
        id=row_id,
        prompt_id=first.prompt_id,
        chosen_id=first.response_a_id if a_wins else first.response_b_id,
        rejected_id=first.response_b_id if a_wins else first.response_a_id,
        kind=first.kind,
        prompt=first.prompt,
        chosen=chosen,
        rejected=rejected,
        label=1.0 if config.label == "hard" else soft,
        margin=margin,
        principles=[c.principle for c in cells],
        margins_ab=[up * c.margin_ab for c in cells],
        margins_ba=[up * c.margin_ba for c in cells],
        negated=decision.negated,
        deciding="" if ruled else decision.deciding,
        override=ruled[0] if ruled else "",
        noise=noise,
        chosen_safe=safety.of(first.prompt_id, chosen) if safety else None,
        rejected_safe=safety.of(first.prompt_id, rejected) if safety else None,
    )


def _metrics(pairs: Sequence[Pair], unscaled: list[str]) -> dict[str, Any]:
    """What decided, and what else there is to suspect: rules, noise, the length of what is
    preferred.
    """
    decided: dict[str, int] = {}
    overrides: dict[str, int] = {}
    for pair in pairs:
        for principle in (
            [] if pair.override else [pair.deciding] if pair.deciding else pair.principles
        ):
            decided[principle] = decided.get(principle, 0) + 1
        if pair.override:
            overrides[pair.override] = overrides.get(pair.override, 0) + 1
    made: dict[str, Any] = {"decided_by": decided, "mean_label": _mean([p.label for p in pairs])}
    if any(pair.negated for pair in pairs):
        turned = [p.negated[p.principles.index(p.deciding)] for p in pairs if p.deciding]
        made |= {
            "decided_by_opposite": _mean([float(t) for t in turned]),
            "left_out_without_variance": unscaled,
        }
        made |= {"principles_a_pair": _mean([len(p.principles) for p in pairs])}
    if overrides or any(pair.noise for pair in pairs):
        made |= {"overrides": overrides, "noise": _mean([float(p.noise) for p in pairs])}
    if any(pair.chosen_safe is not None for pair in pairs):
        safe = [(bool(p.chosen_safe), bool(p.rejected_safe)) for p in pairs]
        made |= {"safe": {"both": safe.count((True, True)), "neither": safe.count((False, False))}}
        made["safe"] |= {
            "only_chosen": safe.count((True, False)),
            "only_rejected": safe.count((False, True)),
        }
    return made | {"length_gap": _mean([len(p.chosen) - len(p.rejected) for p in pairs])}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
