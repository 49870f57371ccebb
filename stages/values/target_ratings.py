"""Stage `target_ratings`: answers rated by how near their values are to a target. No calls.

In: any inputs of Rating rows with a score from -1 to 1 for each value (`score` with a value
evaluator and `each: true`); optional, `quality`: another rating of the same answers. Out: the same
rows, whose score is minus the distance to the target, plus `quality_weight` times the quality. With
them `best_of` keeps the answers nearest to a target, and `rated_pairs` makes pairs of the nearest
and the farthest.

The distance is that of BaseAlign's reward (Yao et al. 2024, arXiv 2311.10766), or a sound one: see
`stages/values/distance.py`. A row without a score for each dimension is dropped and counted.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Annotated, Any

from pydantic import Field

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result, advise_on_missing
from stages.runtime.context import Context
from stages.runtime.rows import Dropped, Rating
from stages.runtime.stage import Kind, Stage
from stages.values.aim import Aim, aim_identity, check_aim, foresee_kinds
from stages.values.distance import silent_share

QUALITY = "quality"


@dataclass(frozen=True, kw_only=True)
class Config(Aim):
    """The options of an aim, and the weight of another rating."""

    quality_weight: Annotated[float, Field(ge=-1e6, le=1e6)] = 1.0
    """Of the score in `inputs.quality`, where there is one."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Rate every answer anew.

    Raises:
        UserError: there are no ratings, a score is not between -1 and 1, or a kind of request has
            no target.
    """
    where = f"step {context.step!r}"
    qualities: dict[tuple[str, str], float] | None = None
    if QUALITY in inputs:
        rated = inputs[QUALITY].rows(Rating)
        qualities = {(row.response_id, row.response): row.score for row in rated}
    sources = {name: artifact for name, artifact in inputs.items() if name != QUALITY}
    rows: list[Rating] = []
    profiles = []
    targets = []
    dropped = []
    for name, artifact in sources.items():
        for row in artifact.rows(Rating):
            profile = config.read(row, f"{where}, input {name!r}")
            if profile is None:
                dropped.append(Dropped(id=row.id, reason="no score for each dimension"))
            elif qualities is not None and (row.response_id, row.response) not in qualities:
                dropped.append(Dropped(id=row.id, reason="no rating of its quality"))
            else:
                rows.append(row)
                profiles.append(profile)
                targets.append(config.target_of(row.kind))
    if not rows:
        raise UserError(
            "there are no ratings of values",
            where=where,
            fix=advise_on_missing(sources, "add an input: a `score` step with `each: true`"),
        )
    far = config.far(profiles, targets).tolist()
    scores = [-distance for distance in far]
    if qualities is not None:
        for place, row in enumerate(rows):
            scores[place] += config.quality_weight * qualities[row.response_id, row.response]
    metrics: dict[str, Any] = {
        "distance": fmean(far),
        "silent": float(silent_share(profiles, config.threshold).mean()),
    }
    return Result(
        rows=[replace(row, score=score) for row, score in zip(rows, scores, strict=True)],
        row_type=Rating,
        dropped=dropped,
        metrics=metrics,
        warnings=[*config.doubt_kinds(Counter(row.kind for row in rows)), *config.doubts(targets)],
    )


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse a step whose only input is the quality."""
    if set(inputs) == {QUALITY}:
        raise UserError(
            "the ratings of values are missing",
            where="inputs",
            fix="add an input: a `score` step with `each: true`",
        )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={QUALITY: Rating, "*": Rating},
    least=1,
    gives=Rating,
    check=check_aim,
    check_inputs=check_inputs,
    foresee=foresee_kinds,
    identity=aim_identity,
)
