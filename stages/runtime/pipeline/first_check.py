"""Hydra's callback before a run's first file: what must not be stored, and where nothing can be.

Hydra saves a config before a run sees it. So what holds a secret in plain is refused here, and a
folder that no run should write to.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from stages.guards.errors import Faults, UserError
from stages.guards.files import as_path
from stages.guards.secrets import find_secrets
from stages.runtime.pipeline.display import exit_at_errors

FOLDERS = ("runs_dir", "hydra.run.dir", "hydra.sweep.dir")


class FirstCheck(Callback):
    """The callback `hydra.callbacks.first_check` of conf/config.yaml."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with exit_at_errors(Path("run.log")):
            check_before_writing(config, [])

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        with exit_at_errors(Path("run.log")):
            overrides = [*config.hydra.overrides.task, *config.hydra.overrides.hydra]
            for each in (config, *_swept_configs(config)):
                check_before_writing(each, overrides)


def check_before_writing(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse a config that must not be saved as it is, or whose folders are none.

    Args:
        overrides: of a sweep, whose config does not hold them yet.

    Raises:
        UserError: names all such options, and no value.
    """
    faults = Faults()
    for option in dict.fromkeys(_options_with_secrets(config, overrides)):
        faults.add(
            UserError(
                "holds a key or a password, which a run would store",
                where=f"option {option!r}",
                fix="put it into an environment variable, and write ${oc.env:NAME} here",
            )
        )
    for name in FOLDERS:
        with faults.gather():
            _check_folder(OmegaConf.select(config, name), name)
    faults.raise_any()


def _options_with_secrets(config: DictConfig, overrides: Sequence[str]) -> Iterator[str]:
    plain: Any = OmegaConf.to_container(config)
    plain["hydra"].pop("overrides")
    plain["hydra"].pop("runtime")
    plain["hydra"]["job"].pop("override_dirname")  # the overrides once more
    yield from find_secrets(plain)
    for override in overrides:
        name, _, value = override.lstrip("+~").partition("=")
        yield from find_secrets({name: value})


def _swept_configs(config: DictConfig) -> Iterator[DictConfig]:
    """Yield the configs of a sweep over config files, of each file one."""
    loader = GlobalHydra.instance().config_loader()
    task = [str(override) for override in config.hydra.overrides.task]
    overrides = OverridesParser.create(loader).parse_overrides(task)
    fixed = [str(each.input_line) for each in overrides if not each.is_sweep_override()]
    for override in overrides:
        key = override.get_key_element()
        group = key.lstrip("+").partition("@")[0]
        if override.is_discrete_sweep() and loader.get_group_options(group):
            for value in override.sweep_string_iterator():
                with suppress(Exception):  # Hydra reports it with its job
                    yield loader.load_sweep_config(config, [*fixed, f"{key}={value}"])


def _check_folder(name: Any, where: str) -> None:
    """Refuse what is no folder's name, or not the one that it seems to be."""
    if not isinstance(name, str):
        raise UserError(f"{name!r} names no folder", where=where, fix="give the path of a folder")
    as_path(name, where)
    if name.startswith("~"):
        raise UserError(
            "~ is your home folder for a shell, and not after an equals sign",
            where=where,
            fix="write $HOME, or the whole path",
        )
