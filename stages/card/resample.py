"""Ask a published model again, and score its answers again: a part of its effects from scratch.

In: the folder, and the artifacts of its run. N held-out requests are drawn by a hash. The model
answers them with the recorded sampling and seeds, and nothing comes from a store. Then the run's
own evaluation scores the recorded and the new answers of these requests side by side. Out: how many
answers are equal word for word, and for each measure whether the paired difference is one of
chance: all intervals together hold with the confidence of the evaluation (Bonferroni).
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.card.checks import (
    Check,
    agrees,
    check_faults,
    not_checked,
)
from stages.card.effects import MODEL_INPUT, evaluations
from stages.card.recompute import CALLS, as_artifact, make_context
from stages.card.record import steps_by_name
from stages.evaluation.evaluate import NO_POLICIES
from stages.evaluation.inputs import as_responses, draw
from stages.guards.errors import UserError
from stages.runtime.artifacts import Artifact, Result, finish_artifact
from stages.runtime.calls import Engines
from stages.runtime.pipeline.steps import Step
from stages.runtime.rows import Prompt, Response
from stages.runtime.store import CallStore
from stages.statistics.formatting import format_number

RECORDED, AGAIN = "recorded", "again"
LEFT_OUT = ("judgements",)
"""What an evaluation compares with the matrix of other answers."""
PURPOSE = "card"


def resample(
    folder: Path,
    record: Mapping[str, Any],
    steps: Mapping[str, Step],
    artifacts: Mapping[str, Artifact],
    count: int,
    open_engines: Callable[[], Engines],
) -> Iterator[Check]:
    """Yield the checks of the answers and of each measure.

    Args:
        count: how many requests are answered again.
        open_engines: what answers for the models.
    """
    recorded = steps_by_name(record)
    every = list(evaluations(recorded, record["policy"]["step"]))
    if not every:
        yield not_checked("answers from scratch", "no evaluation of the policy is recorded")
    for evaluation, answers, _ in every:
        needed = [evaluation, answers, *steps[evaluation].inputs.values()]
        missing = [name for name in needed if name not in artifacts or name not in steps]
        if missing:
            why = f"the artifact of {', '.join(missing)} is gone"
            yield not_checked(f"{evaluation} from scratch", why)
            continue
        trial = Trial(
            folder,
            steps,
            artifacts,
            int(record["run"]["seed"]),
        )
        try:
            yield from trial.run(
                steps[evaluation],
                steps[answers],
                count,
                open_engines(),
            )
        except UserError as error:
            reason = str(error).partition("\n")[0]
            yield not_checked(f"{evaluation} from scratch", f"it cannot run here: {reason}")


class Trial:
    """A model that is asked again.

    Args:
        folder: the model's.
        steps: of the run, by name.
        artifacts: of these steps.
        seed: the run's.
    """

    def __init__(
        self,
        folder: Path,
        steps: Mapping[str, Step],
        artifacts: Mapping[str, Artifact],
        seed: int,
    ):
        self.folder = folder
        self.steps = steps
        self.artifacts = artifacts
        self.seed = seed

    def run(
        self,
        evaluation: Step,
        answers: Step,
        count: int,
        engines: Engines,
    ) -> Iterator[Check]:
        """Yield the checks of one evaluation.

        Raises:
            UserError: a model cannot be opened, or a stage refuses.
        """
        with tempfile.TemporaryDirectory() as name, asyncio.Runner() as loop:
            scratch = Path(name)
            store = CallStore(scratch / CALLS)

            def run_step(step: Step, inputs: dict[str, Artifact], label: str) -> Artifact:
                renamed = replace(step, name=label)
                context = make_context(
                    renamed,
                    scratch,
                    self.seed,
                    store,
                    engines,
                    loop,
                )
                context.step = step.name
                result = step.contract.run(step.config, inputs, context)
                recorded = self.artifacts[step.name]
                return as_artifact(step, recorded, result, context)

            try:
                pointers = {}
                for step in self.steps.values():
                    is_read = step.name in evaluation.inputs.values()
                    if not step.contract.reusable and is_read:
                        pointers[step.name] = run_step(step, {}, step.name)
                inputs, drawn = self._requests_of(answers, count, scratch)
                inputs[MODEL_INPUT] = self._point_at_model(answers, scratch)
                again = run_step(answers, inputs, AGAIN)
                before = self._keep(answers, drawn, scratch)
                yield _compare_texts(before, again, len(drawn))
                scored = {RECORDED: before, AGAIN: again}
                for key, source in evaluation.inputs.items():
                    if key in NO_POLICIES and key not in LEFT_OUT:
                        scored[key] = pointers.get(source) or self.artifacts[source]
                metrics = self.artifacts[evaluation.name].metrics
                measures = len(_measures_of(metrics))
                scorer = replace(evaluation, config=_strict(evaluation.config, measures))
                judged = run_step(scorer, scored, evaluation.name)
                yield from _compare_measures(judged.metrics)
            finally:
                loop.run(engines.release())
                store.close()

    def _requests_of(
        self,
        answers: Step,
        count: int,
        scratch: Path,
    ) -> tuple[dict[str, Artifact], set[str]]:
        """The inputs of a step with only the drawn requests, and the ids of these."""
        sources = {key: self.artifacts[source] for key, source in answers.inputs.items()}
        requests = {}
        for key, artifact in sources.items():
            if artifact.manifest.rows and artifact.row_type is Prompt:
                requests[key] = artifact.rows(Prompt)
        ids = sorted({row.prompt_id for rows in requests.values() for row in rows})
        drawn = set(draw(ids, count, self.seed, PURPOSE))
        for key, rows in requests.items():
            chosen = [row for row in rows if row.prompt_id in drawn]
            sources[key] = _write(
                sources[key],
                Result(rows=chosen, row_type=Prompt),
                scratch / f"requests-{key}",
            )
        return sources, drawn

    def _point_at_model(self, answers: Step, scratch: Path) -> Artifact:
        """The published folder in place of the model that answered."""
        policy = self.artifacts[answers.inputs[MODEL_INPUT]]
        metrics = {"model_path": str(self.folder), "revision": None}
        return _write(
            policy,
            Result(metrics=metrics),
            scratch / "published",
        )

    def _keep(self, answers: Step, drawn: set[str], scratch: Path) -> Artifact:
        """The recorded answers to the drawn requests."""
        artifact = self.artifacts[answers.name]
        rows = [row for row in as_responses(artifact.rows()) if row.prompt_id in drawn]
        return _write(
            artifact,
            Result(rows=rows, row_type=Response),
            scratch / RECORDED,
        )


def _write(
    source: Artifact,
    result: Result,
    folder: Path,
) -> Artifact:
    """A result in place of an artifact, under its identity."""
    folder.mkdir(parents=True)
    payload = source.manifest.payload.model_dump(exclude_unset=True)
    return finish_artifact(
        folder,
        source.step,
        payload,
        result,
        {},
    )


def _strict(config: Any, measures: int) -> Any:
    """The evaluation's options with intervals that hold together, and without win rates."""
    error = (1 - config.confidence) / max(1, measures)
    return replace(
        config,
        confidence=1 - error,
        win_rate=False,
    )


