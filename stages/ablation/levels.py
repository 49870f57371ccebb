"""What a variant changes in a pipeline, and where a run at its level ends.

labels   the variant decides which columns of the judge matrix count (in the steps of stage
         `judged_pairs`); all steps before them are unchanged, and no steps follow: no new call,
         no training. Only other words must be judged: a rewording, or without reasons.
reward   the same, then the reward models are trained and tested on those pairs (stage
         `reward_accuracy`)
policy   the whole constitution is replaced, and every step runs whose identity changes

A run of the full set at level policy is an ordinary run: nothing here changes it, and run.py
does not need this module.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from stages import STAGES
from stages.guards.errors import UserError
from stages.principles.constitution import locate
from stages.principles.select import Selection
from stages.principles.variants import FULL, Change, apply, change_of, enumerate_variants
from stages.runtime.pipeline.settings import Settings, read_settings
from stages.runtime.pipeline.steps import Step, join_sections, read_steps, up_to
from stages.runtime.typed_config import parse_config

# stages to which the variant applies
VARIED = {"labels": ("judged_pairs",), "reward": ("judged_pairs", "reward_model")}
LAST_STAGES = {"labels": "judged_pairs", "reward": "reward_accuracy"}


def prepare_job(config: DictConfig) -> tuple[Settings, dict[str, Any], list[Step]]:
    """Read the settings, the same as plain values, and the steps to run under the `variant`.

    Raises:
        UserError: the config, the variant or the pipeline has a mistake.
    """
    settings, plain = read_settings(config)
    level = settings.ablate.level
    full_set: Selection = parse_config(Selection, settings.constitution, "constitution")
    if settings.variant != FULL:
        change = change_of(settings.variant, full_set)
        if level == "policy":
            settings, plain = read_settings(_replace_constitution(config, apply(change, full_set)))
        else:
            _apply_to_steps(plain["pipeline"], level, change, full_set)
    steps = read_steps(join_sections(plain["pipeline"]), STAGES)
    selects = full_set != Selection(full_set.name)
    if level in LAST_STAGES and settings.ablate.before == "whole" and selects:
        steps = _use_full_set_before_labels(
            steps,
            config,
            Selection(full_set.name, reword=full_set.reword, without=full_set.without),
        )
    return (
        settings,
        plain,
        up_to(steps, last_steps(steps, level) if settings.until is None else settings.until),
    )


def steps_of_full_set(config: DictConfig) -> list[Step]:
    """The steps of the same job under the full set."""
    full = copy.deepcopy(config)
    full.variant = FULL
    _, _, steps = prepare_job(full)
    return steps


def check_variant_has_effect(
    settings: Settings, steps: Sequence[Step], full: Sequence[Step]
) -> None:
    """Check that the steps of a job can be compared with those of the full set.

    Args:
        full: the steps of the same job under the full set.

    Raises:
        UserError: the variant changes no step, or no step measures policies.
    """
    level = settings.ablate.level
    if settings.variant != FULL and all(step in full for step in steps):
        raise UserError(
            f"the variant {settings.variant!r} changes no step of this pipeline at level {level!r}",
            where="variant",
            fix="take a pipeline whose steps have a `constitution`, or another level",
        )
    if level == "policy" and not any(step.stage == "evaluate" for step in steps):
        raise UserError(
            "level 'policy' compares what `evaluate` measures, and no such step is run",
            where="pipeline.steps",
            fix="add one, let `until` keep it, or take ablate.level=labels",
        )


def _use_full_set_before_labels(
    steps: list[Step], config: DictConfig, full_set: Selection
) -> list[Step]:
    """Replace every step before the labels by the same step under the full set."""
    labelled = [step.name for step in steps if step.stage == "judged_pairs"]
    if not labelled:
        return steps
    _, plain = read_settings(_replace_constitution(config, full_set))
    steps_of_set = read_steps(join_sections(plain["pipeline"]), STAGES)
    full_set_steps = {step.name: step for step in steps_of_set}
    replaced = {step.name for step in up_to(steps, labelled)} - set(labelled)
    # the judging steps have the wording already
    replaced -= {name for name in replaced if full_set_steps[name].stage == "judge"}
    return [full_set_steps[step.name] if step.name in replaced else step for step in steps]


def variants_of(constitution: Any, kinds: Any) -> str:
    """The names of all variants of these kinds, joined by commas, as in an override.

    Raises:
        UserError: `kinds` is not a list, or as `enumerate_variants`.
    """
    if isinstance(kinds, str):
        raise UserError(
            f"{kinds!r} is not a list of kinds",
            where="ablate.kinds",
            fix=f"write 'ablate.kinds=[{kinds}]'",
        )
    return ",".join(enumerate_variants(selection_of(constitution), list(kinds)))


def last_steps(steps: Sequence[Step], level: str) -> list[str] | None:
    """The steps at which a level ends; None if it runs all steps.

    Raises:
        UserError: the pipeline has no step at which the level can end.
    """
    if level not in LAST_STAGES:
        return None
    last = [step.name for step in steps if step.stage == LAST_STAGES[level]]
    if not last:
        stage = LAST_STAGES[level]
        raise UserError(
            f"level {level!r} ends in steps of the stage {stage!r}, and this pipeline has none",
            where="ablate.level",
            fix="take a pipeline that has one, or ablate.level=policy",
        )
    return last


def selection_of(constitution: Any) -> Selection:
    """The selection that a config's `constitution` describes."""
    plain: Any = OmegaConf.to_container(constitution, resolve=True)
    selection: Selection = parse_config(Selection, plain, "constitution")
    return selection


def _replace_constitution(config: DictConfig, selection: Selection) -> DictConfig:
    """A copy with another `constitution`, before any reference to it is resolved."""
    changed = copy.deepcopy(config)
    with read_write(changed), open_dict(changed):
        changed.constitution = _plain(selection)
    return changed


def _apply_to_steps(
    pipeline: dict[str, Any], level: str, change: Change, full_set: Selection
) -> None:
    """Apply the change to the steps that a variant affects at this level.

    Another wording is also applied to the steps that judge.

    Args:
        pipeline: changed in place.
        full_set: steps with another constitution than this one are not changed.
    """
    wording = Change(reword=change.reword, without=change.without)
    for name, step in _steps(join_sections(pipeline)):
        stage = step.get("stage")
        options = step.get("constitution")
        part = Change()
        if stage in VARIED[level]:
            part = change
        elif stage == "judge":
            part = wording
        if options is None or part == Change():
            continue
        selection: Selection = parse_config(Selection, options, f"step {name!r}")
        if locate(selection.name) == locate(full_set.name):
            step["constitution"] = _plain(apply(part, selection))


def _plain(selection: Selection) -> dict[str, Any]:
    """The selection as in YAML: lists in place of tuples."""
    plain = {}
    for name, value in asdict(selection).items():
        plain[name] = list(value) if isinstance(value, tuple) else value
    return plain


def _steps(steps: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step by its name, with the steps inside loops."""
    if not isinstance(steps, dict):
        return
    for name, step in steps.items():
        if not isinstance(step, dict):
            continue
        if "repeat" in step:
            yield from _steps(step.get("steps"))
        else:
            yield str(name), step
