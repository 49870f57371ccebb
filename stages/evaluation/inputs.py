"""What stages that compare models read: responses, or answers to the same questions.

Models are asked one after the other, because memory may hold only one engine.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, advise_on_missing
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context, Forecast, ForecastDone
from stages.runtime.cost.foreseen import Expense
from stages.runtime.rows import Dropped, Response, Revision
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Count, machine

NO_MODEL = "add `inputs: {base: <a step that makes or names a model>, tuned: <another>}`"
Ask = Callable[[str, RememberedGenerator, Any], Awaitable[Any]]
"""(the input's name, the model, an item) -> a row, or a list of rows."""


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """The options of a stage that reads texts with reward models or classifiers."""

    batch_size: Count = machine(32)
    """Texts that are read at a time."""
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")
    """The type of the models' weights."""


def read_policies(
    inputs: Mapping[str, Artifact], others: Sequence[str], where: str
) -> dict[str, list[Response]]:
    """The responses of each input that is not one of the `others`.

    Of revisions it is the last one of each response.

    Raises:
        UserError: there is no such input, or one without rows.
    """
    steps = {name: step for name, step in inputs.items() if name not in others}
    policies = {name: as_responses(step.rows(Response, Revision)) for name, step in steps.items()}
    if not policies:
        raise UserError(
            "there are no responses to evaluate",
            where=where,
            fix="add `inputs: {base: <a respond step>, tuned: <another>}`, the baseline first",
        )
    for name, rows in policies.items():
        if not rows:
            raise UserError(
                f"the input {name!r} holds no responses",
                where=where,
                fix=advise_on_missing({name: steps[name]}, "give its step prompts to answer"),
            )
    return policies


def as_responses(rows: Sequence[Response | Revision]) -> list[Response]:
    """Responses as they are, and in place of revisions the text after each one's last round."""
    responses: dict[str, Response] = {}
    samples: dict[str, dict[str, int]] = {}
    for row in rows:
        if isinstance(row, Response):
            responses[row.id] = row
            continue
        numbers = samples.setdefault(row.prompt_id, {})
        earlier = responses.get(row.response_id)
        responses[row.response_id] = Response(
            id=row.response_id,
            prompt_id=row.prompt_id,
            kind=row.kind,
            prompt=row.prompt,
            response=row.response,
            sample=numbers.setdefault(row.response_id, len(numbers)),
            context=[*(earlier.context if earlier else []), row.principle],
            model=row.model,
            seed=row.seed,
            template=row.template,
            finish_reason=row.finish_reason,
            thoughts=row.thoughts,
        )
    return list(responses.values())


def draw(
    ids: Iterable[str],
    limit: int | None,
    seed: int,
    purpose: str,
) -> list[str]:
    """Up to `limit` ids, drawn by a hash; None: all, in their order."""
    if limit is None:
        return list(ids)

    def rank(name: str) -> tuple[int, str]:
        return derive_seed(seed, purpose, name), name

    return sorted(ids, key=rank)[:limit]


def ask_each(
    models: Mapping[str, Artifact],
    items: Sequence[Any],
    ask: Ask,
    context: Context,
) -> tuple[dict[str, list[Any]], list[Dropped]]:
    """Every model's rows by the input's name, and the dropped rows.

    Raises:
        UserError: there is no model.
        ForecastDone: in a forecast, over all models.
    """
    if not models:
        raise UserError(
            "there is no model to ask",
            where=f"step {context.step!r}",
            fix=NO_MODEL,
        )
    rows: dict[str, list[Any]] = {}
    dropped: list[Dropped] = []
    forecasts: list[Forecast] = []
    for name, artifact in models.items():
        generator = context.generator(artifact.model())
        try:
            rows[name], dropped_rows = context.map(items, partial(ask, name, generator))
        except ForecastDone as done:
            forecasts.append(done.forecast)
            continue
        for row in dropped_rows:
            dropped.append(replace(row, id=f"{name}/{row.id}"))
    if forecasts:
        total = sum(forecast.rows for forecast in forecasts)
        open_rows = sum(forecast.open_rows for forecast in forecasts)
        new = sum((forecast.new for forecast in forecasts), Expense())
        raise ForecastDone(Forecast(total, open_rows, context.tally.stored, new))
    return rows, dropped
