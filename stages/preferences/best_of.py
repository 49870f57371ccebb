"""Stage `best_of`: the best-rated answers to each request. No calls.

In: any inputs of Rating rows; `responses` (the Response rows that were rated), optional. Out: the
best of each group as Response rows, ready for `sft`. With `responses` these are the very rows;
without, who wrote them is not known any more.

RAFT (Dong et al. 2023, arXiv 2304.06767): sample K, keep the argmax of the reward, fine-tune on it;
and the reward-guided sampling that makes ALMoST's demonstrations (Kim et al. 2023, arXiv
2305.13735). With K = 1 it gives the
samples back. Left out: RAFT's option to rank by the reward less a KL term.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from stages.preferences.rating_groups import read_groups
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Rating, Response
from stages.runtime.stage import ANY, Stage


@dataclass(frozen=True)
class Config:
    """Args:
    keep: how many of each group, best first.
    minimum: keep none below this score; null: no bound.
    """

    keep: Annotated[int, Field(ge=1)] = 1
    minimum: float | None = None


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Keep the best of every group; of equal scores the first by id. Groups keep the order in which
    they come.

    Raises:
        UserError: there are no ratings, a score is no number, nothing reaches `minimum`, or
        `responses` are others.
    """
    where = f"step {context.step!r}"
    groups, dropped = read_groups(
        {name: a for name, a in inputs.items() if name != "responses"}, where
    )
    best: list[list[Rating]] = []
    for rows in groups.values():
        ranked = sorted(rows, key=lambda row: (-row.score, row.id))
        kept = [
            row
            for row in ranked[: config.keep]
            if config.minimum is None or row.score >= config.minimum
        ]
        best.append(kept)
        dropped += [
            Dropped(id=row.id, reason="below the minimum")
            for row in ranked[len(kept) : config.keep]
        ]
        dropped += [
            Dropped(id=row.id, reason="not among the best of its group")
            for row in ranked[config.keep :]
        ]
    if not any(best):
        top = max(row.score for rows in groups.values() for row in rows)
        raise UserError(
            f"no rating reaches the minimum of {config.minimum}; the best is {top:.3g}",
            where=where,
            fix="lower `minimum`",
        )
    if "responses" in inputs:
        rated = {(row.id, row.response): row for row in inputs["responses"].rows(Response)}
        missing = [
            row.id for kept in best for row in kept if (row.parent, row.response) not in rated
        ]
        if missing:
            raise UserError(
                f"the rating {missing[0]!r} and {len(missing) - 1} more are of responses that the input 'responses' lacks",
                where=where,
                fix="give the step whose rows were rated, or leave the input out",
            )
        responses = [rated[row.parent, row.response] for kept in best for row in kept]
    else:
        responses = [_response(row, place) for kept in best for place, row in enumerate(kept)]
    return Result(
        rows=responses,
        row_type=Response,
        dropped=dropped,
        metrics=_metrics(list(groups.values()), best),
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional=ANY,
)


def _response(row: Rating, place: int) -> Response:
    return Response(
        id=row.id,
        parent=row.group,
        kind=row.kind,
        prompt=row.prompt,
        response=row.response,
        sample=place,
        context=[],
        model="",
        seed=0,
    )


def _metrics(groups: Sequence[list[Rating]], best: Sequence[list[Rating]]) -> dict[str, Any]:
    """`gain`: how far the chosen lie above the mean of all, which is what learning from them can
    win.
    """
    chosen = fmean(row.score for rows in best for row in rows)
    everyone = fmean(row.score for rows in groups for row in rows)
    return {
        "groups": len(groups),
        "groups_without_any": sum(not rows for rows in best),
        "candidates_a_group": fmean(len(rows) for rows in groups),
        "mean_chosen": chosen,
        "mean": everyone,
        "gain": chosen - everyone,
    }
