"""Hydra's callback before a run's first file: what must not be stored, and where nothing can be.

Hydra saves a config before a run sees it. So what holds a secret in plain is refused here, and a
folder that no run should write to.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from stages.guards.errors import Faults, UserError
from stages.guards.files import as_path
from stages.guards.secrets import find_secrets
from stages.runtime.pipeline.display import exit_at_errors

FOLDERS = ("runs_dir", "hydra.run.dir", "hydra.sweep.dir")


class FirstCheck(Callback):
    """The callback `hydra.callbacks.first_check` of conf/config.yaml."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        with exit_at_errors(Path("run.log")):
            check_before_writing(config)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        with exit_at_errors(Path("run.log")):
            # Iterating over the list itself would resolve what is in it.
            overrides: Any = OmegaConf.to_container(config.hydra.overrides.task)
            loader = GlobalHydra.instance().config_loader()
            parsed = OverridesParser.create(loader).parse_overrides(overrides)
            swept = [each for each in parsed if each.is_discrete_sweep()]
            fixed = [str(each.input_line) for each in parsed if not each.is_sweep_override()]
            check_before_writing(config, swept)
            for each in swept:
                for override in _choices_of_files(each, loader):
                    with suppress(HydraException, OmegaConfBaseException, YAMLError, UnicodeError):
                        job = loader.load_sweep_config(config, [*fixed, override])
                        check_before_writing(job)


def check_before_writing(config: DictConfig, swept: Sequence[Override] = ()) -> None:
    """Refuse a config that must not be saved as it is, or whose folders are none.

    Args:
        swept: the overrides of a sweep, whose config does not hold their values.

    Raises:
        UserError: names all such options, and no value.
    """
    plain: Any = OmegaConf.to_container(config)
    plain["hydra"].pop("overrides")
    plain["hydra"].pop("runtime")
    plain["hydra"]["job"].pop("override_dirname")  # the overrides once more
    options = [*find_secrets(plain)]
    for override in swept:
        for value in override.sweep_iterator():
            options += find_secrets({override.get_key_element().lstrip("+"): _as_plain(value)})
    faults = Faults()
    for option in dict.fromkeys(options):
        faults.add(
            UserError(
                "holds a key or a password, which a run would store",
                where=f"option {option!r}",
                fix="put it into an environment variable, and write ${oc.env:NAME} here",
            )
        )
    for name in FOLDERS:
        with faults.gather():
            check_folder(OmegaConf.select(config, name), name)
    faults.raise_any()


def _as_plain(value: Any) -> Any:
    """Return what an override sets, as plain data."""
    if isinstance(value, dict):
        return {str(_as_plain(key)): _as_plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_plain(inner) for inner in value]
    return value.text if isinstance(value, QuotedString) else value


def _choices_of_files(override: Override, loader: ConfigLoader) -> Iterator[str]:
    """Yield the values of a sweep over config files, each as an override."""
    key = override.get_key_element()
    if loader.get_group_options(key.lstrip("+").partition("@")[0]):
        for value in override.sweep_string_iterator():
            yield f"{key}={value}"


def check_folder(name: Any, where: str) -> None:
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
