"""What every training stage does between reading its rows and handing back a Result.

In: a stage's examples, and how to build its trainer over them. Out: the Result, with the model
saved beside it. Left
out: reading the rows and building the trainer, which differ from stage to stage.
"""

from collections.abc import Callable
from typing import Any

from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.rows import Dropped
from stages.training.pair_data import check_held_out

Examples = list[dict[str, Any]]


def trained(
    config_class: str,
    config: Any,
    inputs: dict[str, Artifact],
    context: Context,
    examples: Examples,
    dropped: list[Dropped],
    build: Callable[[Examples], Any],
    *,
    shape: Callable[[Examples], tuple[Examples, list[Dropped]]] | None = None,
    measure: Callable[[Any, Examples], dict[str, Any]] | None = None,
) -> Result:
    """Drop what is too long, build the trainer, train, measure, save.

    Args:
        config_class: the trainer's config, such as "DPOConfig".
        config: a stage's Config with `args`.
        examples: one dict a row, with `id`, `prompt` and what `examples.prepare` knows as a side.
        dropped: rows that did not become examples.
        build: makes the trainer over the examples that fit.
        shape: makes the trainer's examples out of those that fit, and tells which it leaves out.
        measure: looks at the trained model, before it is saved and its trainer is gone; may replace
            `n`.

    Raises:
        UserError: nothing fits, a model that cannot be loaded, memory or disk used up, a diverged
        loss.
    """
    from stages.training.examples import prepare
    from stages.training.trainer import finish, in_session, train

    def session() -> tuple[dict[str, Any], list[Dropped]]:
        base = inputs["model"].model()
        kept, left = prepare(examples, base, config_class, config.args, context)
        if shape is not None:
            kept, more = shape(kept)
            left = left + more
        trainer = build(kept)
        n = len(trainer.train_dataset)
        curve = train(trainer, context, base)
        measured = measure(trainer, kept) if measure is not None else {}
        finish(trainer, context, base)
        return {"n": n, **measured, **curve}, left

    metrics, left = in_session(context, session)
    return Result(dropped=dropped + left, metrics=metrics)


def held_out(trainer: Any, _: Examples) -> dict[str, Any]:
    """The measure of trainers that know nothing but how their held-out part fares."""
    return {"held_out": check_held_out(trainer)}
