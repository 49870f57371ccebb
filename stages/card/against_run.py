"""Checks of a published record against the artifacts of its run.

In: the record, and the run where it was made or the evidence that the folder carries. Out: for each
step whether its files and its manifest are the recorded ones, and whether the configuration still
leads to its fingerprint: the same constitution, data, templates and code of functions.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from stages.card.checks import (
    Check,
    as_plain,
    check_faults,
    compare,
    differs,
    not_checked,
)
from stages.card.evidence import is_evidence
from stages.card.facts import describe_run, describe_step
from stages.card.record import steps_by_name
from stages.guards.errors import UserError
from stages.runs.records import RunRecord
from stages.runtime.artifacts import MODEL, Artifact
from stages.runtime.calls import Engines
from stages.runtime.manifest import find_fault
from stages.runtime.pipeline.plan import PlannedStep, explain_difference, identity_payload
from stages.runtime.pipeline.steps import Step


def check_run(
    record: Mapping[str, Any],
    run: RunRecord,
) -> Check:
    """Return whether the run's own record says the same of its config, seed and commit."""
    recorded = dict(record["run"])
    here = as_plain(describe_run(run))
    if is_evidence(run):  # without Hydra's files and the status
        for name in ("started", "pipeline"):
            here.pop(name)
            recorded.pop(name)
    return check_faults("run.json", compare(recorded, here), "configuration, seed, commit")


def check_artifacts(
    record: Mapping[str, Any],
    steps: Mapping[str, Step],
    artifacts: Mapping[str, Artifact],
) -> Iterator[Check]:
    """Yield for each recorded step whether its artifact is the recorded one, file by file."""
    for name, entry in steps_by_name(record).items():
        what = f"artifact of {name}"
        if name not in artifacts or name not in steps:
            yield not_checked(what, "it is not among the artifacts of the run")
            continue
        artifact = artifacts[name]
        try:
            here = describe_step(steps[name], artifact)
        except UserError as error:
            yield differs(what, error.what)
            continue
        faults = compare(entry, here)
        has_model = (artifact.directory / MODEL).is_dir()
        left_out = []
        for file, facts in (artifact.manifest.files or {}).items():
            if file.startswith(f"{MODEL}/") and not has_model:
                left_out.append(file)
                continue
            fault = find_fault(artifact.directory / file, facts, whole=True)
            if fault:
                faults.append(f"{file}: {fault}")
        count = len(here["files"]) - len(left_out)
        without = f", without its model's {len(left_out)}" if left_out else ""
        yield check_faults(what, faults, f"{count} files{without}")


def check_identities(
    record: Mapping[str, Any],
    steps: Mapping[str, Step],
    engines: Engines,
) -> Iterator[Check]:
    """Yield for each step whether the config, the constitution and the data here identify it."""
    recorded = steps_by_name(record)
    planned = {}
    for name, step in steps.items():
        if name in recorded:
            payload = recorded[name]["payload"]
            planned[name] = PlannedStep(step, payload, None)
    for name, plan in planned.items():
        what = f"identity of {name}"
        step = plan.step
        if recorded[name]["payload"].get("version") != step.contract.version:
            yield not_checked(what, "this version of Credo has another version of its stage")
            continue
        inputs = {key: planned[source] for key, source in step.inputs.items() if source in planned}
        try:
            here = identity_payload(
                step,
                inputs,
                int(record["run"]["seed"]),
                engines.answer_options,
            )
        except UserError as error:
            yield not_checked(what, str(error).partition("\n")[0])
            continue
        yield check_faults(what, explain_difference(plan.payload, as_plain(here)))
