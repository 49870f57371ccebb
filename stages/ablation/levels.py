"""What a variant changes in a pipeline, and where a run at its level ends.

labels   the variant decides which columns of the judge matrix count (the steps of stage `judged_pairs`); everything
         before them stays as it is, and nothing follows: no new call, no training. Only a rewording must be judged.
reward   the same, then the reward models are trained and tested on those pairs (stage `reward_accuracy`)
policy   the whole constitution is replaced, and everything runs whose identity that changes
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
from stages.runtime.config import Settings, read_settings
from stages.runtime.errors import UserError
from stages.runtime.pipeline import Step, read_steps
from stages.runtime.settings import parse_config
from stages.runtime.targets import up_to

VARIED = {"labels": ("judged_pairs",), "reward": ("judged_pairs", "reward_model")}  # stages that follow the variant
ENDS = {"labels": "judged_pairs", "reward": "reward_accuracy"}


def prepared(config: DictConfig) -> tuple[Settings, dict[str, Any], list[Step]]:
    """The settings, the same as plain values, and the steps to run, all under the config's `variant`.

    Raises:
        UserError: whatever is wrong with the config, the variant or the pipeline.
    """
    settings, plain = read_settings(config)
    if settings.variant != FULL:
        settings, plain = read_settings(_varied(config, settings, plain))
    steps = read_steps(settings.pipeline.get("steps"), STAGES)
    return settings, plain, up_to(steps, settings.targets or ends(steps, settings.ablate.level))


def register() -> None:
    """Make `${variants:${constitution},${ablate.kinds}}` known to Hydra: a sweep over all variants of these kinds."""

    def variants(constitution: Any, kinds: Any) -> str:
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
            what, where="ablate.level", mend=f"take a pipeline that has one, such as {able}, or ablate.level=policy"
        )
    return found


def selection_of(constitution: Any) -> Selection:
    """The selection that a config's `constitution` says."""
    plain: Any = OmegaConf.to_container(constitution, resolve=True)
    selection: Selection = parse_config(Selection, plain, "constitution")
    return selection


def _varied(config: DictConfig, settings: Settings, plain: dict[str, Any]) -> DictConfig:
    whole: Selection = parse_config(Selection, settings.constitution, "constitution")
    change = change_of(settings.variant, whole)
    changed = copy.deepcopy(config)
    with read_write(changed), open_dict(changed):
        if settings.ablate.level == "policy":
            changed.constitution = _plain(apply(change, whole))
            return changed
        for path, step in _steps(plain["pipeline"].get("steps"), "pipeline.steps"):
            stage, given = step.get("stage"), step.get("constitution")
            part = change if stage in VARIED[settings.ablate.level] else Change(reword=change.reword)
            if given is None or part == Change() or stage not in (*VARIED[settings.ablate.level], "judge"):
                continue
            selection = parse_config(Selection, given, f"step {path.rpartition('.')[2]!r}")
            if locate(selection.name) == locate(whole.name):
                OmegaConf.update(changed, f"{path}.constitution", _plain(apply(part, selection)), merge=False)
    return changed


def _plain(selection: Selection) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(selection).items()}


def _steps(steps: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step with its place in the config, those inside loops too."""
    for name, step in (steps if isinstance(steps, dict) else {}).items():
        if isinstance(step, dict) and "repeat" in step:
            yield from _steps(step.get("steps"), f"{path}.{name}.steps")
        elif isinstance(step, dict):
            yield f"{path}.{name}", step
