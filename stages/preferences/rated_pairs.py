"""Stage `rated_pairs`: preference pairs from rated answers. No calls.

In: any inputs of Rating rows, of which those of one request form a group. Out: one Pair for each
group, its best-rated answer against its worst-rated one; a group of one, or of equal scores, gives
none.

Self-Rewarding (Yuan et al. 2024, arXiv 2401.10020, section 2.4): the best against the worst, equal
scores discarded. So offline methods such as `dpo` learn from the same reward as PPO does. With
`label: soft` the scores are read as log-odds, as a reward model's are (Bradley-Terry): P(chosen
is better) = sigmoid(their difference).
"""

from dataclasses import dataclass
from typing import Literal

from stages.guards.errors import UserError
from stages.preferences.aggregate import soft_label
from stages.preferences.rating_groups import rank, ratings_of, read_groups
from stages.runtime.artifacts import Artifact, Result, list_reasons
from stages.runtime.context import Context
from stages.runtime.rows import Dropped, Pair, Rating
from stages.runtime.stage import Stage
from stages.runtime.typed_config import NotNegative
from stages.text.cut_off import CutOff, count_cut_off


@dataclass(frozen=True)
class Config:
    label: Literal["hard", "soft"] = "hard"
    """Use hard labels, or soft ones: the sigmoid of the difference in score."""
    min_gap: NotNegative = 0.0
    """Make a pair only where the two scores differ by more than this."""
    cut_off: CutOff = "drop"
    """Whether answers that were cut off at max_tokens are dropped before pairing."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Pair the best and the worst answer of every group.

    Raises:
        UserError: there are no ratings, a score is not a number, or no group has two different
            scores.
    """
    where = f"step {context.step!r}"
    groups, dropped = read_groups(inputs, where, config.cut_off)
    metrics = {"groups": len(groups), "cut_off": count_cut_off(ratings_of(inputs))}
    pairs = []
    for prompt_id, group in groups.items():
        ranked = rank(group)
        best, worst = ranked[0], ranked[-1]
        if len(ranked) == 1:
            reason = "the only answer to its request"
        elif best.score - worst.score <= config.min_gap:
            reason = "the scores lie no farther apart than min_gap"
        else:
            pairs.append(_make_pair(best, worst, config.label))
            continue
        dropped.append(Dropped(id=prompt_id, reason=reason))
    if not pairs:
        raise UserError(
            f"none of {len(groups)} groups has two answers with different scores "
            f"({list_reasons(dropped)})",
            where=where,
            fix="sample several answers a request (n: 4), raise `max_tokens` if they are cut off, "
            "lower min_gap, or look at the rater",
        )
    return Result(rows=pairs, row_type=Pair, dropped=dropped, metrics=metrics)


STAGE = Stage(version=2, config=Config, run=run, optional={"*": Rating}, least=1, gives=Pair)


def _make_pair(best: Rating, worst: Rating, label: str) -> Pair:
    gap = best.score - worst.score
    return Pair(
        id=best.prompt_id,
        prompt_id=best.prompt_id,
        chosen_id=best.response_id,
        rejected_id=worst.response_id,
        kind=best.kind,
        prompt=best.prompt,
        chosen=best.response,
        rejected=worst.response,
        label=soft_label(gap, None) if label == "soft" else 1.0,
        margin=gap,
        principles=best.principles,
        negated=best.negated,
        chosen_finish_reason=best.finish_reason,
        rejected_finish_reason=worst.finish_reason,
    )
