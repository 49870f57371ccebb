"""The same questions to several models, one model after the other: memory may hold one engine only."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from stages.runtime.artifacts import Artifact
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context, Forecast, ForecastDone
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped

Ask = Callable[
    [str, str, RememberedGenerator, Any], Awaitable[Any]
]  # (input's name, model's content, model, item) -> row


def ask_each(
    models: Mapping[str, Artifact], items: Sequence[Any], ask: Ask, context: Context
) -> tuple[dict[str, list[Any]], list[Dropped]]:
    """Every model's rows by the input's name, and what was dropped.

    Raises:
        UserError: there is no model.
        ForecastDone: in a forecast, over all models.
    """
    if not models:
        fix = "add `inputs: {base: <a step that makes or names a model>, tuned: <another>}`"
        raise UserError("there is no model to ask", where=f"step {context.step!r}", fix=fix)
    found: dict[str, list[Any]] = {}
    dropped: list[Dropped] = []
    forecasts = []
    for name, artifact in models.items():
        model = artifact.model()
        generator = context.generator(model)

        async def one(
            item: Any, name: str = name, content: str = model.content, generator: Any = generator
        ) -> Any:
            return await ask(name, content, generator, item)

        try:
            found[name], lost = context.map(items, one)
        except ForecastDone as done:
            forecasts.append(done.forecast)
            continue
        dropped += [Dropped(id=f"{name}/{d.id}", reason=d.reason) for d in lost]
    if forecasts:
        rows, still_open = sum(f.rows for f in forecasts), sum(f.open_rows for f in forecasts)
        raise ForecastDone(Forecast(rows, still_open, context.tally.stored))
    return found, dropped
