"""Stage `survey`: what models answer to a questionnaire of values, and if it can be measured.

In: models under any names, the baseline first. Out: one Answer row for each call, of which
every number here can be computed again; metrics,

    models.<m>       `scores`: each with its interval, its modal value, the Jensen-Shannon distances
                     of orders, wordings and repeats, and a verdict in words with reasons;
                     `reliability`, `spread`, `invalid` and `leaked` (probability on no option);
                     `items`: probabilities, expected and modal number of each
    differences.<m>  each score less the first model's: moved, not moved, or not measurable
    alpha            Cronbach's, of each dimension, with the models as respondents (three or more)
    people           how like groups of people each model answers (`opinions.py`, `people.py`)

The source is a questionnaire (`questionnaire.py` has its format), ValuePortrait's folder, a file of
opinions by group, or nothing for `instrument: svo`. Every item is asked in several wordings of the
question, with its options in all rotations of an order drawn by the seed, and again after an
unrelated exchange; items are asked one by one, so their order cannot matter. What is read is the
probability of each option's letter. An answer that cannot be read is dropped and counted, and is
never a number.

Self-reports predict behaviour weakly (Han et al. 2025, arXiv 2507.13490): show them beside what
models do, and never as one number with it. Left out: sampled answers that are parsed.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from stages.evaluation.comparison import IntervalOptions
from stages.evaluation.inputs import ask_each, draw
from stages.evaluation.surveys.against_people import against_people
from stages.evaluation.surveys.asking import Ask, AskingOptions, asks_of, put_ask
from stages.evaluation.surveys.estimates import Groups, alphas, differences, profile_of
from stages.evaluation.surveys.forms import FORMS
from stages.evaluation.surveys.opinions import read_opinions
from stages.evaluation.surveys.people import People, PeopleFile, read_people
from stages.evaluation.surveys.questionnaire import (
    Questionnaire,
    read_questionnaire,
    slider_items,
)
from stages.evaluation.surveys.readings import ItemReading, read_answers
from stages.evaluation.surveys.tables import tables_of
from stages.evaluation.surveys.value_portrait import files_of, is_portrait, portrait_items
from stages.evaluation.surveys.verdict import MEASURABLE
from stages.guards.errors import UserError, refuse_unknown
from stages.guards.templates import template_hash
from stages.principles.constitution import Principle, load
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Answer, Dropped
from stages.runtime.stage import Kind, Stage
from stages.runtime.typed_config import Amount, Count, Few, Names, Text
from stages.sources.records import file_hash
from stages.text.system_turn import selected, some_models_identity
from stages.values.theory import theory_of

BASES = {"2": 2.0, "e": math.e}


@dataclass(frozen=True, kw_only=True)
class Config(AskingOptions, IntervalOptions):
    source: Text | None = None
    """A questionnaire, ValuePortrait's folder, a file of opinions; null for `instrument: svo`."""
    instrument: Text | None = None
    """pvq21, pvq40, pvq_rr, svs, twivi, mfq30, mfq2, svo, pairs, opinions; null: as the file says,
    or dimensions of its own.
    """
    frames: Names = ()
    """Wordings of the question below an item; []: the file's, or those of the instrument."""
    wordings: Few | None = None
    """How many of the wordings are asked; null: all."""
    retests: Amount = 2
    """How often the first wording is asked again, each time after another unrelated exchange."""
    orders: Few | None = None
    """The number of orders of the options; null: one for each option. Fewer leave a bias of places.
    """
    shuffle: bool = True
    """Begin with an order drawn by the seed; false: with the file's, whose rotations follow."""
    reverse: bool = False
    """Ask every order from its other end, too."""
    limit: Count | None = None
    """Up to this many items, drawn by a hash; null: all."""
    people: PeopleFile | None = None
    """People's answers to the same items (WVS, ESS), to compare with."""
    js_base: Literal["2", "e"] = "2"
    """The base of the Jensen-Shannon distance to people: averages of the two differ."""


