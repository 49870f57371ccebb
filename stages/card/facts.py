"""What a run recorded of a policy that is to be published: its steps, principles, data, base model.

In: the record of a run. Out: plain data for `credo_card.json`.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import STAGES
from stages.guards.errors import UserError, refuse_unknown
from stages.guards.files import read_bytes
from stages.principles.constitution import locate
from stages.principles.select import Selection, select
from stages.runs.policies import policies_of
from stages.runs.records import RunRecord
from stages.runtime.artifacts import Artifact
from stages.runtime.pipeline.steps import Step, join_sections, read_steps
from stages.runtime.typed_config import parse_config

UNKNOWN = "unknown"
"""A licence that nobody named; the Hub knows the word, too."""
PAGES = "stages.report"
"""Where the stages are that show results and make none."""
MOST_BYTES = 16 * 2**20
"""Of a constitution's file."""


@dataclass(frozen=True)
class Published:
    """A policy of a run, and the finished steps of the run."""

    run: RunRecord
    policy: str
    """The step that trained it."""
    steps: dict[str, Step]
    """In the order of the run, without those that only show results."""
    artifacts: dict[str, Artifact]


def open_published(
    run: RunRecord,
    policy: str = "",
) -> Published:
    """Return a policy of a run with its steps.

    Args:
        policy: the step that trained it; "": the last one.

    Raises:
        UserError: the run trained no policy, its config is not one of this version, or an artifact
            is damaged.
    """
    policies = policies_of(run)
    if not policies:
        raise UserError(
            "the run trained no policy that is still there",
            where=str(run.folder),
            fix="give a run that trains one: `python -m stages.runs list`",
        )
    policy = policy or next(iter(policies))
    refuse_unknown(
        [policy],
        policies,
        "no policy is of step",
        "--step",
    )
    artifacts = run.artifacts()
    steps = steps_of(run.config)
    finished = {name: step for name, step in steps.items() if name in artifacts}
    return Published(
        run,
        policy,
        finished,
        {name: artifacts[name] for name in finished},
    )


def steps_of(config: Mapping[str, Any]) -> dict[str, Step]:
    """Return the steps of a run's config by name, without those that only show results.

    Raises:
        UserError: this version does not read them.
    """
    steps = read_steps(
        join_sections(config.get("pipeline")),
        STAGES,
    )
    return {step.name: step for step in steps if not step.location.startswith(PAGES)}


def describe_step(
    step: Step,
    artifact: Artifact,
) -> dict[str, Any]:
    """Return what is recorded of a step, as plain data."""
    manifest = artifact.manifest
    facts = {
        "name": step.name,
        "stage": step.stage,
        "inputs": step.inputs,
        "trains": step.contract.trains,
        "fingerprint": manifest.fingerprint,
        "payload": manifest.payload.model_dump(exclude_unset=True),
        "content": manifest.content,
        "copy_of": manifest.copy_of,
        "versions": manifest.versions,
        "rows": manifest.rows,
        "dropped": manifest.dropped,
        "metrics": manifest.metrics,
        "tables": [vars(table) for table in manifest.tables],
        "warnings": manifest.warnings,
        "files": {name: one.model_dump() for name, one in (manifest.files or {}).items()},
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def describe_run(run: RunRecord) -> dict[str, Any]:
    """Return how the run was started and by what."""
    git = run.facts.get("git") or {}
    return {
        "name": run.folder.name,
        "started": run.started,
        "pipeline": run.pipeline,
        "seed": run.seed,
        "variant": run.variant,
        "commit": git.get("commit", UNKNOWN),
        "changed_files": git.get("changed_files"),
        "versions": run.facts.get("versions") or {},
        "config": run.config,
    }


def describe_data(steps: Mapping[str, Step]) -> list[dict[str, Any]]:
    """Return the sources of a run's rows with their licences, as far as the config names them."""
    sources = []
    for name, step in steps.items():
        if step.contract.read is None:
            continue
        license_id = getattr(step.config, "license", None)
        source = {
            "step": name,
            "source": step.config.source,
            "license": license_id or UNKNOWN,
        }
        sources.append(source)
    return sources


def data_of_steps(
    steps: Sequence[str],
    data: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Return the sources that some steps read, each once."""
    sources = [one["source"] for one in data if one["step"] in steps]
    return list(dict.fromkeys(sources))


def describe_base(
    steps: Mapping[str, Step],
    policy: str,
) -> dict[str, Any]:
    """Return the model that a policy began as: its path or Hub id, and its licence."""
    name = policy
    while steps[name].inputs.get("model") in steps:
        name = steps[name].inputs["model"]
    config = steps[name].config
    path = str(getattr(config, "path", ""))
    return {
        "step": name,
        "path": path,
        "revision": getattr(config, "revision", None),
        "license": _license_of(path),
    }


def _license_of(path: str) -> str:
    """The licence in the front matter of a model's README, where there is one on this machine."""
    from huggingface_hub import ModelCard

    readme = Path(path) / "README.md"
    if not path or not readme.is_file():
        return UNKNOWN
    try:
        return str(ModelCard.load(readme).data.license or UNKNOWN)
    except (OSError, ValueError):
        return UNKNOWN


def is_hub_id(name: str) -> bool:
    """Whether a name may be of a repository on the Hub, and is none of a file or folder here."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if name.count("/") != 1 or ":" in name or os.path.lexists(name):
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not Path(name).suffix and not os.path.isdir(name.partition("/")[0])


def read_constitution(config: Mapping[str, Any]) -> tuple[Selection | None, bytes]:
    """Return the principles that a run selected, and the file that they are in.

    Raises:
        UserError: there is no such file.
    """
    values = config.get("constitution")
    if not values:
        return None, b""
    selection: Selection = parse_config(
        Selection,
        values,
        "constitution",
    )
    path = locate(selection.name)
    return selection, read_bytes(path, most=MOST_BYTES)


def texts_of(selection: Selection) -> dict[str, str]:
    """Return the texts that were selected, by the ids of their principles."""
    return {principle.id: principle.text for principle in select(selection).principles}


def used_texts(payloads: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Return by the id of a principle the texts that identify steps."""
    texts: dict[str, set[str]] = {}

    def collect(options: Any) -> None:
        if not isinstance(options, Mapping):
            return
        for name, inner in options.items():
            if isinstance(inner, Mapping) and isinstance(inner.get("text"), str):
                texts.setdefault(name, set()).add(inner["text"])
            else:
                collect(inner)

    for payload in payloads:
        collect(payload.get("options"))
    return texts


def other_words(
    selected: Mapping[str, str],
    used: Mapping[str, set[str]],
) -> list[str]:
    """Return the principles that steps state, and in none of them in the selected words."""
    return [name for name, text in selected.items() if name in used and text not in used[name]]
