"""Scores of a reward model, remembered in the call store by the model's content and the text that
it read.

In: items as `scorer.Scorer` takes them. Out: a score each, None for a text that does not fit the
model's context. The weights are loaded only if a score is missing; each chunk is stored when it is
done, so a run that is cut short pays for one chunk again.
"""

from collections.abc import Sequence
from typing import Any

from rich.progress import track

from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.store import call_key
from stages.training.reward_models.scorer import Item, Scorer

CHUNK = 16  # batches: enough to sort by length


def stored_scores(
    model: Model,
    items: Sequence[Item],
    context: Context,
    batch_size: int = 32,
    dtype: str = "float32",
    label: str = "",
) -> tuple[list[float | None], dict[str, Any]]:
    """Score `items`, from the store where it knows them.

    Returns:
        The scores, and counts: `texts` (different ones), `stored` and `computed`.

    Raises:
        UserError: as Scorer.
    """
    variables = context.engines.meaning.get("template_arguments") or {}
    scorer = Scorer(model, dtype, batch_size, variables)
    layout = scorer.format
    keys = [
        call_key(
            verb="reward",
            model=model.content,
            dtype=dtype,
            messages=layout.messages(*item),
            template=scorer.template_arguments,
        )
        for item in items
    ]
    missing: dict[str, Item] = {}
    known: dict[str, float | None] = {}
    for key, item in zip(keys, items, strict=True):
        if key in known or key in missing:
            continue
        found = context.store.get(key)
        if found is None:
            missing[key] = item
        else:
            known[key] = found["score"]
    counts = {"texts": len(known) + len(missing), "stored": len(known), "computed": len(missing)}
    size = CHUNK * batch_size
    waiting = list(missing.items())
    chunks = [waiting[start : start + size] for start in range(0, len(waiting), size)]
    terminal = context.console.is_terminal
    shown = track(
        chunks, label or context.step, console=context.console, transient=True, disable=not terminal
    )
    from stages.training.trainer import in_session

    def work() -> None:
        for chunk in shown:
            for (key, _), score in zip(
                chunk, scorer.score_fitting([item for _, item in chunk]), strict=True
            ):
                known[key] = score
                context.store.put(key, {"score": score})
        scorer.close()

    if waiting:
        in_session(context, work)
    return [known[key] for key in keys], counts
