"""What will happen to a step: its identity, why it runs or is reused, what speaks against it.

A step's identity changes with those of its inputs, also where their rows stay the same: critiques
were worded anew and no revision changed. So of a stage that says what it reads (`Stage.reads`) an
artifact also holds a hash of that content. A step with a new identity and the content of an
earlier artifact takes its result over and does not run, as a build system stops early where a
changed source compiles to the same file.

What speaks against a step is asked of its stage (`Stage.foresee`), which gets what is known of each
input (`readings.py`). Servers are visited, and asked nothing.
"""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stages.guards.disk import errors_of_writing, link_or_copy, remove
from stages.guards.errors import UserError
from stages.guards.secrets import mask_identity, mask_values
from stages.runtime.artifacts import (
    DROPPED,
    ROWS,
    Artifact,
    Result,
    finish_artifact,
    look_up,
)
from stages.runtime.calls import Engines
from stages.runtime.context import Forecast
from stages.runtime.generator_registry import is_remote, refuse_unreached
from stages.runtime.manifest import MANIFEST, UNFINISHED, canonical, check_files, fingerprint
from stages.runtime.models import Model
from stages.runtime.pipeline.steps import Step
from stages.runtime.typed_config import identity_of

SHOWN_CHANGES = 3  # how many changed fields a plan names


@dataclass(frozen=True)
class PlannedStep:
    """A step with what will happen to it."""

    step: Step
    payload: dict[str, Any]
    """What identifies the step's artifact; the fingerprint is its hash."""
    artifact: Artifact | None
    """The artifact to reuse; None where there is none of this identity."""
    reason: str = ""
    """Why there is none."""
    forecast: Forecast | None = None
    """The calls it would send; None where they cannot be counted before it runs."""
    twin: Artifact | None = None
    """An artifact of another identity whose result it takes over."""
    warnings: Sequence[str] = ()
    """What already speaks against a step that is to run."""

    @property
    def result(self) -> Artifact | None:
        """The artifact that holds the step's result; None where the step must run."""
        return self.artifact or self.twin

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.payload)

    @property
    def folder(self) -> str:
        """The name of the artifact's folder."""
        return f"{self.step.name}-{self.fingerprint}"


