"""The jobs of a sweep before they run: the Hydra overrides of each, and the resulting config."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import InterpolationResolutionError

from stages.guards.errors import UserError, find_cause
from stages.principles.variants import FULL

SWEPT = ("variant", "seed")
SUBDIR = "${hydra:job.num}"
Overrides = Sequence[Sequence[str]]  # by job, each `key=value`


def overrides_of(config: DictConfig) -> list[list[str]]:
    """The overrides of each job of the sweep, split as by Hydra's own sweeper.

    Raises:
        UserError: the variants cannot be enumerated, belong to several sets or lack the full set,
            or another sweeper is used, which may choose its jobs while it runs.
    """
    sweeper = config.hydra.sweeper
    _check_sweeper(config)
    try:
        params = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    except InterpolationResolutionError as error:
        raise (find_cause(error, UserError) or error) from None
    # a job resolves its own overrides
    task: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    parsed = parser.parse_overrides([*params, *(str(override) for override in task)])
    jobs: list[list[str]] = []
    for batch in BasicSweeper.split_arguments(parsed, None):
        jobs.extend(list(job) for job in batch)
    _check_jobs(jobs)
    return jobs


def _check_sweeper(config: DictConfig) -> None:
    """Check that jobs are known before they run, in folders with the names that `jobs` expects.

    Raises:
        UserError: another sweeper is used, or the folders have other names.
    """
    sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    if sweep["subdir"] != SUBDIR:
        raise UserError(
            "an ablation finds its jobs by their number, so their folders cannot have other names",
            where="hydra.sweep.subdir",
            fix="leave it as it is; each job's run.json names its variant and seed",
        )
    target = config.hydra.sweeper._target_
    if not str(target).endswith(".BasicSweeper"):
        raise UserError(
            f"an ablation is swept by Hydra's basic sweeper, not by {target}",
            where="hydra/sweeper",
            fix="leave hydra/sweeper as it is; any hydra/launcher will do",
        )


def _check_jobs(jobs: Overrides) -> None:
    """Check that the jobs can be compared with each other.

    Raises:
        UserError: they cannot be compared, or there is no full set to compare them with.
    """
    values = [values_of(job) for job in jobs]
    variants = {job.get("variant", FULL) for job in values}
    sets = {tuple(each for each in job if each.startswith("constitution")) for job in jobs}
    if len(sets) > 1 and variants != {FULL}:
        raise UserError(
            "the variants of one set are not variants of another",
            where="constitution",
            fix="sweep over sets with 'ablate.kinds=[full]', or ablate one set after the other",
        )
    swept = [key for key in _differing(values) if key.startswith("ablate.")]
    if swept:
        raise UserError(
            f"{', '.join(swept)} cannot be swept over: all jobs are compared in the same way",
            where=swept[0],
            fix="give the command once for each value; finished steps are reused",
        )
    if FULL not in variants:
        raise UserError(
            "the sweep does not contain the full set, which all variants are compared with",
            where="variant",
            fix="write variant=full,<others>",
        )


def _differing(jobs: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys of the first job that not all jobs set to the same value."""
    keys = list(jobs[0]) if jobs else []
    return [key for key in keys if len({job.get(key) for job in jobs}) > 1]


def values_of(overrides: Sequence[str]) -> dict[str, str]:
    """The overrides' values by key.

    Args:
        overrides: each `key=value`; quotes around the value are removed.
    """
    values = {}
    for override in overrides:
        key, _, value = override.partition("=")
        values[key] = value.strip("'\"").replace("\\:", ":")
    return values


def groups(jobs: Overrides) -> list[str]:
    """For each job, the overrides in which it differs from others, besides variant and seed.

    Args:
        jobs: the overrides of each job.
    """
    values = [values_of(job) for job in jobs]
    keys = [key for key in _differing(values) if key not in SWEPT]
    return [" ".join(f"{key}={job[key]}" for key in keys if key in job) for job in values]


class Configs:
    """The jobs' configs, without Hydra's own part.

    Jobs that differ only in variant and seed share one config, which is composed once.
    """

    def __init__(self, config: DictConfig):
        self._sweep = config
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """Compose the config of one job.

        Args:
            overrides: those of the job.

        Returns:
            The same object for all jobs that share it: the next call may change it.
        """
        others = tuple(each for each in overrides if each.partition("=")[0] not in SWEPT)
        if others not in self._composed:
            self._composed[others] = self._compose(overrides)
        config = self._composed[others]
        values = values_of(overrides)
        if "variant" in values:
            config.variant = values["variant"]
        if "seed" in values:
            config.seed = yaml.safe_load(values["seed"])
        return config

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_sweep_config(self._sweep, list(overrides))
        resolve_store(config)
        with open_dict(config):
            config.pop("hydra")
        return config


def resolve_store(config: DictConfig) -> None:
    """Resolve a store that lies in a job's own folder, as if this were job 0.

    Outside a job `${hydra:...}` cannot be resolved.
    """
    plain: Any = OmegaConf.to_container(config, resolve=False)
    if "hydra:" not in str(plain["store"]):
        return
    with open_dict(config), read_write(config):
        config.hydra.runtime.output_dir = str(Path(config.hydra.sweep.dir) / "0")
        HydraConfig.instance().set_config(config)
        config.store = str(config.store)
