"""Stage `failures`: the answers that break a principle, as a judge sees it. No calls.

In: `responses`, and `ratings` of them from a `rate` step. Out: those Responses whose lowest score
under any principle is below `below`, as they were. IterAlign (Chen et al. 2024, arXiv 2403.18341)
lets a judge call each answer of a chunk good or bad, and learns from the bad ones.

There may be none. A response without a rating is no failure; it is dropped and counted.
"""

from dataclasses import dataclass

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.rows import Dropped, Rating, Response
from stages.runtime.stage import Stage


@dataclass(frozen=True)
class Config:
    below: float = 0.5
    """On the scale of the ratings: with {"Yes": 1, "No": 0}, one half is where both are likely."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Keep the answers that fail; there may be none."""
    lowest = {}
    for row in inputs["ratings"].rows(Rating):
        lowest[row.response_id] = min(row.scores or [row.score])
    failures, dropped = [], []
    for response in inputs["responses"].rows(Response):
        score = lowest.get(response.id)
        if score is None:
            dropped.append(Dropped(id=response.id, reason="without a rating"))
        elif score < config.below:
            failures.append(response)
    metrics = {"rated": len(lowest), "failures": len(failures)}
    return Result(rows=failures, row_type=Response, dropped=dropped, metrics=metrics)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"responses": Response, "ratings": Rating},
    gives=Response,
)
