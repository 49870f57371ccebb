"""Stage `function_ratings`: answers rated by a function of yours. No model and no calls.

In: any inputs of Response, Revision or Rating rows. Out: one Rating for each row. The function is
called with the text of the request and the answer, and returns a number for each principle:
`{"security": 1, "power": 0}`; the rating's `scores` are those of the constitution's principles,
under their id or their dimension, and its `score` is their mean.

So a ground truth, a word counter or another tool's classifier stands where a judge or a reward
model would: in `label_accuracy` as the labels, in `value_distance` as the gold judge.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from stages.guards.errors import UserError
from stages.preferences.judging.rating import answers_to_rate, rating_of
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.functions import call, find_function, function_identity
from stages.runtime.rows import Rating, Response, Revision, request_text
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Text, show_value


@dataclass(frozen=True)
class Config:
    function: Text
    """`package.module:function`, of two texts: the request and the answer."""
    constitution: Selection
    """The principles that it rates under."""


def check(config: Config) -> None:
    """Refuse a function that is not there."""
    find_function(config.function, "function", "request", "response")


def identity(config: Config) -> dict[str, Any]:
    """The function's module, and the principles' names."""
    principles = select(config.constitution).principles
    return {
        "module": function_identity(config.function),
        "principles": [[each.id, each.dimension] for each in principles],
    }


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Rate every row.

    Raises:
        UserError: the function fails, or gives no number for a principle.
    """
    function = find_function(config.function, "function", "request", "response")
    principles = select(config.constitution).principles
    ratings = []
    for row in answers_to_rate(inputs):
        values = call(function, config.function, request_text(row.prompt), row.response)
        scores = [_find(values, principle, config.function) for principle in principles]
        ratings.append(
            rating_of(
                row,
                fmean(scores),
                [principle.id for principle in principles],
                scores=scores,
                model=config.function,
            )
        )
    return Result(rows=ratings, row_type=Rating)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={"*": Response | Revision | Rating},
    least=1,
    gives=Rating,
    check=check,
    identity=identity,
)


def _find(values: Any, principle: Principle, where: str) -> float:
    """Return the number of a principle.

    Raises:
        UserError: there is none.
    """
    if isinstance(values, Mapping):
        value = values.get(principle.id, values.get(principle.dimension))
        if isinstance(value, (int, float)) and abs(value) < float("inf"):
            return float(value)
    raise UserError(
        f"the function gave {show_value(values)}, and no number for {principle.id!r}",
        where=where,
        fix="return a number for each principle, by its id or its dimension",
    )
