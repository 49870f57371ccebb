"""Stage `model`: a model that is already there, on disk, on the Hub or behind an API.

In: nothing. Out: an artifact that points at the model. Its identity is the model's content, so
moving the folder changes nothing and replacing the weights changes everything that follows. What
only a server knows by name is identified by that name and the server's addresses.

The run's generator answers for it, or one of its own: a judge can be asked over an API while the
policies are sampled here.
"""

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from stages.guards.errors import Faults, UserError, refuse_unknown
from stages.guards.secrets import mask_identity
from stages.guards.templates import template_hash
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import Engines
from stages.runtime.context import Context
from stages.runtime.cost.prices import Prices
from stages.runtime.generation import JudgeForm
from stages.runtime.generator_registry import (
    ANSWER_OPTIONS,
    GENERATORS,
    Answerer,
    check_options,
    is_remote,
    select_answer_options,
)
from stages.runtime.models import Model, find_model, find_served_model
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Text, machine


@dataclass(frozen=True)
class Config:
    path: Text
    """A folder, or a Hub id `owner/name`; with a server as its generator also a served name."""
    revision: str | None = None
    """A Hub commit; null: the newest."""
    generator: Text | None = machine(None)
    """Which generator answers for it, such as `server`; null: the run's."""
    options: dict[str, Any] | None = machine(None)
    """The options of that generator; where it is the run's, in place of the run's own ones."""
    form: JudgeForm | None = machine(None)  # `identity` adds it, if set
    """How it is asked as a judge, if it is a guard or a generative reward model that knows one
    question only; null: by the templates of the steps that ask.
    """
    prices: Prices | None = machine(None)
    """What a million tokens of its generator cost; null: nothing, or as the run's generator says
    where that is the one.
    """


def check(config: Config) -> None:
    """Refuse a generator or options that do not exist, before anything runs."""
    if config.form:
        _check_form(config.form)
    if not config.generator:
        return
    options = config.options or {}
    refuse_unknown([config.generator], GENERATORS, "no generator is called", "")
    faults = Faults()
    with faults.gather(), Answerer(config.generator, options, "options").name_place():
        check_options(config.generator, options)
    for fault in faults.errors:  # the runner adds the step's name
        fault.what, fault.where = f"{fault.where}: {fault.what}", ""
    faults.raise_any()


def identity(config: Config) -> dict[str, Any]:
    """The model's content in place of its path, and what of its own generator changes answers."""
    facts: dict[str, Any] = {"path": None, "content": _find(config).content}
    options = config.options or {}
    changes = {name: options[name] for name in ANSWER_OPTIONS if name in options}
    changes |= select_answer_options(options)
    if config.generator or changes:
        facts["generator"] = mask_identity(changes)
    if config.form:
        templates = filter(None, (config.form.template, config.form.system))
        hashes = [template_hash(template) for template in templates]
        facts["form"] = asdict(config.form) | {"templates": hashes}
    return facts


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Point at the model, and have its generator ready.

    Raises:
        UserError: there is no such model, or its generator does not take the options.
    """
    model = point_at(config, context.engines, f"{context.step}.options")
    metrics: dict[str, Any] = {"model_path": model.path, "revision": model.revision}
    metrics["content"] = model.content
    if model.generator:
        metrics |= {"generator": model.generator, "served": _is_served(config)}
    return Result(metrics=metrics)


def point_at(config: Config, engines: Engines, place: str) -> Model:
    """Return the model, with its generator ready among the engines.

    Args:
        place: what a message calls the generator's options.

    Raises:
        UserError: there is no such model, or its generator does not take the options.
    """
    options = config.options or {}
    label = engines.add(config.generator, options, place, config.form, config.prices)
    return replace(_find(config), generator=label)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    gives=Model,
    reusable=False,  # the artifact holds a path; the model may have moved since
    check=check,
    identity=identity,
)


def _check_form(form: JudgeForm) -> None:
    """Refuse answers that are all worth the same, and a pattern that finds no answer."""
    if len(set(form.answers.values())) < 2:
        raise UserError(
            "every answer of the form is worth the same",
            where="",
            fix='give values that differ, such as answers: {"0": 1, "1": 0}',
        )
    try:
        groups = re.compile(form.pattern).groups
    except re.error as error:
        what = f"the form's pattern is no regular expression: {error}"
        raise UserError(what, where="", fix="correct it") from None
    if form.pattern and groups != 1:
        raise UserError(
            f"the form's pattern has {groups} groups, not one",
            where="",
            fix="put the answer in brackets, such as 'verdict: (yes|no)'; others are (?:...)",
        )


def _is_served(config: Config) -> bool:
    """Whether a server of its own holds the model."""
    name = config.generator
    return name is not None and is_remote(name, config.path, config.options or {})


def _find(config: Config) -> Model:
    if _is_served(config):
        options = config.options or {}
        return find_served_model(config.path, config.revision, options.get("endpoints", []))
    return find_model(config.path, config.revision)
