"""The rule by which `judged_pairs` labels: how a pair's cells become one margin.

An ablation uses the rule of a finished step to label its pairs again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.preferences.aggregate import aggregate, clip_margin, combine_orders
from stages.principles.assign import assign
from stages.principles.constitution import Principle
from stages.runtime.artifacts import Artifact
from stages.runtime.rows import Judgement, Proposal


@dataclass(frozen=True)
class Rule:
    """How a pair's cells become one margin; SALMON's choice of a subset is not part of it."""

    principles: Mapping[str, Principle]
    """The columns of the matrix that count, by id; only ids and weights are read."""
    negated: frozenset[str]
    """Ids of those whose margins `read_cells` flips."""
    seed: int
    """The run's seed; `random` draws by it."""
    orders: str
    """As in `judged_pairs.Config`, like the next two."""
    clip: float | None
    aggregate: str

    @property
    def by_subsets(self) -> bool:
        """Whether SALMON's subsets of the principles decide, and not `decide`."""
        return self.aggregate == "salmon"

    def margins(self, cells: Sequence[Judgement]) -> dict[str, float]:
        """Return each principle's margin on one pair, both orders combined and clipped."""
        margins = {}
        for cell in cells:
            margin = combine_orders(cell.margin_ab, cell.margin_ba, self.orders)
            margins[cell.principle] = clip_margin(margin, self.clip)
        return margins

    def decide(self, pair_id: str, margins: Mapping[str, float]) -> tuple[float, list[str]]:
        """Return one margin of a pair's `margins`, and the ids of the principles behind it."""
        if self.aggregate == "random":
            judged = [self.principles[name] for name in margins]
            drawn = assign(judged, pair_id, self.seed).id
            margins = {drawn: margins[drawn]}
        names = list(margins)
        weights = [self.principles[name].weight for name in names]
        margin, indices = aggregate(list(margins.values()), weights, self.aggregate)
        return margin, [names[index] for index in indices]


def rule_of(step: Artifact) -> Rule:
    """Return the rule by which a finished `judged_pairs` step labelled its pairs."""
    options = step.config
    principles = {}
    subset = step.input_artifacts("principles") if "principles" in step.inputs else []
    ids = {row.id for proposed in subset for row in proposed.rows(Proposal)}
    for name, facts in options["constitution"].items():
        if subset and name not in ids:
            continue
        values = {"id": name, "text": name, "weight": facts.get("weight", 1.0)}
        principles[name] = Principle.model_validate(values)
    return Rule(
        principles,
        frozenset(options.get("negated") or ()),
        step.seed or 0,
        options["orders"],
        options["clip"],
        options["aggregate"],
    )
