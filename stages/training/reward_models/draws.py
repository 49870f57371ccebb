"""Which principles a completion is scored under.

The draw of principles is SALMON's (Sun et al. 2023, arXiv 2310.05910, section 3.3): `draw` of them
for each prompt of a rollout, without replacement, in proportion to their weights, with
higher weights for some on some kinds of prompts (`boost`). Some principles are always added: those
against what the policy was seen to exploit, the paper's RL-time intervention. All completions of a
prompt are scored under the same draw; otherwise a group's baseline would mean nothing.
"""

from collections.abc import Mapping, Sequence

from stages.guards.errors import UserError, refuse_unknown
from stages.principles.assign import assign_many, doubt_draw, mean_weights
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.training.online.hacking.hiding import hide

Boost = Mapping[str, Mapping[str, float]]
"""By kind of prompt, what is added to the weights of the named principles in the draw."""


class PrincipleDraw:
    """Chooses the principles of a prompt in a step; equal for all its completions there.

    Args:
        constitution: the principles to choose from.
        count: at most how many are drawn; None for all, in the file's order.
        seed: the run's.
        always: ids of principles shown in every draw.
        intervention: a further set, shown in every draw before all others.
        dropout: the chance of each other principle to be hidden in a step, for all prompts.
        where: for messages.

    Raises:
        UserError: a principle does not exist, an option has no effect beside the others, or no
        principle would be read.
    """

    def __init__(
        self,
        constitution: Selection | None,
        count: int | None,
        seed: int,
        *,
        always: Sequence[str] = (),
        intervention: Selection | None = None,
        boost: Boost | None = None,
        dropout: float = 0.0,
        where: str = "",
    ):
        self.count = count
        self.seed = seed
        self.boost = boost or {}
        self.dropout = dropout
        self.fixed: list[Principle] = []
        if intervention:
            self.fixed += select(intervention).principles
        self.drawn: list[Principle] = []
        self.doubts: list[str] = []
        if constitution is None:
            return
        by_id = {principle.id: principle for principle in select(constitution).principles}
        refuse_unknown(always, by_id, "there is no principle", where)
        # An ablation may leave a boosted principle out: then the boost has nothing to do.
        whole = select(Selection(constitution.name)).principles
        self._check_boost([principle.id for principle in whole], always, where)
        self.fixed += [by_id[name] for name in always]
        self.drawn = [principle for name, principle in by_id.items() if name not in always]
        if count is None:
            return
        least = 0 if self.fixed else 1
        if count < least:
            raise UserError(
                f"`draw: {count}` leaves no principle to read",
                where=where,
                fix="give 1 or more, or leave it out: all are read",
            )
        self.count = min(count, len(self.drawn))
        self.doubts = doubt_draw("draw", count, len(self.drawn))

    def __call__(self, prompt_id: str, kind: str, step: int) -> list[Principle]:
        shown = hide(self.drawn, self.dropout, self.seed, step, lambda principle: principle.id)
        if self.count is None:
            return self.fixed + shown
        if self.count == 0:
            return self.fixed
        boost = self.boost.get(kind, {})
        weighted = []
        for principle in shown:
            weight = principle.weight + boost.get(principle.id, 0.0)
            weighted.append(principle.model_copy(update={"weight": weight}))
        count = min(self.count, len(shown))
        return self.fixed + assign_many(weighted, prompt_id, self.seed, count, step)

    def mean_weights(self, principles: Sequence[Principle]) -> list[float]:
        """How much the score under each shown principle counts in their mean."""
        if self.dropout and self.count is None:  # hidden whatever they weigh
            return [principle.weight for principle in principles]
        available = len(self.fixed) + (0 if self.count == 0 else len(self.drawn))
        return mean_weights(principles, available)

    def _check_boost(self, ids: Sequence[str], always: Sequence[str], where: str) -> None:
        boosted = {name for weights in self.boost.values() for name in weights}
        refuse_unknown(sorted(boosted), ids, "there is no principle", where)
        if boosted and self.count is None:
            raise UserError(
                "`boost` has no effect where all principles are shown",
                where=where,
                fix="add `draw: 3`, or leave it out",
            )
        for name in sorted(boosted.intersection(always)):
            raise UserError(
                f"{name!r} is always shown, so nothing can boost it",
                where=where,
                fix="leave it out of `boost`",
            )