def identity_payload(
    step: Step, inputs: Mapping[str, PlannedStep], seed: int, answer_options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what identifies a step's artifact, as plain data.

    Args:
        inputs: the planned step behind each input.
        answer_options: the generator options that change answers (`Engines.answer_options`).
    """
    contract = step.contract
    options = mask_identity(identity_of(step.config)) | dict(contract.identity(step.config))
    renders_chat = contract.calls_generator or contract.reads_models or "model" in inputs
    if renders_chat:
        options |= answer_options
    return {
        "stage": step.stage,
        "version": contract.version,
        "seed": seed,
        "options": options,
        "inputs": {name: plan.fingerprint for name, plan in inputs.items()},
        "order": list(inputs),  # evaluate takes the first policy as its baseline
    }


def reason_to_run(root: Path, step: Step, payload: Mapping[str, Any], ready: bool) -> str:
    """Name what differs from the most similar finished artifact of the step.

    Args:
        ready: all its inputs exist, so that a twin would be there already.
    """
    earlier = finished_artifacts(root, step.name)
    if not earlier:
        return "never run"
    shown = mask_values(payload)  # as manifests hold it
    differences = [
        explain_difference(artifact.manifest.payload.model_dump(exclude_unset=True), shown)
        for artifact in earlier
    ]
    changes = [line.removeprefix("options.") for line in min(differences, key=len)]
    hidden = len(changes) - SHOWN_CHANGES
    reason = "; ".join(changes[:SHOWN_CHANGES]) + (f"; {hidden} more" if hidden > 0 else "")
    only_inputs = all(change.startswith("inputs.") for change in changes)
    comparable = any(artifact.manifest.content for artifact in earlier)  # older versions' are not
    if step.contract.reads is not None and comparable and only_inputs and not ready:
        reason += "; reused if it reads the same"
    return reason


def finished_artifacts(root: Path, step: str) -> list[Artifact]:
    """Return all finished artifacts of a step, of any identity, the newest first.

    Only their manifests are looked at.
    """
    artifacts = []
    for path in root.glob(f"{step}-????????/{MANIFEST}"):
        artifact = Artifact(step, path.parent)
        with contextlib.suppress(UserError, OSError):
            if artifact.manifest.step == step:
                artifacts.append((path.stat().st_mtime, artifact))
    artifacts.sort(key=lambda pair: pair[0], reverse=True)
    return [artifact for _, artifact in artifacts]


def mean_of_texts(root: Path, step: str) -> float | None:
    """Return the tokens of a text as a step wrote them before; None if it wrote none."""
    texts = 0
    tokens = 0
    for artifact in finished_artifacts(root, step):
        calls = artifact.manifest.calls
        if calls.texts:
            texts += calls.texts
            tokens += calls.tokens - (calls.sent - calls.texts)  # options: one token each
    return tokens / texts if texts else None


def explain_difference(old: Any, new: Any, path: str = "") -> list[str]:
    """Name the fields that differ, as dotted paths: `constitution.no-crime.text`."""
    if old == new:
        return []
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return [f"{path} changed"]
    lines = []
    for key in sorted({*old, *new}):
        inner = f"{path}.{key}" if path else str(key)
        if key not in old:
            lines.append(f"{inner} is new")
        elif key not in new:
            lines.append(f"{inner} is gone")
        else:
            lines += explain_difference(old[key], new[key], inner)
    return lines


def hash_content(step: Step, payload: Mapping[str, Any], inputs: Mapping[str, Artifact]) -> str:
    """Return a hash of all that a step's result depends on; "" where its stage names no `reads`.

    It is the payload with what the step reads of each input in place of the input's fingerprint.

    Raises:
        UserError: an input's rows are damaged.
    """
    reads = step.contract.reads
    if reads is None:
        return ""
    contents = {name: replace(one, columns=reads).content() for name, one in inputs.items()}
    return hashlib.sha256(canonical({**payload, "inputs": contents}).encode()).hexdigest()


def find_twin(root: Path, step: str, content: str) -> Artifact | None:
    """Return an undamaged artifact of a step with this content, whatever its identity.

    One that lacks answers, because calls failed, is left out: they are worth another try.

    Args:
        content: as of `hash_content`; nothing has the content "".
    """
    for artifact in finished_artifacts(root, step) if content else ():
        if artifact.manifest.content == content and not artifact.manifest.calls.failed:
            with contextlib.suppress(UserError):
                check_files(artifact.directory, artifact.manifest, whole=True)
                twin, _ = look_up(root, step, artifact.fingerprint)
                if twin:
                    return twin
    return None


def explain_twin(twin: Artifact) -> str:
    """Return why a step is reused though its identity is new."""
    return f"reads the same as {twin.directory.name} did"


def take_over(twin: Artifact, folder: Path, payload: Mapping[str, Any]) -> Artifact:
    """Make an artifact of a twin's result, which is complete without the twin's folder.

    Its models and other large files are the twin's under a further name, where the disk can do so.
    What it cost to make is still what it cost to make the twin.

    Args:
        folder: the new artifact's, prepared.

    Raises:
        UserError: the twin is damaged, the disk is full or the folder cannot be written.
    """
    facts = twin.manifest
    with errors_of_writing(folder):
        for name in UNFINISHED:  # of a training that was killed before there was a twin
            remove(folder / name)
        for name in facts.files or {}:
            if name in (ROWS, DROPPED):
                continue
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(twin.directory / name, folder / name)
    result = Result(
        rows=None if facts.rows is None else twin.rows(),
        row_type=twin.row_type,
        dropped=twin.dropped(),
        metrics=facts.metrics,
        tables=facts.tables,
        warnings=facts.warnings,
    )
    cost = facts.model_dump(include={"seconds", "calls", "versions"})
    source = {"content": facts.content, "copy_of": facts.copy_of or twin.directory.name}
    return finish_artifact(folder, twin.step, payload, result, cost | source)


def refuse_edited(plan: PlannedStep) -> None:
    """Stop where a file that identifies a step's result is no longer the one of the plan.

    Called before a step, since an edit may be hours old, and after it, since a step reads files
    while it runs: what it made may then be of either content, or of both.

    Raises:
        UserError: names what changed.
    """
    facts = plan.step.contract.identity(plan.step.config)
    before = {name: plan.payload["options"].get(name) for name in facts}
    changes = explain_difference(before, dict(facts))
    if changes:
        raise UserError(
            f"a file that it reads was edited since the run began: {'; '.join(changes)}",
            where=f"step {plan.step.name!r}",
            fix="run the same command again to go on with the file as it is now, or put it back "
            "first to go on with what was planned; finished steps and answered calls are kept",
        )


async def find_unreached(
    planned: Sequence[PlannedStep], engines: Engines, patient: bool
) -> list[tuple[list[str], UserError]]:
    """Return the servers that nobody reaches, each as the steps that will ask it, and why.

    No model is asked anything, so that it costs nothing.

    Args:
        planned: the steps of a run.
        engines: those of the run, which know what answers for which model.
        patient: try as long as a first call would.
    """
    unreached = []
    for model, steps in _served_models(planned, engines):
        answerer = engines.answerer(model)
        try:
            with answerer.name_place():
                await refuse_unreached(answerer.name, answerer.options, patient)
        except UserError as error:
            unreached.append((steps, error))
    return unreached


def _served_models(
    planned: Sequence[PlannedStep], engines: Engines
) -> list[tuple[Model, list[str]]]:
    """Return a model behind each server that steps will ask, and those steps.

    A step whose calls are all stored asks nobody, and neither does one that is reused.
    """
    pointers = {
        plan.step.name: plan.result.model()
        for plan in planned
        if plan.result and not plan.step.contract.reusable
    }
    served: dict[str, tuple[Model, list[str]]] = {}
    for plan in planned:
        step = plan.step
        needs_none = plan.forecast is not None and not plan.forecast.open_rows
        if plan.result or needs_none:
            continue
        for source in step.inputs.values():
            model = pointers.get(source)
            # What a training reads of the run's generator is a folder, not a server.
            asks = step.contract.calls_generator or (model and model.generator)
            if not model or not asks:
                continue
            answerer = engines.answerer(model)
            if is_remote(answerer.name, model.path, answerer.options):
                served.setdefault(model.generator, (model, []))[1].append(step.name)
    return list(served.values())