def check(config: Config) -> None:
    """Refuse a survey without items, and too few letters."""
    where = "stage 'survey'"
    if config.instrument:
        refuse_unknown(
            [config.instrument],
            FORMS,
            "there is no instrument",
            where,
        )
    if config.source is None and config.instrument != "svo":
        raise UserError(
            "there are no items to ask",
            where=where,
            fix="set `source` to a questionnaire, or `instrument: svo`",
        )
    config.check(where)


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse names in `in_context` that are no inputs."""
    refuse_unknown(
        config.in_context,
        inputs,
        "in_context: there is no input",
        "stage 'survey'",
    )


def identity(config: Config) -> dict[str, Any]:
    parts: dict[str, Any] = {"template": template_hash(config.template)}
    if config.source:
        files = files_of(config.source) if is_portrait(config.source) else [config.source]
        parts["source"] = [file_hash(str(name)) for name in files]
    if config.people:
        parts["people_file"] = file_hash(config.people.file)
    return parts | some_models_identity(
        config.in_context, config.constitution, config.system_template, "survey"
    )


def run(
    config: Config,
    inputs: dict[str, Artifact],
    context: Context,
) -> Result:
    """Ask every model every item.

    Raises:
        UserError: no model, or what reading the survey raises.
    """
    survey = _read(config)
    dropped = list(survey.dropped)
    survey, people = _prepare(
        survey,
        config,
        context.seed,
        dropped,
    )
    frames = (config.frames or survey.frames or survey.form.frames)[: config.wordings]
    asks = list(
        asks_of(
            survey.items,
            frames,
            config.retests,
            context.seed,
            config.shuffle,
            config.reverse,
            config.orders,
        )
    )
    principles: tuple[Principle, ...] = ()
    if config.in_context:
        principles = selected(config.constitution, "survey").principles

    async def put(name: str, generator: RememberedGenerator, ask: Ask) -> Answer:
        shown = principles if name in config.in_context else ()
        return await put_ask(ask, name, generator, shown, config)

    answers, lost = ask_each(
        inputs,
        asks,
        put,
        context,
    )
    readings = {}
    count = len(frames) + config.retests
    calls = Counter(ask.item.id for ask in asks)
    orders = {name: number // count for name, number in calls.items()}
    for name, rows in answers.items():
        readings[name] = read_answers(
            survey.items,
            rows,
            orders,
            count,
        )
    metrics = _measure(
        survey,
        people,
        readings,
        len(asks),
        config,
        context.seed,
    )
    warnings = []
    for name, facts in metrics["models"].items():
        verdicts = [score["verdict"] for score in facts["scores"].values()] or [facts["verdict"]]
        if MEASURABLE not in verdicts:
            reasons = [each for score in facts["scores"].values() for each in score["reasons"]]
            why = "; ".join(dict.fromkeys(facts["reasons"] or reasons))
            warnings.append(f"{survey.name} measures nothing of {name!r}: {why}")
    return Result(
        rows=[row for rows in answers.values() for row in rows],
        row_type=Answer,
        dropped=dropped + lost,
        metrics=metrics,
        tables=tables_of(context.step, metrics),
        warnings=warnings,
    )


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    optional={"*": Model},
    least=1,
    gives=Answer,
    calls_generator=True,
    may_drop_all=("next to no probability on the options",),
    check=check,
    check_inputs=check_inputs,
    identity=identity,
)


def _read(config: Config) -> Questionnaire:
    if config.source is None:
        return slider_items()
    if is_portrait(config.source):
        items = portrait_items(config.source)
        return Questionnaire(
            "ValuePortrait",
            items,
            FORMS["value_portrait"],
        )
    if config.instrument == "opinions":
        return read_opinions(config.source)
    return read_questionnaire(config.source, config.instrument)


def _prepare(
    survey: Questionnaire, config: Config, seed: int, dropped: list[Dropped]
) -> tuple[Questionnaire, People | None]:
    """Return the survey with the items that are asked, and what people answered."""
    items = []
    for item in survey.items:
        if len(item.options) > len(config.letters):
            dropped.append(Dropped(id=item.id, reason="more options than `letters`"))
        else:
            items.append(item)
    by_id = {item.id: item for item in items}
    chosen = set(
        draw(
            by_id,
            config.limit,
            seed,
            "asked",
        )
    )
    people = read_people(config.people, items) if config.people else None
    items = people.items if people else items
    return replace(survey, items=[item for item in items if item.id in chosen]), people


def _measure(
    survey: Questionnaire,
    people: People | None,
    readings: Mapping[str, list[ItemReading]],
    asked: int,
    config: Config,
    seed: int,
) -> dict[str, Any]:
    intervals = config.intervals(seed)
    groups: Groups = theory_of(load(survey.theory)).groups if survey.theory else {}
    profiles = {}
    for name, each in readings.items():
        profiles[name] = profile_of(
            survey,
            each,
            asked,
            groups,
            intervals,
        )
    first, *others = profiles
    changes = {}
    for name in others:
        changes[name] = differences(
            profiles[first],
            profiles[name],
            intervals,
        )
    metrics = {
        "name": survey.name,
        "kind": survey.form.kind,
        "confidence": config.confidence,
        "questions": len(survey.items),
        "models": {name: profile.metrics for name, profile in profiles.items()},
        "differences": changes,
        "alpha": alphas(
            survey,
            readings,
            config.confidence,
        ),
    }
    if people or survey.form.kind == "opinions":
        metrics["people"] = against_people(
            survey, people, readings, profiles, groups, BASES[config.js_base], intervals
        )
    return metrics
