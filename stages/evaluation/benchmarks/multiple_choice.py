"""Stage `multiple_choice`: models answer questions with options from a file.

In: models under any names, the baseline first. Out: one Answer row for each model and question;
metrics as in `comparison.py`, where a value is 1 for a right answer, and for each model its
position bias (see `positions.py`). With `people` a value is instead a model's likeness to a group
of people: 1 minus the Jensen-Shannon distance (base 2) between its probabilities and the fractions
of people for each option (GlobalOpinionQA, Durmus et al. 2023, arXiv 2306.16388). `choice_files.py`
lists which files can be read: SafetyBench, CValues, GlobalOpinionQA, BBQ, and Anthropic's HHH need
a few lines of configuration.

A model's answer is read from the log-probabilities of the options' letters, over several orders:
one drawn by the seed for each question, and its rotations, so that with all of them each option
stands in each place once. The mean of log-probabilities over them removes a multiplicative bias
of the places (Zheng et al. 2024, arXiv 2309.03882, for the bias; PriDe, their correction from a few
questions, is left out). Ties share the point.

Inputs listed in `in_context` read principles in their system turn, so that one model can be asked
with and without them: `inputs: {base: base, in_context: base}`. With `retrieve` it reads those that
apply to the question (OPO, Xu et al. 2023, arXiv 2312.15907, which asks such questions).

Left out: options as continuations, which `harness` does (`acc`, `acc_norm`); free answers that are
parsed.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

from stages.evaluation.benchmarks.choice_files import (
    Columns,
    Question,
    check_columns,
    read_rows,
)
from stages.evaluation.benchmarks.positions import position_metrics, position_table
from stages.evaluation.comparison import IntervalOptions, compare, comparison_table, grouped
from stages.evaluation.inputs import ask_each, draw
from stages.guards.errors import UserError
from stages.guards.templates import render, template_hash
from stages.preferences.judging.ask import MIN_MASS, MinMass, refuse_noise
from stages.principles.constitution import Principle
from stages.principles.retrieve import ENCODER, Retrieval, check_encoder, find_applicable
from stages.principles.select import Selection
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Answer, Dropped, Message
from stages.runtime.stage import Kind, Stage
from stages.runtime.store import derive_seed
from stages.runtime.typed_config import Count, Few, machine
from stages.sources.reading import name_drops
from stages.sources.records import file_hash
from stages.sources.source import source_identity
from stages.text.system_turn import SYSTEM_TEMPLATE, selected, some_models_identity, system_turn


@dataclass(frozen=True, kw_only=True)
class Config(Columns, IntervalOptions):
    """Options of the questions; those of the file are in `Columns`."""

    instruction: str = ""
    """A sentence between question and options."""
    orders: Few | None = None
    """The number of orders in which each question is asked; null: one for each option."""
    limit: Count | None = None
    """Up to this many questions, drawn by a hash; null: all."""
    letters: str = ascii_uppercase
    """The names of the options, in order; each must be one token of every model. Questions with
    more options are dropped.
    """
    template: str = "evaluation/benchmarks/choice.jinja"
    """The question's prompt.

    It is given question, instruction, options (letter, text) and letters ("A, B or C").
    """
    in_context: list[str] = field(default_factory=list)
    """The inputs whose models read the principles of `constitution` in their system turn."""
    constitution: Selection | None = None
    retrieve: Retrieval | None = machine(None)  # `identity` adds it, if set
    """Of the principles only those that apply to the question and its options, by `inputs.encoder`
    or, if there is none, by BM25; null: all.
    """
    system_template: str = SYSTEM_TEMPLATE
    """The template of the system turn; its variable is principles."""
    min_mass: MinMass = MIN_MASS
    """A question is dropped where a model puts less probability than this on all letters together:
    it was about to write something else.
    """


LEAST_LOG = -1e4
"""Stands for the logarithm of 0, the probability of an impossible letter."""


def check(config: Config) -> None:
    check_columns(config, "stage 'multiple_choice'")
    if len(config.letters) < 2 or len(set(config.letters)) < len(config.letters):
        raise UserError(
            f"letters: {config.letters!r} does not name two options or more, each in its own way",
            where="stage 'multiple_choice'",
            fix="give a text of different characters, such as ABCDE or 01234",
        )


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse names in `in_context` that are no inputs, and retrieval that no model reads."""
    check_encoder(config.retrieve, inputs)
    if config.retrieve and not config.in_context:
        raise UserError(
            "`retrieve` chooses among principles that no model reads",
            where="stage 'multiple_choice'",
            fix="name inputs under `in_context`, or leave `retrieve` out",
        )
    unknown = [name for name in config.in_context if name not in inputs or name == ENCODER]
    if unknown:
        raise UserError(
            f"in_context: {unknown[0]!r} is no input",
            where="stage 'multiple_choice'",
            fix=f"choose from: {', '.join(inputs)}",
        )


