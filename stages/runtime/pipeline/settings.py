"""From Hydra's config to checked settings, and from Hydra's errors to one message."""

import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from pydantic import Field

from stages.guards.disk import as_disk_error
from stages.guards.errors import (
    Faults,
    UserError,
    did_you_mean,
    find_cause,
    refuse_unknown,
)
from stages.guards.secrets import remember_secrets
from stages.pretrained import hardware  # noqa: F401  registers resolvers of the config
from stages.runtime.calls import Engines
from stages.runtime.cost.prices import Prices
from stages.runtime.generator_registry import GENERATORS, check_options
from stages.runtime.pipeline.launch import Launcher
from stages.runtime.typed_config import (
    Count,
    Few,
    Fraction,
    Inside,
    Names,
    NotNegative,
    Seed,
    SomeNames,
    Text,
    parse_config,
)

SHOWN_TEXT = 300
"""Characters of an error of Hydra's that a message shows."""
SECTIONS = ["steps", "last_steps"]
"""Of a pipeline; its other keys are variables."""
MISSPELT = 0.8
"""The similarity to a section from which a mapping is no variable."""


@dataclass(frozen=True)
class Generator:
    """What the runner needs to know of `generator`; each generator checks its own options."""

    name: Text
    options: dict[str, Any]
    keep: Few
    """How many engines (loaded models) stay loaded at the same time."""
    concurrency: Count
    """How many rows are worked on at the same time, such as 1024."""
    prices: Prices | None = None
    """What a million tokens cost; null: they have no price."""


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
    kinds: SomeNames
    """Kinds of variants, see stages/principles/variants.py."""
    outcome: Text | None
    """What the table shows first; null: the level's own."""
    margin: Inside
    """A fraction; 0.05 is 5 percentage points. An effect counts as none if it is shown, by exact
    tests, to lie within the margin; so does a fraction of changed labels below it.
    """
    confidence: Inside
    """The confidence level of the intervals."""
    correction: Literal["holm", "max_t"]
    """How p-values are corrected for many variants; `max_t` has more power with one seed."""
    assume_overlap: Fraction | None = None
    """Of the forecast: how far all seeds change the same requests, from 0 (each seed its own) to 1
    (all the same, so that more seeds do not replace requests). null: whichever needs the largest
    effect.
    """
    assume_seed_sd: Fraction = 0.04
    """Of the forecast, with several seeds: how much a seed moves an effect, as a standard deviation
    in fractions (0.04 is 4 points; docs/results.md measured 3.6).
    """


@dataclass(frozen=True)
class Settings:
    """The config's keys.

    The pipeline refers to `constitution`, `data`, `judge`, `model` and `scale`, and `model` to
    `machine` and `tuning`.
    """

    ablate: Ablate
    constitution: dict[str, Any]
    data: dict[str, Any]
    generator: Generator
    judge: dict[str, Any] | None
    """The step that judges; null: none, in methods that need none."""
    launcher: Launcher
    max_failed: Fraction
    """The share of a step's rows that may fail, because a server refuses or garbles their calls,
    before the run stops; 3 rows may in any step, unless it is 0.
    """
    model: dict[str, Any]
    pipeline: dict[str, Any]
    plan: bool
    runs_dir: Text
    scale: dict[str, Any]
    seed: Seed
    store: Text
    until: Names | None
    variant: Text
    budget: NotNegative | None = None
    """What the calls of the run may cost, in the currency of the prices; null: no limit."""
    budget_tokens: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """How many tokens they may read and write together; null: no limit."""
    report_to: Text | Names = "none"
    """Where trainings are reported to; `model` hands it to each trainer's options."""
    machine: dict[str, Any] | None = None
    tuning: dict[str, Any] | None = None

    def open_engines(self) -> Engines:
        """Return the engines of a run; no model is loaded yet."""
        generator = self.generator
        prices = asdict(generator.prices) if generator.prices else None
        budget = {"money": self.budget, "tokens": self.budget_tokens}
        return Engines(
            generator.name, generator.options, generator.keep, prices=prices, budget=budget
        )

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
    plain = resolve(config)
    return check_settings(plain), plain


