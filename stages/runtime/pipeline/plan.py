"""What will happen to a step: its identity, and why it must run or can be reused."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.guards.secrets import mask_identity, mask_values
from stages.runtime.artifacts import Artifact, finished_artifacts
from stages.runtime.context import Forecast
from stages.runtime.manifest import fingerprint
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
    """The artifact to reuse; None where the step must run."""
    reason: str = ""
    """Why it must run."""
    forecast: Forecast | None = None
    """The calls it would send; None where they cannot be counted before it runs."""

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.payload)


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


def reason_to_run(root: Path, step: Step, payload: Mapping[str, Any]) -> str:
    """Name what differs from the most similar finished artifact of the step."""
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
    return "; ".join(changes[:SHOWN_CHANGES]) + (f"; {hidden} more" if hidden > 0 else "")


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
