"""Stage `minimal_constitution`: the fewest principles with almost the labels of all. No calls.

In: `pairs` of a `judged_pairs` step, whose rule labels again, and the `judgements` that it read.
Out: the chosen principles as Proposal rows, in the order of the constitution. A subset is as good
as the full set if at most `margin` of the labels change, beyond doubt: Wilson's interval of their
share lies below it, over requests. So the matrix has to be large enough: with no changed label 73
requests show a margin of 5 %, at 95 %.

Up to `exact` principles all subsets are looked at, the smaller ones first; of equally small ones
that with the fewest changes is taken, then the first in the constitution's order. With more,
principles are left out one by one, each time the one that changes the fewest labels, until none can
go (backward elimination), which may miss a smaller set. A copy of a principle goes, and so does one
that never decides.

The labels are those of the pairs at hand: a principle that no request touches seems to be needed by
none. Train on the smaller set to confirm it: `judged_pairs` reads the rows as `principles`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from stages.guards.errors import UserError
from stages.preferences.label_rule import Rule, rule_of
from stages.preferences.pair_inputs import drop_cut_off_pairs, read_cells
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.rows import Judgement, Pair, Proposal
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Inside
from stages.statistics.formatting import format_estimate
from stages.statistics.intervals import Estimate, by_prompt, share

ROUNDING = 1e-9
MOST_EXACT = 12
"""Principles whose 4,096 subsets take seconds."""


@dataclass(frozen=True)
class Config:
    margin: Inside = 0.05
    """The share of labels that may change."""
    confidence: Inside = 0.95
    """Of the interval that has to lie below it."""
    exact: int = MOST_EXACT
    """Up to this many principles every subset is looked at."""


class Matrix:
    """The judged pairs, their margins under each principle, and the labels of the full set."""

    def __init__(self, cells: Mapping[str, list[Judgement]], rule: Rule):
        self.rule = rule
        self.prompts = {pair: rows[0].prompt_id for pair, rows in cells.items() if rows}
        self.margins = {pair: rule.margins(rows) for pair, rows in cells.items() if rows}
        self.full = {pair: self._sign(pair, margins) for pair, margins in self.margins.items()}
        sizes = Counter(self.prompts.values())
        self.parts = {pair: 1 / sizes[prompt] for pair, prompt in self.prompts.items()}
        """What a pair is of its request."""

    def _sign(self, pair: str, margins: Mapping[str, float]) -> int:
        """Return which side a pair's label prefers.

        1 for response a, -1 for response b, 0 where the judge abstains or was asked about nothing.
        """
        if not margins:
            return 0
        margin, _ = self.rule.decide(pair, margins)
        return (margin > 0) - (margin < 0)

    def _has_changed(self, pair: str, names: Sequence[str]) -> bool:
        """Return whether the label of a subset differs from the full set's."""
        margins = self.margins[pair]
        own = {name: margins[name] for name in names if name in margins}
        return self._sign(pair, own) != self.full[pair]

    def changed(self, names: Sequence[str], confidence: float) -> Estimate:
        """Return the share of labels that a subset changes, with its interval over requests."""
        cells = []
        for pair, prompt in self.prompts.items():
            cells.append((prompt, float(self._has_changed(pair, names))))
        estimate = share(by_prompt(cells), confidence)
        assert estimate
        return estimate

    def allowed(self, names: Sequence[str], config: Config) -> float | None:
        """Return the share of labels that a subset changes; None if it may be above the margin.

        A subset is given up as soon as its changes alone are above the margin, so that most are
        looked at on a few pairs only.
        """
        most = config.margin * len(set(self.prompts.values())) + ROUNDING
        changes = 0.0
        for pair, part in self.parts.items():
            if self._has_changed(pair, names):
                changes += part
            if changes > most:
                return None
        estimate = self.changed(names, config.confidence)
        return estimate.value if estimate.high <= config.margin else None


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Search for the smallest subset.

    Raises:
        UserError: subsets of the principles decided the labels (SALMON), or no pair was judged.
    """
    where = f"step {context.step!r}"
    pairs = inputs["pairs"]
    rule = rule_of(pairs)
    if rule.by_subsets:
        raise UserError(
            "drawn subsets of the principles decided these labels, so no smaller set has the same",
            where=where,
            fix="give pairs with another `aggregate`, such as mean",
        )
    judged = read_cells(inputs["judgements"], set(rule.principles), where, rule.negated)
    cells, _ = drop_cut_off_pairs(judged, pairs.config.get("cut_off", "keep"))
    matrix = Matrix(cells, rule)
    if not matrix.margins:
        raise UserError("no pair is left", where=where, fix="judge more pairs")
    speaking = {name for margins in matrix.margins.values() for name in margins}
    names = [name for name in rule.principles if name in speaking]
    if len(names) <= config.exact:
        chosen = search(matrix, names, config)
    else:
        chosen = eliminate(matrix, names, config)
    estimate = matrix.changed(chosen, config.confidence)
    texts = _texts(inputs["judgements"])
    rows = [
        Proposal(
            id=name,
            prompt_id="",
            text=texts.get(name, name),
            weight=rule.principles[name].weight,
            origin=f"one of {len(chosen)} of {len(names)} principles that label alike",
        )
        for name in chosen
    ]
    metrics = {
        "principles": len(names),
        "chosen": len(chosen),
        "pairs": len(matrix.margins),
        "changed": estimate.plain(),
        "left_out": [name for name in names if name not in chosen],
    }
    warnings = []
    if len(chosen) == len(names) and estimate.high > config.margin:
        warnings = [
            f"{estimate.n} requests are too few to show that less than {config.margin:.0%} of the "
            "labels change, so nothing could be left out"
        ]
    table = _table(context.step, matrix, names, chosen, config)
    return Result(rows=rows, row_type=Proposal, metrics=metrics, tables=[table], warnings=warnings)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"pairs": Pair, "judgements": Judgement},
    gives=Proposal,
)


def search(matrix: Matrix, names: Sequence[str], config: Config) -> list[str]:
    """Return the smallest subset of all that changes few enough labels.

    Returns:
        All names, where no smaller set will do.
    """
    for size in range(1, len(names)):
        shares = {}
        for subset in combinations(names, size):
            value = matrix.allowed(subset, config)
            if value is not None:
                shares[subset] = value
        if shares:
            best = min(shares, key=lambda subset: shares[subset])
            return list(best)
    return list(names)


def eliminate(matrix: Matrix, names: Sequence[str], config: Config) -> list[str]:
    """Return what is left when no further principle can be left out.

    Of equally good ones the last in the constitution's order goes first.
    """
    rest = list(names)
    while len(rest) > 1:
        shares = {}
        for name in reversed(rest):
            others = [other for other in rest if other != name]
            value = matrix.allowed(others, config)
            if value is not None:
                shares[name] = value
        if not shares:
            break
        best = min(shares, key=lambda name: shares[name])
        rest.remove(best)
    return rest


def _texts(judgements: Artifact) -> dict[str, str]:
    """Return the principles' texts by id, as the judge read them."""
    facts = judgements.config.get("constitution") or {}
    return {name: str(principle["text"]) for name, principle in facts.items()}


def _table(
    step: str, matrix: Matrix, names: Sequence[str], chosen: Sequence[str], config: Config
) -> Table:
    """Return what each principle does to the chosen set: changed labels without it, or with it."""
    cells = []
    for name in names:
        is_chosen = name in chosen
        subset = [other for other in names if (other in chosen) != (other == name)]
        estimate = matrix.changed(subset, config.confidence)
        text = format_estimate(estimate.plain())
        cells.append([name, "chosen" if is_chosen else "left out", text])
    title = f"{step}: {len(chosen)} of {len(names)} principles label alike"
    columns = ["principle", "", "changed labels if this were different, %"]
    return Table(title, columns, cells)
