"""What was measured of a published policy, read from the recorded metrics of a run's steps.

In: what is recorded of each step. Out: a list of estimates and paired differences, each with its
interval and n, and what the examination of the judge says. Nothing is computed here, so that the
same function writes a record and checks one.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from stages.runs.loaded import EVALUATE

EXAMINATION = "examine_judge"
MODEL_INPUT = "model"


def effects_of(
    steps: Mapping[str, Mapping[str, Any]],
    policy: str,
) -> list[dict[str, Any]]:
    """Return the measures of a policy and its differences from the others, step by step.

    Args:
        policy: the name of the step that trained it.
    """
    effects = []
    for step, answers, name in evaluations(steps, policy):
        metrics = steps[step]["metrics"]
        requests = requests_of(steps, answers)
        shared = {
            "step": step,
            "requests": requests,
            "confidence": metrics.get("confidence"),
        }
        effects += list(_measures(metrics, name, shared))
        effects += list(_differences(metrics, name, shared))
    return effects


def evaluations(
    steps: Mapping[str, Mapping[str, Any]],
    policy: str,
) -> Iterator[tuple[str, str, str]]:
    """Yield each evaluation of a policy: the step, the step of its answers, its name there."""
    for step, entry in steps.items():
        if entry["stage"] != EVALUATE:
            continue
        for name, source in entry["inputs"].items():
            is_policy = name in entry["metrics"].get("policies", {})
            if is_policy and steps[source]["inputs"].get(MODEL_INPUT) == policy:
                yield step, source, name


def requests_of(
    steps: Mapping[str, Mapping[str, Any]],
    answers: str,
) -> list[str]:
    """Return the names of the steps whose rows were answered."""
    inputs = steps[answers]["inputs"]
    return [source for name, source in inputs.items() if name != MODEL_INPUT]


def _measures(
    metrics: Mapping[str, Any],
    policy: str,
    shared: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    facts = metrics["policies"][policy]
    measures = {"words": facts["words"], **facts["measures"]}
    for measure, estimate in measures.items():
        if estimate:
            yield {**shared, "policy": policy, "measure": measure, **estimate}
    for principle, sources in facts["principles"].items():
        for source, estimate in sources.items():
            if estimate:
                named = {"policy": policy, "measure": f"violates {principle} ({source})"}
                yield {**shared, **named, "principle": principle, **estimate}


def _differences(
    metrics: Mapping[str, Any],
    policy: str,
    shared: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    for rival, facts in metrics["differences"].get(policy, {}).items():
        changes = {"words": facts["words"], **facts["measures"]}
        for principle, change in facts["principles"].items():
            changes[f"violates {principle}"] = change
        for measure, change in changes.items():
            if change:
                named = {"policy": policy, "against": rival, "measure": measure}
                yield {**shared, **named, **change}


def judge_of(
    steps: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return what each examination of a judge found, with its warnings."""
    examinations = []
    for step, entry in steps.items():
        if entry["stage"] == EXAMINATION:
            found = {"step": step, "judge": entry["inputs"].get("judge")}
            found["metrics"] = entry["metrics"]
            found["warnings"] = entry["warnings"]
            examinations.append(found)
    return examinations


def measured_after(
    steps: Mapping[str, Mapping[str, Any]],
    policy: str,
) -> list[str]:
    """Return the steps after a policy that have tables and are no evaluation of `effects_of`."""
    after = {policy}
    names = []
    evaluated = {step for step, *_ in evaluations(steps, policy)}
    for step, entry in steps.items():
        if after.isdisjoint(entry["inputs"].values()):
            continue
        after.add(step)
        if entry["tables"] and step not in evaluated and not entry["trains"]:
            names.append(step)
    return names