def _measures_of(metrics: Mapping[str, Any]) -> list[str]:
    """The measures of an evaluation that have values."""
    first = next(iter(metrics["policies"].values()))
    measured = {"words": first["words"], **first["measures"]}
    return [name for name, estimate in measured.items() if estimate]


def _compare_texts(before: Artifact, again: Artifact, requests: int) -> Check:
    what = f"answers to {requests} requests, from scratch"
    texts = {row.id: row.response for row in as_responses(before.rows())}
    new = {row.id: row.response for row in as_responses(again.rows())}
    equal = sum(new.get(name) == text for name, text in texts.items())
    line = f"{equal} of {len(texts)} are equal word for word"
    if texts.keys() != new.keys():
        return check_faults(what, [f"{line}; {len(new)} answers here"])
    if equal == len(texts):
        return agrees(what, line)
    return not_checked(
        what,
        f"{line}: another engine, machine or version draws other words; the measures decide",
    )


def _compare_measures(metrics: Mapping[str, Any]) -> Iterator[Check]:
    changes = metrics["differences"][AGAIN][RECORDED]
    confidence = format_number(metrics["confidence"], 4)
    for measure, change in {"words": changes["words"], **changes["measures"]}.items():
        if not change:
            continue
        low, high = (format_number(change[name], 4) for name in ("low", "high"))
        line = f"difference {format_number(change['value'], 4)}, {low} to {high} at {confidence}, "
        line += f"n {change['n']}"
        if "after" in change:
            after, before = (format_number(change[name], 4) for name in ("after", "before"))
            line = f"{after} again, {before} recorded; {line}"
        is_chance = change["low"] <= 0 <= change["high"]
        what = f"{measure} from scratch"
        yield agrees(what, line) if is_chance else check_faults(what, [line])
