"""Who speaks, who judges and under which principles: from a run, or from a model's folder.

In: a run's record, or the path of a model, and what the command line changes. Out: a `Setup`. A run
gives its base model, its last policy (or the one of a step), its judge with the judge's own
generator and form, its principles as it selected them, and how it sampled. A model alone speaks; it
is judged where a judge and a constitution are named.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stages.guards.errors import UserError, refuse_unknown
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runs.policies import policies_of, writes
from stages.runs.records import RunRecord
from stages.runtime.calls import Engines
from stages.runtime.generation import Sampling
from stages.runtime.models import Model, find_model, find_served_model
from stages.runtime.rows import Prompt
from stages.runtime.typed_config import parse_config
from stages.text.model import Config as ModelConfig
from stages.text.model import point_at

BASE, POLICY = "base", "policy"
SERVER = "server"
CHAT_OPTIONS = ("template_arguments", "merge_system", "thought_marks")
"""What every generator needs of a run's options to put a conversation to its models."""
MOST_MODELS = 3


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for."""

    step: str = ""
    """The step of the policy; "": the last one."""
    base: str = ""
    """The model beside the policy; "": the run's."""
    has_base: bool = True
    judge: str = ""
    """The judge's folder or Hub id; "": the run's."""
    has_judge: bool = True
    constitution: str = ""
    generator: str = "transformers"
    """What answers for models in folders."""
    endpoint: str = ""
    """The address of a server that holds the policy; "": it is answered for in this process."""
    served: str = ""
    """The name under which it is served; "": its path."""
    api_key_env: str = ""


@dataclass(frozen=True)
class Setup:
    """Who speaks and who judges."""

    engines: Engines
    speakers: dict[str, Model]
    """By name, the base model first."""
    judge: Model | None
    principles: tuple[Principle, ...]
    sampling: Sampling
    policy_path: str
    """The folder to serve."""
    examples: list[str] = field(default_factory=list)
    """Requests to try."""
    warnings: list[str] = field(default_factory=list)
    """What speaks against the judge."""
    no_judge: str = ""
    """Why nothing is judged."""


def from_run(
    record: RunRecord,
    wishes: Wishes,
) -> Setup:
    """Return who speaks in a run.

    Raises:
        UserError: it trained no policy, or one of its models cannot be opened.
    """
    policies = policies_of(record)
    if not policies:
        raise UserError(
            "the run trained no policy",
            where=str(record.folder),
            fix="give a run that trains one, or the folder of a model",
        )
    refuse_unknown(
        [wishes.step or next(iter(policies))],
        policies,
        "no policy is of step",
        "--step",
    )
    policy = policies[wishes.step or next(iter(policies))]
    config = record.config
    engines = open_engines(config.get("generator") or {}, wishes)
    speakers = {}
    if wishes.has_base:
        model = config.get("model") or {}
        speakers[BASE] = find_model(wishes.base or model["path"], model.get("revision"))
    speakers[POLICY] = _policy_at(
        str(policy),
        engines,
        wishes,
    )
    judge, no_judge = _judge_of(
        config,
        engines,
        wishes,
    )
    principles = _principles(config, wishes) if judge else ()
    sampling = parse_config(
        Sampling,
        (config.get("model") or {}).get("sampling", {}),
        "sampling",
    )
    return Setup(
        engines=engines,
        speakers=speakers,
        judge=judge,
        principles=principles,
        sampling=sampling,
        policy_path=str(policy),
        examples=_examples(record),
        warnings=_doubts(record) if judge and not wishes.judge else [],
        no_judge=no_judge,
    )


def from_model(
    path: str,
    wishes: Wishes,
) -> Setup:
    """Return a model that speaks alone, or beside a base model.

    Raises:
        UserError: it is a reward model, or cannot be opened.
    """
    folder = Path(path)
    if folder.is_dir() and not writes(folder):
        raise UserError(
            "the model in this folder does not write",
            where=path,
            fix="give a policy: a folder whose config.json names a causal language model",
        )
    engines = open_engines({}, wishes)
    speakers = {}
    if wishes.base:
        speakers[BASE] = find_model(wishes.base)
    speakers[POLICY] = _policy_at(
        path,
        engines,
        wishes,
    )
    judge = None
    no_judge = "name a judge and principles: --judge MODEL --constitution NAME"
    if wishes.judge and wishes.constitution and wishes.has_judge:
        judge, no_judge = find_model(wishes.judge), ""
    return Setup(
        engines=engines,
        speakers=speakers,
        judge=judge,
        principles=_principles({}, wishes) if judge else (),
        sampling=Sampling(),
        policy_path=path,
        no_judge=no_judge,
    )


def open_engines(
    generator: Mapping[str, Any],
    wishes: Wishes,
) -> Engines:
    """Return engines as the run had them, with a light generator for the models of folders.

    A run whose base model servers hold asks them again; its policies are sampled here.
    """
    options = dict(generator.get("options") or {})
    shared = {name: options[name] for name in CHAT_OPTIONS if name in options}
    if generator.get("name") == SERVER:
        local = {"name": wishes.generator, "options": {}}
        return Engines(
            SERVER,
            options | {"local": local},
            MOST_MODELS,
        )
    return Engines(
        wishes.generator,
        shared,
        MOST_MODELS,
    )


def _policy_at(
    path: str,
    engines: Engines,
    wishes: Wishes,
) -> Model:
    if not wishes.endpoint:
        return find_model(path)
    options: dict[str, Any] = {
        "endpoints": [wishes.endpoint],
        "model": wishes.served,
        "api_key_env": wishes.api_key_env,
        "extensions": False,
    }
    label = engines.add(
        SERVER,
        options,
        "--endpoint",
    )
    return replace(
        find_served_model(
            path,
            None,
            [wishes.endpoint],
        ),
        generator=label,
    )


def _judge_of(
    config: Mapping[str, Any], engines: Engines, wishes: Wishes
) -> tuple[Model | None, str]:
    """The judge, or None and why there is none."""
    if not wishes.has_judge:
        return None, "--no-judge"
    if wishes.judge:
        return find_model(wishes.judge), ""
    facts = dict(config.get("judge") or {})
    if facts.pop("stage", "") != "model":
        return None, "the run has no judge; --judge MODEL names one"
    parsed = parse_config(
        ModelConfig,
        facts,
        "the run's judge",
    )
    return point_at(
        parsed,
        engines,
        "judge.options",
    ), ""


def _principles(
    config: Mapping[str, Any],
    wishes: Wishes,
) -> tuple[Principle, ...]:
    values = dict(config.get("constitution") or {})
    if wishes.constitution:
        values = {"name": wishes.constitution}
    selection: Selection = parse_config(
        Selection,
        values,
        "constitution",
    )
    return select(selection).principles


def _examples(record: RunRecord) -> list[str]:
    """The first requests of the run, one of each step that reads them; the last steps' first."""
    examples = []
    for artifact in reversed(record.artifacts().values()):
        with suppress(UserError):  # damaged
            if artifact.stage == "prompts":
                row = next(artifact.each_row(Prompt), None)
                examples += [row.messages[-1]["content"]] if row else []
    return examples


def _doubts(record: RunRecord) -> list[str]:
    """What the judge's examination and the evaluation of the run say against the judge."""
    warnings: list[str] = []
    for artifact in record.artifacts().values():
        with suppress(UserError):  # damaged
            if artifact.stage == "examine_judge":
                warnings += artifact.manifest.warnings
    return warnings
