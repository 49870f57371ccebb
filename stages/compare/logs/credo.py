"""Credo's own runs: the answers of `evaluate`, and the tests of `reward_accuracy`.

In: the folder of an artifact or of a run. Out: a log for each policy or reward model, with the
outcomes that ablations compare. An item is a request.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.ablation.jobs import DONE
from stages.ablation.outcomes import (
    STAGES,
    policy_values,
    reward_test_values,
)
from stages.compare.logs.log import Log
from stages.guards.errors import UserError
from stages.guards.files import read_json
from stages.runtime.artifacts import Artifact
from stages.runtime.manifest import MANIFEST
from stages.runtime.rows import Verdict

TOOL = "Credo"
VIOLATES = "violates "


def is_credo(folder: Path) -> bool:
    """Whether a folder is an artifact, or that of a run."""
    return (folder / MANIFEST).is_file() or (folder / DONE).is_file()


def read_credo(
    folder: Path,
    name: str,
) -> list[Log]:
    """Read the logs of a folder, the first policy first.

    Raises:
        UserError: no step of it compares anything, or an artifact is damaged or gone.
    """
    logs = []
    for artifact in _artifacts(folder):
        if artifact.stage == STAGES["policy"]:
            logs += list(_policies(artifact, name))
        elif artifact.stage == STAGES["reward"]:
            logs.append(_reward_models(artifact, name))
    logs = [log for log in logs if log.scores]
    if logs:
        return logs
    raise UserError(
        "no step of this run scored answers",
        where=str(folder),
        fix="give a run, or an artifact, with a step of stage evaluate or reward_accuracy",
    )


def _artifacts(folder: Path) -> list[Artifact]:
    if (folder / MANIFEST).is_file():
        step = folder.name.rpartition("-")[0] or folder.name
        return [Artifact(step, folder)]
    steps = read_json(folder / DONE)["steps"]
    return [Artifact(step, Path(facts["artifact"])) for step, facts in steps.items()]


def _policies(
    artifact: Artifact,
    name: str,
) -> Iterator[Log]:
    policies = artifact.metrics["policies"]
    texts: dict[str, list[Verdict]] = {}
    for row in artifact.rows(Verdict):
        texts.setdefault(row.policy, []).append(row)
    for place, policy in enumerate(policies):
        log = Log(f"{name} {policy}".strip(), TOOL, artifact.directory)
        log.measured_by = _measured_by(artifact)
        for row in texts.get(policy, []):
            log.add(row.prompt_id, row.prompt, row.response, {})
        for metric, values in policy_values(artifact, place).items():
            if values:
                log.scores[metric] = list(values.items())
        log.reported.update(_reported(policies[policy], artifact.metrics["measured_by"]))
        yield log


def _measured_by(artifact: Artifact) -> dict[str, str]:
    """The principles, the questions and the judge of an evaluation."""
    payload = artifact.manifest.payload
    facts = {
        "principles": payload.options.get("constitution"),
        "questions": payload.options.get("templates"),
        "judge": (payload.inputs or {}).get("judge"),
    }
    return {name: str(fact) for name, fact in facts.items() if fact}


def _reported(
    facts: dict[str, Any],
    source: str,
) -> Iterator[tuple[str, float]]:
    """The numbers that the step itself reports."""
    for measure, estimate in (facts.get("measures") or {}).items():
        if estimate:
            yield measure, estimate["value"]
    for principle, by_source in (facts.get("principles") or {}).items():
        if by_source.get(source):
            yield f"{VIOLATES}{principle}", by_source[source]["value"]


def _reward_models(
    artifact: Artifact,
    name: str,
) -> Log:
    log = Log(f"{name} {artifact.step}".strip(), TOOL, artifact.directory)
    for metric, values in reward_test_values(artifact).items():
        for item, value in values.items():
            log.add(item, "", "", {metric: value})
    return log
