"""What each training learnt from: its rows, its optimiser steps, and what was dropped on the way.

In: the steps behind a page. Out: one `Learnt` a training, for the top of the page. On the way to a
training lie the steps that made its rows, back to the models and the sources.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stages.report.views.offline_trainings import is_online
from stages.runtime.artifacts import Artifact
from stages.runtime.pipeline.dropped_rows import count_remaining
from stages.statistics.formatting import format_count, format_plural

REASONS = 3
"""How many of a step's reasons are listed."""


@dataclass(frozen=True)
class Loss:
    """The rows that one step dropped."""

    step: str
    dropped: int
    total: int
    """The dropped rows and the others."""
    reasons: str

    @property
    def share(self) -> float:
        """The fraction of rows that were dropped."""
        return self.dropped / self.total


@dataclass(frozen=True)
class Learnt:
    """What one training learnt from."""

    step: str
    stage: str
    rows: str
    steps: str
    losses: list[Loss]
    """Of the steps before it, then its own."""


def learnt_from(steps: Sequence[Artifact]) -> list[Learnt]:
    """What the trainings among the steps learnt from, in their order."""
    by_print = {step.fingerprint: step for step in steps}
    return [_learnt(step, by_print) for step in steps if _is_training(step)]


def _is_training(step: Artifact) -> bool:
    return "history" in step.metrics or {"n", "steps"} <= step.metrics.keys()


def _learnt(training: Artifact, by_print: Mapping[str, Artifact]) -> Learnt:
    metrics = training.metrics
    history = metrics.get("history") or [{}]
    last = history[-1].get("step")
    steps = metrics.get("steps", last)
    losses = []
    for step in _steps_before(training, by_print):
        losses.append(_loss(step))
    losses.append(_loss(training))
    return Learnt(
        step=training.step,
        stage=training.stage,
        rows=_describe_rows(training),
        steps="" if steps is None else format_plural(int(steps), "step"),
        losses=[loss for loss in losses if loss.dropped],
    )


def _describe_rows(training: Artifact) -> str:
    rows = training.metrics.get("n")
    if rows is None:
        return ""
    noun = "prompt" if is_online(training) else "row"
    words = format_plural(int(rows), noun)
    held_out = _held_out(training)
    if held_out:
        words += f", {format_count(held_out)} held out"
    return words


def _held_out(training: Artifact) -> int:
    """How many rows a training was measured on."""
    measured = training.metrics.get("held_out") or {}
    return int(measured.get("n", 0))


def _rows_of(step: Artifact) -> int:
    """How many rows came out of a step, or were learnt from by a training."""
    if step.manifest.rows is not None:
        return step.manifest.rows
    return count_remaining(None, step.metrics)


def _steps_before(
    training: Artifact,
    by_print: Mapping[str, Artifact],
) -> Iterator[Artifact]:
    """The steps that made its rows, the first one first; none that makes a model."""
    seen: set[str] = set()

    def visit(step: Artifact) -> Iterator[Artifact]:
        for print_ in step.inputs.values():
            source = by_print.get(print_)
            if source is None or print_ in seen:
                continue
            seen.add(print_)
            if source.manifest.rows is not None:
                yield from visit(source)
                yield source

    yield from visit(training)


def _loss(step: Artifact) -> Loss:
    counts = Counter(step.manifest.dropped)
    texts = []
    for reason, number in counts.most_common(REASONS):
        texts.append(f"{format_count(number)} \u00d7 {reason}")
    hidden = len(counts) - REASONS
    if hidden > 0:
        texts.append(format_plural(hidden, "other reason"))
    dropped = counts.total()
    return Loss(
        step=step.step,
        dropped=dropped,
        total=dropped + _rows_of(step),
        reasons="; ".join(texts),
    )
