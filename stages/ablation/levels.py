"""What a variant changes in a pipeline, and where a run at its level ends.

labels   the variant decides which columns of the judge matrix count (the steps of stage
         `judged_pairs`); everything before them stays as it is, and nothing follows: no new call,
         no training. Only a rewording must be judged.
reward   the same, then the reward models are trained and tested on those pairs (stage
         `reward_accuracy`)
policy   the whole constitution is replaced, and everything runs whose identity that changes

A run of the full set at level policy is a plain run: nothing here changes it, and run.py
need not import this module.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from stages import STAGES
from stages.principles.constitution import locate
from stages.principles.select import Selection
from stages.principles.variants import FULL, Change, apply, change_of, enumerate_variants
from stages.runtime.errors import UserError
from stages.runtime.pipeline.config import Settings, read_settings
from stages.runtime.pipeline.steps import Step, join_sections, read_steps, up_to
from stages.runtime.settings import parse_config

# stages that follow the variant
VARIED = {"labels": ("judged_pairs",), "reward": ("judged_pairs", "reward_model")}
ENDS = {"labels": "judged_pairs", "reward": "reward_accuracy"}
EXAMPLES = {"labels": "pipeline=cai", "reward": "pipeline=salmon"}  # pipelines with such an end


def prepare_job(config: DictConfig) -> tuple[Settings, dict[str, Any], list[Step]]:
    """The settings, the same as plain values, and the steps to run under the config's `variant`.

    Raises:
        UserError: the config, the variant or the pipeline has a mistake.
    """
    settings, plain = read_settings(config)
    level = settings.ablate.level
    whole: Selection = parse_config(Selection, settings.constitution, "constitution")
    if settings.variant != FULL:
        change = change_of(settings.variant, whole)
        if level == "policy":
            settings, plain = read_settings(_with(config, apply(change, whole)))
        else:
            _vary(plain["pipeline"], level, change, whole)
    steps = read_steps(join_sections(plain["pipeline"]), STAGES)
    selects = whole != Selection(whole.name)
    if level in ENDS and settings.ablate.before == "whole" and selects:
        steps = _before_whole(steps, config, Selection(whole.name, reword=whole.reword))
    return settings, plain, up_to(steps, settings.until or ends(steps, level))


def steps_of_full_set(config: DictConfig) -> list[Step]:
    """The steps of the same job under the full set."""
    full = copy.deepcopy(config)
    full.variant = FULL
    _, _, steps = prepare_job(full)
    return steps


def check_followed(settings: Settings, steps: Sequence[Step], full: Sequence[Step]) -> None:
    """The steps of a job can be compared with those of the full set.

    Args:
        full: the steps of the same job under the full set.

    Raises:
        UserError: no step of `steps` follows the variant, or none measures policies.
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


def _before_whole(steps: list[Step], config: DictConfig, whole: Selection) -> list[Step]:
    """The same with every step before the labels as it is under the whole set."""
    labelled = [step.name for step in steps if step.stage == "judged_pairs"]
    if not labelled:
        return steps
    _, plain = read_settings(_with(config, whole))
    of_whole = read_steps(join_sections(plain["pipeline"]), STAGES)
    under_whole = {step.name: step for step in of_whole}
    replaced = {step.name for step in up_to(steps, labelled)} - set(labelled)
    # a rewording is on the judging steps already
    replaced -= {name for name in replaced if under_whole[name].stage == "judge"}
    return [under_whole[step.name] if step.name in replaced else step for step in steps]


def variants_of(constitution: Any, kinds: Any) -> str:
    """The names of all variants of these kinds, as an override has them: with commas between.

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


def ends(steps: Sequence[Step], level: str) -> list[str] | None:
    """The steps at which a level stops; None: it runs all steps.

    Raises:
        UserError: the pipeline has no such step.
    """
    if level not in ENDS:
        return None
    last = [step.name for step in steps if step.stage == ENDS[level]]
    if not last:
        stage = ENDS[level]
        raise UserError(
            f"level {level!r} ends in steps of the stage {stage!r}, and this pipeline has none",
            where="ablate.level",
            fix=f"take a pipeline that has one, such as {EXAMPLES[level]}, or ablate.level=policy",
        )
    return last


def selection_of(constitution: Any) -> Selection:
    """The selection that a config's `constitution` describes."""
    plain: Any = OmegaConf.to_container(constitution, resolve=True)
    selection: Selection = parse_config(Selection, plain, "constitution")
    return selection


def _with(config: DictConfig, selection: Selection) -> DictConfig:
    """The same with another `constitution`, before anything that refers to it is resolved."""
    changed = copy.deepcopy(config)
    with read_write(changed), open_dict(changed):
        changed.constitution = _plain(selection)
    return changed


def _vary(pipeline: dict[str, Any], level: str, change: Change, whole: Selection) -> None:
    """Put the change on the steps that follow a variant at this level.

    A rewording is put on the steps that judge, too.

    Args:
        pipeline: changed in place.
        whole: steps with another constitution than this one stay as they are.
    """
    rewording = Change(reword=change.reword)
    for name, step in _steps(join_sections(pipeline)):
        stage = step.get("stage")
        options = step.get("constitution")
        part = Change()
        if stage in VARIED[level]:
            part = change
        elif stage == "judge":
            part = rewording
        if options is None or part == Change():
            continue
        selection: Selection = parse_config(Selection, options, f"step {name!r}")
        if locate(selection.name) == locate(whole.name):
            step["constitution"] = _plain(apply(part, selection))


def _plain(selection: Selection) -> dict[str, Any]:
    """The selection as YAML has it: lists for tuples."""
    plain = {}
    for name, value in asdict(selection).items():
        plain[name] = list(value) if isinstance(value, tuple) else value
    return plain


def _steps(steps: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step, those inside loops too."""
    if not isinstance(steps, dict):
        return
    for name, step in steps.items():
        if not isinstance(step, dict):
            continue
        if "repeat" in step:
            yield from _steps(step.get("steps"))
        else:
            yield str(name), step
