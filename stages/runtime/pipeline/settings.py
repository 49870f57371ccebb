"""From Hydra's config to checked settings, and from Hydra's errors to one message."""

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from stages.guards.errors import UserError, as_disk_error, did_you_mean, find_cause
from stages.guards.files import as_path
from stages.guards.secrets import remember_secrets
from stages.runtime.pipeline.launch import Launcher
from stages.runtime.typed_config import Names, parse_config

SQLITE = b"SQLite format 3\0"
"""How a file of SQLite begins."""
Count = Annotated[int, Field(strict=True, ge=1)]


@dataclass(frozen=True)
class Generator:
    """What the runner needs to know of `generator`; each generator checks its own options."""

    name: str
    options: dict[str, Any]
    keep: Count
    """How many engines (loaded models) stay loaded at the same time."""
    concurrency: Count
    """How many rows are worked on at the same time, such as 1024."""


@dataclass(frozen=True)
class Ablate:
    """How variants of a constitution are compared."""

    level: Literal["labels", "reward", "policy"]
    """How far a variant's effect is followed.

    `labels`: the variant is applied where judgements become pairs, and the run stops there.
    `reward`: the reward models are trained again as well, and tested. `policy`: everything is run.
    """
    before: Literal["whole", "selected"]
    """The principles of the steps before the labels, at the levels labels and reward.

    `whole`: all of the file, so that no selection of it needs a new call. `selected`: only the
    principles that are selected.
    """
    kinds: tuple[str, ...]
    """Kinds of variants, see stages/principles/variants.py."""
    outcome: str | None
    """What the table shows first; null: the level's own."""
    margin: Annotated[float, Field(gt=0, lt=1)]
    """A fraction; 0.05 is 5 percentage points. An effect counts as none if it is shown, by exact
    tests, to lie within the margin; so does a fraction of changed labels below it.
    """
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """The confidence level of the intervals."""
    correction: Literal["holm", "max_t"]
    """How p-values are corrected for many variants; `max_t` has more power with one seed."""
    assume_overlap: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the forecast: how far all seeds change the same requests, from 0 (each seed its own) to 1
    (all the same, so that more seeds do not replace requests). null: whichever needs the largest
    effect.
    """
    assume_seed_sd: Annotated[float, Field(ge=0)] = 0.04
    """Of the forecast, with several seeds: how much a seed moves an effect, as a standard deviation
    in fractions (0.04 is 4 points; docs/results.md measured 3.6).
    """


@dataclass(frozen=True)
class Settings:
    """The config's keys. The pipeline refers to `constitution`, `data`, `model` and `scale`."""

    ablate: Ablate
    constitution: dict[str, Any]
    data: dict[str, Any]
    generator: Generator
    launcher: Launcher
    max_failed: Annotated[float, Field(ge=0, le=1)]
    """The share of a step's rows that may fail, because a server refuses or garbles their calls,
    before the run stops; 3 rows may in any step, unless it is 0.
    """
    model: dict[str, Any]
    pipeline: dict[str, Any]
    plan: bool
    runs_dir: str
    scale: dict[str, Any]
    seed: Annotated[int, Field(strict=True)]
    store: str
    until: Names | None
    variant: str

    @property
    def is_ablation(self) -> bool:
        """Whether the run belongs to an ablation: it is of a variant, or ends before the policy."""
        return self.variant != "full" or self.ablate.level != "policy"


def read_settings(config: DictConfig) -> tuple[Settings, dict[str, Any]]:
    """Return the checked settings, and the same config as plain values for the run's manifest.

    Raises:
        UserError: a value is missing, unknown or of the wrong type, or refers to a key that does
            not exist; or a config file has no effect.
    """
    plain = _plain(config)
    settings: Settings = parse_config(Settings, plain, "the config")
    check_store(as_path(settings.store, "store"))
    return settings, plain


def check_store(path: Path) -> None:
    """Refuse another program's file before a lock is written beside it.

    Raises:
        UserError: it is no SQLite file, or cannot be read.
    """
    try:
        if not path.exists():
            return
        head = path.open("rb").read(len(SQLITE)) if path.is_file() else b"a folder or a device"
    except OSError as error:
        fault = f"the file cannot be read: {error.strerror}"
    else:
        if SQLITE.startswith(head):  # an empty file becomes a store
            return
        fault = "another program's file, no store of calls"
    raise UserError(fault, where=str(path), fix="give another file with store=PATH")


def as_user_error(error: Exception) -> UserError:
    """Turn an error that Hydra raises before there is a config into a UserError."""
    known = find_cause(error, UserError) or as_disk_error(error)
    if known:
        return known
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.partition("/")
        options = list(error.options or ())
        hint = did_you_mean(name, options)
        fix = f"choose one of: {', '.join(options)}" if options else "see the folder conf/"
        return UserError(f"there is no {error.missing_cfg_file!r}{hint}", where=group, fix=fix)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        place = f"{mark.name}:{mark.line + 1}"
        return UserError(f"not valid YAML: {error.problem}", where=place, fix="correct the file")
    if isinstance(error, yaml.YAMLError):
        return UserError(" ".join(str(error).split()), where="conf/", fix="correct the YAML file")
    if system := find_cause(error, OSError):
        return UserError(
            f"the run's folder cannot be created: {system}",
            where="runs_dir",
            fix="set it to a folder you may write to",
        )
    what = str(error).strip().partition("\n")[0].partition(" To override")[0]
    if isinstance(error, OverrideParseException):
        fix = "write key=value, with quotes around brackets, commas or equals signs: 'key=\"a, b\"'"
        return UserError(what, where=error.override, fix=fix)
    if isinstance(error, HydraException | OmegaConfBaseException):
        fix = (
            "key=value changes what is there (see `python run.py --cfg job`), "
            "+key=value adds an option to a step, ~key removes one"
        )
        return UserError(what, where="the command line", fix=fix)
    frames = traceback.walk_tb(error.__traceback__)
    if not any(frame.f_code.co_name == "launch" for frame, _ in frames):
        place = "the command line, or a file of conf/"
        fix = "write key=value as UTF-8 text, without deep brackets"
        return UserError(f"cannot be read: {what}", where=place, fix=fix)
    return UserError(
        f"the jobs' launcher stopped: {what}",
        where="hydra/launcher",
        fix="run the same command again, with fewer jobs at once if memory ran out; "
        "finished work is kept",
    )


def _plain(config: DictConfig) -> dict[str, Any]:
    if missing := _missing_keys(OmegaConf.to_container(config)):
        values = " ".join(f"{key}=<value>" for key in missing)
        raise UserError(
            f"no value is given for {', '.join(missing)}",
            where="the config",
            fix=f"set it on the command line: {values}",
        )
    try:
        plain: Any = OmegaConf.to_container(config, resolve=True)
        remember_secrets(OmegaConf.to_container(config), plain)
    except OmegaConfBaseException as error:
        what = str(error).splitlines()[0]
        raise UserError(what, where="the config", fix="see `python run.py --cfg job`") from None
    for group in ("experiment", "local"):
        if group in plain:
            raise UserError(
                f"the file's keys would lie under {group!r}, where nothing reads them",
                where=f"conf/{group}",
                fix="make `# @package _global_` its first line",
            )
    return plain


def _missing_keys(value: Any, key: str = "") -> list[str]:
    """The dotted keys whose value is `???`."""
    if not isinstance(value, dict):
        return [key] if value == "???" else []
    missing = []
    for name, inner in value.items():
        missing += _missing_keys(inner, f"{key}.{name}" if key else str(name))
    return missing
