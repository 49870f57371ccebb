"""Scores of a reward model, remembered in the call store by the model's content and the text that
it read.

In: items as `scorer.Scorer` takes them. Out: a score each, None for a text that does not fit the
model's context. The weights are loaded only if a score is missing; each chunk is stored when it is
done, so a run that is interrupted computes one chunk again.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, FiniteFloat

from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.progress import progress_bar
from stages.runtime.store import call_key
from stages.training.batch_reading import store_answers, stored_answers
from stages.training.model_files import template_variables
from stages.training.reward_models.scorer import Item, Scorer
from stages.training.session import model_session

Faults = list[tuple[str, str] | None]
"""For each item without a score the reason and the detail of a dropped row."""
CHUNK = 16
"""Batches in a chunk: enough to sort by length."""


class _Stored(BaseModel, strict=True):
    score: FiniteFloat | None


def _read_stored(text: str) -> dict[str, Any]:
    return _Stored.model_validate_json(text).model_dump()


def stored_scores(
    model: Model,
    items: Sequence[Item],
    context: Context,
    batch_size: int = 32,
    dtype: str = "float32",
    label: str = "",
) -> tuple[list[float | None], dict[str, Any]]:
    """Score `items`, from the store where it holds their scores.

    Returns:
        The scores, and counts: `texts` (different ones), `stored` and `computed`.

    Raises:
        UserError: as Scorer.
    """
    scorer = Scorer(model, dtype, batch_size, template_variables(context))
    keys = [
        call_key(
            verb="reward",
            model=model.content,
            dtype=dtype,
            messages=scorer.format.messages(*item),
            template=scorer.template_arguments,
        )
        for item in items
    ]
    answers, missing = stored_answers(keys, items, context.store, _read_stored)
    counts = {
        "texts": len(answers) + len(missing),
        "stored": len(answers),
        "computed": len(missing),
    }

    def computed() -> Iterator[tuple[str, Any]]:
        size = CHUNK * batch_size
        waiting = list(missing.items())
        chunks = [waiting[start : start + size] for start in range(0, len(waiting), size)]
        with progress_bar(context.console, "texts") as progress:
            task = progress.add_task(label or context.step, total=len(waiting), note="")
            for chunk in chunks:
                scores = scorer.score([item for _, item in chunk])
                for (key, _), score in zip(chunk, scores, strict=True):
                    yield key, {"score": score}
                progress.advance(task, len(chunk))
        scorer.close()

    if missing:
        with model_session(context):
            store_answers(answers, computed(), context.store)
    return [answers[key]["score"] for key in keys], counts


def find_faults(
    model: Model, items: Sequence[Item], scores: Sequence[float | None], context: Context
) -> Faults:
    """Why items have no score; None for those that have one."""
    scorer = Scorer(model, template_arguments=template_variables(context))
    faults: Faults = []
    for item, score in zip(items, scores, strict=True):
        faults.append(scorer.fault(item) if score is None else None)
    return faults
