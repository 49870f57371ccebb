"""Failures that a run survives: of a step from which no training learns, before a report.

In: steps, inputs first, and what has failed so far. Out: what can still be done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stages.guards.errors import SeveralErrors, UserError, cause_of
from stages.runtime.pipeline.plan import PlannedStep
from stages.runtime.pipeline.steps import Step


class NotRun(UserError):
    """A step that needs one which failed."""


def survivable(steps: Sequence[Step]) -> set[str]:
    """Return the steps whose failure does not end a run.

    No training learns from them, and a step that goes on without them (a report) comes later.
    """
    learnt: set[str] = set()
    reported: set[str] = set()
    for step in reversed(steps):
        if step.contract.trains or step.name in learnt:
            learnt |= {step.name, *step.inputs.values()}
    has_report = False
    for step in reversed(steps):
        if has_report:
            reported.add(step.name)
        has_report = has_report or step.contract.goes_on
    return reported - learnt


def without_failed(plan: PlannedStep, failures: Mapping[str, UserError]) -> PlannedStep:
    """Return a step's plan without the inputs whose steps failed: another identity.

    Raises:
        NotRun: it cannot do without them, or nothing else is left.
    """
    step = plan.step
    lost = {name: source for name, source in step.inputs.items() if source in failures}
    if not lost:
        return plan
    inputs = {name: source for name, source in step.inputs.items() if name not in lost}
    if not step.contract.goes_on or not inputs:
        raise NotRun(
            f"not run, since it needs {', '.join(sorted(set(lost.values())))}",
            where=f"step {step.name!r}",
            fix="see why that failed",
        )
    fingerprints = {
        name: value for name, value in plan.payload["inputs"].items() if name not in lost
    }
    reasons = {source: str(failures[source]) for source in lost.values()}
    payload = plan.payload | {
        "inputs": fingerprints,
        "order": list(fingerprints),
        "failed": reasons,
    }
    return replace(plan, step=replace(step, inputs=inputs), payload=payload, artifact=None)


def raise_failures(failures: Mapping[str, UserError]) -> None:
    """Raise what a run has survived, once everything else is done.

    Raises:
        UserError: a step failed.
    """
    errors = [error for error in failures.values() if not isinstance(error, NotRun)]
    if len(errors) == 1:
        raise errors[0] from cause_of(errors[0])
    if errors:
        raise SeveralErrors(errors)