def check_settings(plain: Mapping[str, Any]) -> Settings:
    """Return the settings of a resolved config.

    Raises:
        UserError: keys are missing, unknown or of the wrong type, or no generator is of this name
            or takes these options.
    """
    faults = Faults()
    with faults.gather():
        settings: Settings = parse_config(Settings, plain, "the config")
    generator = plain.get("generator")
    if isinstance(generator, Mapping):
        name, options = generator.get("name"), generator.get("options")
        with faults.gather():
            refuse_unknown([name], GENERATORS, "no generator is called", "generator.name")
            if isinstance(options, Mapping):
                check_options(str(name), options)
    faults.raise_any()
    return settings


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
    what = str(error).strip().partition("\n")[0].partition(" To override")[0]
    if what.startswith("Could not override"):
        what = _no_option(error) or what
    if system := find_cause(error, OSError):
        return UserError(
            f"the run's folder cannot be created: {system}",
            where="runs_dir",
            fix="set it to a folder you may write to",
        )
    if isinstance(error, OverrideParseException):
        fix = (
            "write key=value, with two quotes around a text with ~, brackets, commas or equals "
            "signs: 'key=\"a, b\"'"
        )
        what = what.replace("LexerNoViableAltException: ", "no value can be read from ")
        return UserError(_short(what), where=_short(error.override), fix=fix)
    if _is_composing(error) or isinstance(error, HydraException | OmegaConfBaseException):
        fix = (
            "key=value changes what is there (see `python run.py --cfg job`), "
            "+key=value adds an option to a step, ~key removes one"
        )
        return UserError(_short(what) or "wrong", where="the command line", fix=fix)
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


def _no_option(error: Exception) -> str:
    """What is wrong with an override of a key that is not there, with the most similar key.

    Returns:
        "" where something else is wrong.
    """
    unknown = find_cause(error, ConfigKeyError) or find_cause(error, ConfigAttributeError)
    if unknown is None or unknown.full_key is None:
        return ""
    path, _, name = str(unknown.full_key).rpartition(".")
    siblings = unknown.parent_node
    names = [str(key) for key in siblings] if isinstance(siblings, DictConfig) else []
    place = f" in {path}" if path else ""
    return f"there is no option {name!r}{place}{did_you_mean(name, names)}"


def _is_composing(error: BaseException) -> bool:
    """Whether Hydra failed before the run: its own errors are then of any type."""
    names = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    return not names.isdisjoint(("load_configuration", "configure_log"))


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}..."


def resolve(config: DictConfig) -> dict[str, Any]:
    """Return the config as plain values.

    Raises:
        UserError: a value is missing or refers to a key that does not exist, or a config file has
            no effect.
    """
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
    except (OmegaConfBaseException, RecursionError):
        faults = Faults()
        _gather_unresolved(config, faults)
        faults.raise_any()
        raise
    for group in ("experiment", "local"):
        if group in plain:
            raise UserError(
                f"the file's keys would lie under {group!r}, where nothing reads them",
                where=f"conf/{group}",
                fix="make `# @package _global_` its first line",
            )
    _refuse_unread(plain.get("pipeline"))
    return plain


def _refuse_unread(pipeline: Any) -> None:
    """Refuse what a pipeline file does not mean as a variable: nothing would read it."""
    if not isinstance(pipeline, Mapping):
        return
    settings = {field.name for field in fields(Settings)}
    for name, value in pipeline.items():
        if not isinstance(value, Mapping):
            continue
        if name in settings:
            raise UserError(
                f"the pipeline file's key {name!r} would lie under 'pipeline', where nothing "
                "reads it",
                where=f"pipeline.{name}",
                fix="make `# @package _global_` the first line of the file in conf/pipeline, or "
                "write `steps` and `last_steps` at its top level",
            )
        hint = did_you_mean(str(name).lower(), SECTIONS, MISSPELT)
        if hint and name not in SECTIONS:
            raise UserError(
                f"a pipeline has no section {name!r}{hint}",
                where=f"pipeline.{name}",
                fix=f"choose from: {', '.join(SECTIONS)}; a variable needs another name",
            )


def _gather_unresolved(node: DictConfig | ListConfig, faults: Faults) -> None:
    """Gather every value that refers to something that is not there."""
    keys = range(len(node)) if isinstance(node, ListConfig) else list(node)
    for key in keys:
        try:
            value = node[key]
            if OmegaConf.is_config(value) and OmegaConf.is_interpolation(node, key):
                OmegaConf.to_container(value, resolve=True)
        except (OmegaConfBaseException, RecursionError) as error:
            known = find_cause(error, UserError)
            what = str(error).partition("\n")[0]
            place = node._get_full_key(key)
            if isinstance(error, RecursionError):
                what = "it refers to what it is a part of"
            faults.add(
                known
                or UserError(
                    f"a value cannot be resolved: {_short(what)}",
                    where=f"the config, {place}",
                    fix="see `python run.py --cfg job`",
                )
            )
            continue
        if OmegaConf.is_config(value) and not OmegaConf.is_interpolation(node, key):
            _gather_unresolved(value, faults)


def _missing_keys(value: Any, key: str = "") -> list[str]:
    """The dotted keys whose value is `???`."""
    if not isinstance(value, dict):
        return [key] if value == "???" else []
    missing = []
    for name, inner in value.items():
        missing += _missing_keys(inner, f"{key}.{name}" if key else str(name))
    return missing
