"""Stage `best_of`: the best-rated answers to each request. No calls.

In: any inputs of Rating rows; `responses` (the Response rows that were rated), optional. Out: the
best of each group as Response rows, ready for `sft`. With `responses` these are the same rows;
without, it is no longer known which model wrote them.

RAFT (Dong et al. 2023, arXiv 2304.06767): sample K, keep the argmax of the reward, fine-tune on it;
and the reward-guided sampling that makes ALMoST's demonstrations (Kim et al. 2023, arXiv
2305.13735). With K = 1 it gives the samples back. Left out: RAFT's option to rank by the reward
less a KL term.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from stages.guards.errors import UserError
from stages.preferences.rating_groups import rank, ratings_of, read_groups
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.rows import Dropped, Rating, Response
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Count
from stages.text.cut_off import CutOff, count_cut_off


@dataclass(frozen=True)
class Config:
    keep: Count = 1
    """How many answers of each group to keep, best first."""
    minimum: float | None = None
    """Keep only answers with at least this score; null: no bound."""
    cut_off: CutOff = "drop"
    """Whether answers that were cut off at max_tokens are dropped before the choice."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Keep the best of every group; groups keep the order in which they come.

    Raises:
        UserError: there are no ratings, a score is not a number, nothing reaches `minimum`, or
            `responses` does not hold the rated answers.
    """
    where = f"step {context.step!r}"
    ratings = {name: artifact for name, artifact in inputs.items() if name != "responses"}
    groups, dropped = read_groups(ratings, where, config.cut_off)
    best: list[list[Rating]] = []
    for group in groups.values():
        selected, rejected = _select(rank(group), config)
        best.append(selected)
        dropped += rejected
    if not any(best):
        top = max(row.score for group in groups.values() for row in group)
        raise UserError(
            f"no rating reaches the minimum of {config.minimum}; the best is {top:.3g}",
            where=where,
            fix="lower `minimum`",
        )
    if "responses" in inputs:
        responses = _find_responses(best, inputs["responses"], where)
    else:
        responses = []
        for group in best:
            responses += [_as_response(row, place) for place, row in enumerate(group)]
    cut_off = count_cut_off(ratings_of(ratings))
    metrics = {"cut_off": cut_off, **_metrics(list(groups.values()), best)}
    return Result(rows=responses, row_type=Response, dropped=dropped, metrics=metrics)


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    optional={"responses": Response, "*": Rating},
    least=1,
    gives=Response,
    meant_to_drop=("*",),
)


def _select(ranked: list[Rating], config: Config) -> tuple[list[Rating], list[Dropped]]:
    selected = []
    dropped = []
    for row in ranked[: config.keep]:
        if config.minimum is None or row.score >= config.minimum:
            selected.append(row)
        else:
            dropped.append(Dropped(id=row.id, reason="below the minimum"))
    for row in ranked[config.keep :]:
        dropped.append(Dropped(id=row.id, reason="not among the best of its group"))
    return selected, dropped


def _find_responses(
    best: Sequence[list[Rating]], responses: Artifact, where: str
) -> list[Response]:
    """Return the responses that were rated."""
    by_text = {(row.id, row.response): row for row in responses.rows(Response)}
    selected = []
    missing = []
    for group in best:
        for row in group:
            response = by_text.get((row.response_id, row.response))
            if response is None:
                missing.append(row.id)
            else:
                selected.append(response)
    if missing:
        raise UserError(
            f"the rating {missing[0]!r} and {len(missing) - 1} more are of responses that the "
            "input 'responses' lacks",
            where=where,
            fix="give the step whose rows were rated, or leave the input out",
        )
    return selected


def _as_response(row: Rating, place: int) -> Response:
    return Response(
        id=row.id,
        prompt_id=row.prompt_id,
        kind=row.kind,
        prompt=row.prompt,
        response=row.response,
        sample=place,
        context=[],
        model="",
        seed=0,
        finish_reason=row.finish_reason,
    )


def _metrics(groups: Sequence[list[Rating]], best: Sequence[list[Rating]]) -> dict[str, Any]:
    """Return counts and mean scores.

    `gain` is the mean score of the selected answers minus the mean of all: the most that training
    on them can gain.
    """
    mean_selected = fmean(row.score for group in best for row in group)
    mean = fmean(row.score for group in groups for row in group)
    return {
        "groups": len(groups),
        "groups_without_any": sum(not group for group in best),
        "candidates_a_group": fmean(len(group) for group in groups),
        "mean_chosen": mean_selected,
        "mean": mean,
        "gain": mean_selected - mean,
    }
