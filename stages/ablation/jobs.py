"""The jobs of a sweep: what they will be, and what they left behind.

A finished job leaves `run.json` in its folder, a failed one `failed.json`. Neither holds results,
only where they are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import InterpolationResolutionError

from stages.principles.variants import FULL, kind_and_target
from stages.runtime.artifacts import Artifact
from stages.runtime.errors import UserError

DONE, FAILED = "run.json", "failed.json"
SWEPT = ("variant", "seed")
SUBDIR = "${hydra:job.num}"


@dataclass(frozen=True)
class Job:
    """Args:
    label: the variant; in a sweep over more than variants and seeds also what else differs.
    group: what else was swept; runs are compared with the full set of their own group.
    steps: where each step's artifact lies; empty for a job that failed.
    constitution: the selection in force, before the variant.
    error: what stopped it.
    """

    number: int
    variant: str
    seed: int
    group: str = ""
    steps: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    constitution: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.variant} {self.group}".strip()

    @property
    def kind(self) -> str:
        return kind_and_target(self.variant)[0]

    @property
    def target(self) -> str:
        return kind_and_target(self.variant)[1]

    def artifacts(self) -> list[Artifact]:
        return [Artifact(name, Path(folder)) for name, folder in self.steps.items()]

    def of_stage(self, stage: str) -> list[Artifact]:
        return [made for made in self.artifacts() if made.stage == stage]


def overrides_of(config: DictConfig) -> list[list[str]]:
    """What each job of the sweep overrides, as Hydra's own sweeper takes it apart.

    Raises:
        UserError: the variants cannot be enumerated, belong to several sets or lack the full one,
        or another sweeper chooses its jobs while it runs.
    """
    sweeper = config.hydra.sweeper
    raw: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    if raw["subdir"] != SUBDIR:
        what = (
            "an ablation finds its jobs by their number, so their folders cannot be named otherwise"
        )
        raise UserError(
            what,
            where="hydra.sweep.subdir",
            fix="leave it as it is; each job's run.json says what it was",
        )
    if not str(sweeper._target_).endswith(".BasicSweeper"):
        what = f"an ablation is swept by Hydra's basic sweeper, not by {sweeper._target_}"
        raise UserError(
            what,
            where="hydra/sweeper",
            fix="leave hydra/sweeper as it is; any hydra/launcher will do",
        )
    try:
        params = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    except InterpolationResolutionError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(
            cause, UserError
        ):  # OmegaConf wraps it, once or twice
            cause = cause.__cause__ or cause.__context__
        raise (cause or error) from None
    task = OmegaConf.to_container(
        config.hydra.overrides.task, resolve=False
    )  # a job resolves what it is given
    assert isinstance(task, list)
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    parsed = parser.parse_overrides([*params, *(str(each) for each in task)])
    jobs = [list(job) for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]
    sets = {tuple(each for each in job if each.startswith("constitution")) for job in jobs}
    if len(sets) > 1 and any(_told(job).get("variant", FULL) != FULL for job in jobs):
        what = "the variants of one set are no variants of another"
        fix = "sweep over sets with 'ablate.kinds=[full]', or ablate one set after the other"
        raise UserError(what, where="constitution", fix=fix)
    if swept := [
        key
        for key in _told(jobs[0])
        if key.startswith("ablate.") and len({_told(job).get(key) for job in jobs}) > 1
    ]:
        what = f"{', '.join(swept)} cannot be swept over: all jobs are compared in one way"
        raise UserError(
            what, where=swept[0], fix="give the command once for each value; what is done is kept"
        )
    if all(_told(job).get("variant", FULL) != FULL for job in jobs):
        what = "the sweep does not hold the full set, which all variants are compared with"
        raise UserError(what, where="variant", fix="write variant=full,<others>")
    return jobs


class Configs:
    """The jobs' configs, without Hydra's own part. What only variant and seed tell apart is
    composed once.
    """

    def __init__(self, config: DictConfig):
        self._sweep = config
        self._made: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """One job's config; it is the next call's, too."""
        others = tuple(each for each in overrides if each.partition("=")[0] not in SWEPT)
        if others not in self._made:
            made = (
                GlobalHydra.instance()
                .config_loader()
                .load_sweep_config(self._sweep, list(overrides))
            )
            settle(made)
            with open_dict(made):
                made.pop("hydra")
            self._made[others] = made
        told = _told(overrides)
        for key in SWEPT:
            if key in told:
                self._made[others][key] = (
                    told[key] if key == "variant" else yaml.safe_load(told[key])
                )
        return self._made[others]


def settle(config: DictConfig) -> None:
    """Resolve a store that lies in a job's own folder, as if this were job 0: outside of a job
    `${hydra:...}` means nothing.
    """
    with open_dict(config), read_write(config):
        # type: ignore[call-overload, index]
        if "hydra:" in str(OmegaConf.to_container(config, resolve=False)["store"]):
            config.hydra.runtime.output_dir = str(Path(config.hydra.sweep.dir) / "0")
            HydraConfig.instance().set_config(config)
            config.store = str(config.store)


def _told(overrides: Sequence[str]) -> dict[str, str]:
    split = [each.partition("=") for each in overrides]
    return {key: value.strip("'\"").replace("\\:", ":") for key, _, value in split}


def groups(jobs: Sequence[Sequence[str]]) -> list[str]:
    """For each job the overrides in which it differs from others, besides variant and seed."""
    split = [_told(job) for job in jobs]
    keys = [key for key in (split[0] if split else {}) if key not in SWEPT]
    differ = [key for key in keys if len({job.get(key) for job in split}) > 1]
    return [" ".join(f"{key}={job[key]}" for key in differ if key in job) for job in split]


def left_behind(folder: Path, overrides: Sequence[Sequence[str]]) -> list[Job]:
    """The sweep's jobs as their folders tell, in order; one that left nothing counts as failed."""
    found = []
    for number, (given, group) in enumerate(zip(overrides, groups(overrides), strict=True)):
        told = _told(given)
        facts: dict[str, Any] = {
            "variant": told.get("variant", FULL),
            "seed": int(told.get("seed", 0)),
            "error": "not run",
        }
        for name in (FAILED, DONE):  # a job that was fixed has both
            if (path := folder / str(number) / name).exists():
                facts |= {"error": ""} | json.loads(path.read_text(encoding="utf-8"))
        steps = (
            {name: step["artifact"] for name, step in facts.get("steps", {}).items()}
            if not facts["error"]
            else {}
        )
        constitution = facts.get("constitution", {})
        found.append(
            Job(number, facts["variant"], facts["seed"], group, steps, facts["error"], constitution)
        )
    return found
