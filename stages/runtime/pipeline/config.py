"""From Hydra's config to checked settings, and from what Hydra refuses to one message."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.pipeline.launch import Launcher
from stages.runtime.settings import parse_config


@dataclass(frozen=True)
class Generator:
    """What the runner needs to know of `generator`; each generator checks its own options."""

    name: str
    options: dict[str, Any]
    keep: Any
    concurrency: Any


@dataclass(frozen=True)
class Ablate:
    """How variants are compared.

    Args:
        level: what a variant changes: the `labels` (it is applied where judgements become pairs,
            and the run stops there), the `reward` models as well (which are trained anew and
            tested), or everything (`policy`).
        before: the steps before the labels are made under the `whole` file, so that any selection
            of it costs no call, or under what is `selected` (levels labels and reward).
        kinds: of variants; see stages/principles/variants.py.
        outcome: what the table shows first; null: the level's own.
        margin: a share, 0.05 being 5 points; an effect that two one-sided tests show to lie within
            it counts as none, and so does a smaller share of labels.
        confidence: of the intervals.
        correction: of the p-values for many variants: `holm`, or `max_t`, which has more power with
            one seed.
    """

    level: Literal["labels", "reward", "policy"]
    before: Literal["whole", "selected"]
    kinds: tuple[str, ...]
    outcome: str | None
    margin: Annotated[float, Field(gt=0, lt=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    correction: Literal["holm", "max_t"]


@dataclass(frozen=True)
class Settings:
    """The config's keys. The pipeline refers to `constitution`, `data`, `model` and `scale`."""

    ablate: Ablate
    constitution: dict[str, Any]
    data: dict[str, Any]
    generator: Generator
    launcher: Launcher
    model: dict[str, Any]
    pipeline: dict[str, Any]
    plan: bool
    runs_dir: str
    scale: dict[str, Any]
    seed: Annotated[int, Field(strict=True)]
    store: str
    until: str | tuple[str, ...] | None
    variant: str

    @property
    def targets(self) -> tuple[str, ...] | None:
        """The steps in `until`."""
        return (self.until,) if isinstance(self.until, str) else self.until


def read_settings(config: DictConfig) -> tuple[Settings, dict[str, Any]]:
    """The checked settings, and the same config as plain values for the run's manifest.

    Raises:
        UserError: a value is missing, unknown or of another type, or refers to none; or a file has
        no effect.
    """
    plain = _plain(config)
    return parse_config(Settings, plain, "the config"), plain


def _plain(config: DictConfig) -> dict[str, Any]:
    if missing := _missing(OmegaConf.to_container(config)):
        fix = f"set it on the command line: {' '.join(f'{key}=<value>' for key in missing)}"
        raise UserError(f"no value is given for {', '.join(missing)}", where="the config", fix=fix)
    try:
        # type: ignore[assignment]
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(
            str(error).splitlines()[0], where="the config", fix="see `python run.py --cfg job`"
        ) from None
    for group in ("experiment", "local"):
        if group in plain:
            fix = "make `# @package _global_` its first line"
            raise UserError(
                f"what the file says would lie under {group!r}, where nothing reads it",
                where=f"conf/{group}",
                fix=fix,
            )
    return plain


def _missing(value: Any, key: str = "") -> list[str]:
    if not isinstance(value, dict):
        return [key] if value == "???" else []
    return [
        name
        for inner in value
        for name in _missing(value[inner], f"{key}.{inner}" if key else str(inner))
    ]


def told(error: Exception) -> UserError:
    """What Hydra says before there is a config, as a user's mistake."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.partition("/")
        known = list(error.options or ())
        fix = f"choose one of: {', '.join(known)}" if known else "see the folder conf/"
        return UserError(
            f"there is no {error.missing_cfg_file!r}.{did_you_mean(name, known)}",
            where=group,
            fix=fix,
        )
    if isinstance(error, yaml.YAMLError):
        return UserError(" ".join(str(error).split()), where="conf/", fix="fix the YAML file")
    if isinstance(error, OSError):
        return UserError(
            f"the run's folder cannot be made: {error}",
            where="runs_dir",
            fix="set it to a folder you may write to",
        )
    what = str(error).strip().partition("\n")[0].partition(" To override")[0]
    if isinstance(error, OverrideParseException):
        fix = "write key=value, and quotes around what holds brackets, commas or equals signs: 'key=\"a, b\"'"
        return UserError(what, where=error.override, fix=fix)
    if not isinstance(
        error, HydraException | OmegaConfBaseException
    ):  # a launcher of other people's
        fix = "what is done is kept, and the same command goes on from there; with fewer jobs at once they have more memory"
        return UserError(f"the jobs' launcher stopped: {what}", where="hydra/launcher", fix=fix)
    fix = "key=value changes what is there (see `python run.py --cfg job`), +key=value gives a step an option, ~key removes"
    return UserError(what, where="the command line", fix=fix)