def identity(config: Config) -> dict[str, Any]:
    parts = source_identity(config) | {"template": template_hash(config.template)}
    if config.answers:
        parts["answers"] = file_hash(config.answers)
    if config.options:
        parts["options"] = list(config.options)
    return parts | some_models_identity(
        config.in_context,
        config.constitution,
        config.system_template,
        "multiple_choice",
        config.retrieve,
    )


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Ask every model every question in every order.

    Raises:
        UserError: no model, no question, or what reading the file or choosing raises.
    """
    questions, dropped, reading = read_rows(config)
    if not questions:
        raise UserError(
            "the source gave no question" + name_drops(dropped),
            where=config.source,
            fix="check the columns; docs/data.md shows forms of questions",
        )
    questions, too_large = _nameable(questions, config.letters)
    dropped = [*dropped, *too_large]
    by_id = {question.id: question for question in questions}
    ids = draw(by_id, config.limit, context.seed, "asked")
    questions = [by_id[question_id] for question_id in ids]

    models = {name: artifact for name, artifact in inputs.items() if name != ENCODER}
    principles: tuple[Principle, ...] = ()
    if config.in_context:
        principles = selected(config.constitution, "multiple_choice").principles
    texts = {name: "\n".join([one.text, *one.options]) for name, one in by_id.items()}
    prompts = {name: [{"role": "user", "content": texts[name]}] for name in ids}
    applicable = find_applicable(config.retrieve, principles, prompts, inputs, context)

    async def ask(name: str, generator: RememberedGenerator, question: Question) -> Answer:
        shown = applicable[question.id] if name in config.in_context else ()
        return await _ask(question, name, generator, shown, config, context.seed)

    answers, dropped_rows = ask_each(models, questions, ask, context)
    values = {}
    positions = {}
    for name, rows in answers.items():
        values[name] = grouped(_values(rows, questions))
        positions[name] = position_metrics(rows)
    metrics = compare(values, config.intervals(context.seed))
    metrics["positions"] = positions
    metrics["reading"] = reading.as_metrics(config.source)
    metrics |= applicable.metrics()
    tables = [position_table(context.step, positions)]
    baseline = metrics["models"][next(iter(answers))]
    if baseline["all"] is not None:
        measure = "likeness to people" if config.people else "right answers"
        tables.insert(0, comparison_table(f"{context.step}: {measure}", metrics))
    return Result(
        rows=[answer for rows in answers.values() for answer in rows],
        row_type=Answer,
        dropped=dropped + dropped_rows,
        metrics=metrics,
        tables=tables,
        warnings=applicable.warnings(),
    )


STAGE = Stage(
    version=4,
    config=Config,
    run=run,
    optional={ENCODER: Model, "*": Model},
    least=1,
    gives=Answer,
    calls_generator=True,
    check=check,
    check_inputs=check_inputs,
    identity=identity,
    read=read_rows,
)


def _nameable(questions: Sequence[Question], letters: str) -> tuple[list[Question], list[Dropped]]:
    """Return the questions whose options can be named, and the others.

    Raises:
        UserError: none can.
    """
    nameable = []
    dropped = []
    for question in questions:
        if len(question.options) > len(letters):
            dropped.append(Dropped(id=question.id, reason="more options than `letters`"))
        else:
            nameable.append(question)
    if not nameable:
        raise UserError(
            f"every question has more options than `letters` has names ({len(letters)})",
            where="stage 'multiple_choice'",
            fix="give more letters, each one token of the models",
        )
    return nameable, dropped


def _values(
    rows: Sequence[Answer], questions: Sequence[Question]
) -> Iterator[tuple[str, str, float | None]]:
    """(group, question, value)."""
    people = {question.id: question.people for question in questions}
    for row in rows:
        groups = people[row.prompt_id]
        if not groups:
            yield row.kind, row.prompt_id, row.right
        for group, shares in groups.items():
            yield group, row.prompt_id, likeness(row.logprobs, shares)


def likeness(logprobs: Sequence[float], shares: Sequence[float]) -> float:
    """1 if the distributions are the same, 0 if they have no option in common."""
    from scipy.spatial.distance import jensenshannon

    largest = max(logprobs)
    weights = [math.exp(value - largest) for value in logprobs]
    distance = float(jensenshannon(weights, shares, base=2))  # it normalises both
    return 1 - min(distance, 1.0)


def orders_of(question: Question, count: int | None, seed: int) -> list[list[int]]:
    """The option in each place: an order drawn by the seed, and its rotations.

    Args:
        count: the number of orders; None: the maximum, as many as there are options.
    """
    options = len(question.options)
    order = list(range(options))
    random.Random(derive_seed(seed, "order", question.id)).shuffle(order)
    rotations = min(count or options, options)
    return [order[shift:] + order[:shift] for shift in range(rotations)]


async def _ask(
    question: Question,
    name: str,
    generator: RememberedGenerator,
    principles: Sequence[Principle],
    config: Config,
    seed: int,
) -> Answer:
    system = system_turn(principles, config.system_template)
    letters = config.letters[: len(question.options)]
    orders = orders_of(question, config.orders, seed)
    means = [0.0] * len(letters)
    choices = []
    for order in orders:
        user: Message = {"role": "user", "content": _question_text(question, order, config)}
        choice = await generator.choose([*system, user], tuple(letters))
        refuse_noise(choice, config.min_mass)
        logs = choice.logprobs
        for option, log in zip(order, logs, strict=True):
            means[option] += max(log, LEAST_LOG) / len(orders)
        likeliest = max(range(len(logs)), key=logs.__getitem__)
        choices.append(order[likeliest])
    return Answer(
        id=f"{name}/{question.id}",
        prompt_id=question.id,
        policy=name,
        kind=question.group,
        question=question.text,
        options=question.options,
        gold=question.gold,
        logprobs=means,
        order=orders[0],
        taken=choices,
        right=_right(means, question.gold),
        model=generator.model.content,
        template=template_hash(config.template),
        context=[principle.id for principle in principles],
    )


def _question_text(question: Question, order: Sequence[int], config: Config) -> str:
    letters = config.letters[: len(order)]
    texts = [question.options[option] for option in order]
    return render(
        config.template,
        question=question.text,
        instruction=config.instruction,
        options=list(zip(letters, texts, strict=True)),
        letters=f"{', '.join(letters[:-1])} or {letters[-1]}",
    )


def _right(logprobs: Sequence[float], gold: Sequence[int]) -> float | None:
    """Whether the likeliest option is right; ties share the point. None without a gold label."""
    if not gold:
        return None
    largest = max(logprobs)
    best = [option for option, value in enumerate(logprobs) if value == largest]
    return sum(option in gold for option in best) / len(best)
