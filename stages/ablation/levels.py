"""What a variant changes in a pipeline, and where a run at its level ends.

labels   the variant decides which columns of the judge matrix count (the steps of stage
`judged_pairs`); everything
         before them stays as it is, and nothing follows: no new call, no training. Only a rewording
         must be judged.
reward   the same, then the reward models are trained and tested on those pairs (stage
`reward_accuracy`) policy   the whole constitution is replaced, and everything runs whose identity
that changes
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
from stages.runtime.pipeline.steps import Step, join_sections, read_steps
from stages.runtime.pipeline.until import up_to
from stages.runtime.settings import parse_config

VARIED = {
    "labels": ("judged_pairs",),
    "reward": ("judged_pairs", "reward_model"),
}  # stages that follow the variant
ENDS = {"labels": "judged_pairs", "reward": "reward_accuracy"}


def prepared(config: DictConfig) -> tuple[Settings, dict[str, Any], list[Step]]:
    """The settings, the same as plain values, and the steps to run, all under the config's
    `variant`.

    Raises:
        UserError: whatever is wrong with the config, the variant or the pipeline.
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
    if level in ENDS and settings.ablate.before == "whole" and whole != Selection(whole.name):
        steps = _before_whole(steps, config, Selection(whole.name, reword=whole.reword))
    return settings, plain, up_to(steps, settings.targets or ends(steps, level))


def unvaried(config: DictConfig) -> list[Step]:
    """The steps of the same job under the full set."""
    whole = copy.deepcopy(config)
    whole.variant = FULL
    return prepared(whole)[2]


def check_followed(settings: Settings, steps: Sequence[Step], whole: Sequence[Step]) -> None:
    """A sweep would compare equals, or nothing.

    Args:
        whole: the steps of the same job under the full set.

    Raises:
        UserError: no step of `steps` follows the variant, or none measures policies.
    """
    level = settings.ablate.level
    if settings.variant != FULL and all(step in whole for step in steps):
        what = (
            f"the variant {settings.variant!r} changes no step of this pipeline at level {level!r}"
        )
        raise UserError(
            what,
            where="variant",
            fix="take a pipeline whose steps have a `constitution`, or another level",
        )
    if level == "policy" and not any(step.stage == "evaluate" for step in steps):
        what = "level 'policy' compares what `evaluate` finds, and no such step is run"
        raise UserError(
            what,
            where="pipeline.steps",
            fix="add one, let `until` keep it, or take ablate.level=labels",
        )


def _before_whole(steps: list[Step], config: DictConfig, whole: Selection) -> list[Step]:
    """The same with every step before the labels as it is under the whole set."""
    labelled = [step.name for step in steps if step.stage == "judged_pairs"]
    before = {step.name for step in up_to(steps, labelled)} - set(labelled) if labelled else set()
    _, plain = read_settings(_with(config, whole))
    unselected = {step.name: step for step in read_steps(join_sections(plain["pipeline"]), STAGES)}
    judged = {
        name for name in before if unselected[name].stage == "judge"
    }  # a rewording is on them already
    return [unselected[step.name] if step.name in before - judged else step for step in steps]


def register() -> None:
    """Make `${variants:${constitution},${ablate.kinds}}` known to Hydra: a sweep over all variants
    of these kinds.
    """

    def variants(constitution: Any, kinds: Any) -> str:
        if isinstance(kinds, str):
            raise UserError(
                f"{kinds!r} is no list of kinds",
                where="ablate.kinds",
                fix=f"write 'ablate.kinds=[{kinds}]'",
            )
        return ",".join(enumerate_variants(selection_of(constitution), list(kinds)))

    OmegaConf.register_new_resolver("variants", variants, replace=True)


def ends(steps: Sequence[Step], level: str) -> list[str] | None:
    """The steps at which a level stops; None: it does not.

    Raises:
        UserError: the pipeline has no such step.
    """
    if level not in ENDS:
        return None
    found = [step.name for step in steps if step.stage == ENDS[level]]
    if not found:
        able = {"labels": "pipeline=cai", "reward": "pipeline=salmon"}[level]
        what = f"level {level!r} ends in steps of the stage {ENDS[level]!r}, and this pipeline has none"
        raise UserError(
            what,
            where="ablate.level",
            fix=f"take a pipeline that has one, such as {able}, or ablate.level=policy",
        )
    return found


def selection_of(constitution: Any) -> Selection:
    """The selection that a config's `constitution` says."""
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
    """Put the change on the steps that follow a variant at this level, and a rewording on what
    judges.
    """
    for name, step in _steps(join_sections(pipeline)):
        stage, given = step.get("stage"), step.get("constitution")
        part = (
            change
            if stage in VARIED[level]
            else Change(reword=change.reword if stage == "judge" else ())
        )
        if given is None or part == Change():
            continue
        selection: Selection = parse_config(Selection, given, f"step {name!r}")
        if locate(selection.name) == locate(whole.name):
            step["constitution"] = _plain(apply(part, selection))


def _plain(selection: Selection) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(selection).items()
    }


def _steps(steps: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step, those inside loops too."""
    for name, step in (steps if isinstance(steps, dict) else {}).items():
        if isinstance(step, dict) and "repeat" in step:
            yield from _steps(step.get("steps"))
        elif isinstance(step, dict):
            yield str(name), step
