"""The same questions to several models, one after the other: memory may hold one engine only."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from stages.runtime.artifacts import Artifact
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context, Forecast, ForecastDone
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped

Ask = Callable[[str, str, RememberedGenerator, Any], Awaitable[Any]]
"""(the input's name, the model's content, the model, an item) -> a row, or several."""


def ask_each(
    models: Mapping[str, Artifact], items: Sequence[Any], ask: Ask, context: Context
) -> tuple[dict[str, list[Any]], list[Dropped]]:
    """Every model's rows by the input's name, and what was dropped.

    Raises:
        UserError: there is no model.
        ForecastDone: in a forecast, over all models.
    """
    if not models:
        raise UserError(
            "there is no model to ask",
            where=f"step {context.step!r}",
            fix="add `inputs: {base: <a step that makes or names a model>, tuned: <another>}`",
        )
    rows: dict[str, list[Any]] = {}
    dropped: list[Dropped] = []
    forecasts: list[Forecast] = []
    for name, artifact in models.items():
        try:
            rows[name], lost = _ask_one(name, artifact, items, ask, context)
        except ForecastDone as done:
            forecasts.append(done.forecast)
            continue
        for row in lost:
            dropped.append(Dropped(id=f"{name}/{row.id}", reason=row.reason))
    if forecasts:
        raise ForecastDone(
            Forecast(
                sum(forecast.rows for forecast in forecasts),
                sum(forecast.open_rows for forecast in forecasts),
                context.tally.stored,
            )
        )
    return rows, dropped


def _ask_one(
    name: str, artifact: Artifact, items: Sequence[Any], ask: Ask, context: Context
) -> tuple[list[Any], list[Dropped]]:
    model = artifact.model()
    generator = context.generator(model)

    async def ask_about(item: Any) -> Any:
        return await ask(name, model.content, generator, item)

    return context.map(items, ask_about)
