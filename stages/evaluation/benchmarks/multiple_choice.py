"""Stage `multiple_choice`: questions with options out of a file, answered by models, by group.

In: models under any names, the baseline first. Out: one Answer a model and question; metrics as in
`comparison.py`, where a value is 1 for a right answer, and for each model its position bias. With
`people` a value is a model's likeness to a group of
people instead, by group: 1 less the Jensen-Shannon distance (base 2) of its probabilities to their
shares (GlobalOpinionQA, Durmus et al. 2023, arXiv 2306.16388). `choice_files.py` tells which files
can be read: SafetyBench, CValues, GlobalOpinionQA, BBQ, and Anthropic's HHH are a few lines of
configuration.

A model's answer is read off the log-probabilities of the options' letters, over several orders: one
drawn by the seed for each question, and its rotations, so that with all of them each option stands
in each place once. The mean of log-probabilities over them takes out a bias of the places that
multiplies (Zheng et al. 2024, arXiv 2309.03882, for the bias; PriDe, their correction from a few
questions, is left out). Ties share the point.

    accuracy_single  of one order, on average         flips         questions whose answer depends
    on the order kappa            of letters right and given       first_place   how often the
    option shown first is taken
                     (Cohen), over all orders         places        by letter

Left out: options as continuations, which `harness` does (`acc`, `acc_norm`); free answers that are
parsed.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from string import ascii_uppercase
from typing import Annotated, Any

from pydantic import Field

from stages.evaluation.asking import ask_each
from stages.evaluation.benchmarks.choice_files import (
    Columns,
    Question,
    check_columns,
    read_questions,
)
from stages.evaluation.comparison import compare, comparison_table, grouped
from stages.runtime.artifacts import Artifact, Result, Table
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context, Drop
from stages.runtime.errors import UserError
from stages.runtime.rows import Answer
from stages.runtime.stage import ANY, Stage
from stages.runtime.store import derive_seed
from stages.runtime.templates import render, template_hash
from stages.statistics.paired import kappa
from stages.text.records import file_hash
from stages.text.source import source_identity


@dataclass(frozen=True, kw_only=True)
class Config(Columns):
    """Args:
    instruction: a sentence between question and options.
    orders: how many orders each question is asked in; null: as many as it has options.
    limit: so many questions only, drawn by a hash.
    template: of the question; it is given question, instruction, options (letter, text) and letters
        ("A, B or C").
    resamples, confidence: of the intervals.
    Further ones, of the file: see Columns.
    """

    instruction: str = ""
    orders: Annotated[int, Field(ge=1)] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    template: str = "evaluation/benchmarks/choice.jinja"
    resamples: Annotated[int, Field(ge=100)] = 2000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95


def check(config: Config) -> None:
    check_columns(config, "stage 'multiple_choice'")


def identity(config: Config) -> dict[str, Any]:
    answers = {"answers": file_hash(config.answers)} if config.answers else {}
    return source_identity(config) | answers | {"template": template_hash(config.template)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Ask every model every question in every order.

    Raises:
        UserError: no model, no question, or what reading the file or choosing raises.
    """
    questions, dropped = read_questions(config)
    if config.limit is not None:
        questions.sort(key=lambda q: (derive_seed(context.seed, "asked", q.id), q.id))
        questions = questions[: config.limit]
    if not questions:
        raise UserError(
            "the source gave no question",
            where=config.source,
            fix="check the columns: see the dropped rows' reasons",
        )

    async def ask(
        name: str, content: str, generator: RememberedGenerator, question: Question
    ) -> Answer:
        return await _ask(question, name, content, generator, config, context.seed)

    answers, lost = ask_each(inputs, questions, ask, context)
    found = [answer for rows in answers.values() for answer in rows]
    metrics = compare(
        {name: grouped(_values(rows, questions)) for name, rows in answers.items()},
        config.resamples,
        config.confidence,
        context.seed,
    )
    metrics["positions"] = {name: _positions(rows) for name, rows in answers.items()}
    measure = "likeness to people" if config.people else "right answers"
    tables = [
        comparison_table(f"{context.step}: {measure}", metrics),
        _position_table(context.step, metrics["positions"]),
    ]
    return Result(
        rows=found,
        row_type=Answer,
        dropped=dropped + lost,
        metrics=metrics,
        tables=tables[metrics["models"][next(iter(answers))]["all"] is None :],
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    optional=ANY,
    calls_generator=True,
    check=check,
    identity=identity,
)


def _values(
    rows: list[Answer], questions: list[Question]
) -> Iterator[tuple[str, str, float | None]]:
    """(group, question, value)."""
    people = {question.id: question.people for question in questions}
    for row in rows:
        if not people[row.prompt_id]:
            yield row.kind, row.prompt_id, row.right
        for group, shares in people[row.prompt_id].items():
            yield group, row.prompt_id, likeness(row.logprobs, shares)


def likeness(logprobs: Sequence[float], shares: Sequence[float]) -> float:
    """1 for the same distribution, 0 where no option is common to both."""
    from scipy.spatial.distance import jensenshannon

    chances = [math.exp(value - max(logprobs)) for value in logprobs]
    return 1 - min(float(jensenshannon(chances, shares, base=2)), 1.0)  # it normalises both


def orders_of(question: Question, wanted: int | None, seed: int) -> list[list[int]]:
    """Which option stands in which place: a drawn order and its rotations."""
    count = len(question.options)
    drawn = list(range(count))
    random.Random(derive_seed(seed, "order", question.id)).shuffle(drawn)
    return [drawn[turn:] + drawn[:turn] for turn in range(min(wanted or count, count))]


async def _ask(
    question: Question,
    name: str,
    content: str,
    generator: RememberedGenerator,
    config: Config,
    seed: int,
) -> Answer:
    letters = ascii_uppercase[: len(question.options)]
    orders = orders_of(question, config.orders, seed)
    sums = [0.0] * len(letters)
    taken = []
    for order in orders:
        text = render(
            config.template,
            question=question.text,
            instruction=config.instruction,
            options=[
                (letter, question.options[place])
                for letter, place in zip(letters, order, strict=True)
            ],
            letters=f"{', '.join(letters[:-1])} or {letters[-1]}",
        )
        logs = await generator.choose([{"role": "user", "content": text}], tuple(letters))
        if any(math.isnan(log) for log in logs):
            raise Drop("the model gave no answer")
        for place, log in zip(order, logs, strict=True):
            sums[place] += max(log, -1e4) / len(
                orders
            )  # an impossible letter has no finite logarithm
        taken.append(order[max(range(len(logs)), key=logs.__getitem__)])
    best = [place for place, value in enumerate(sums) if value == max(sums)]
    return Answer(
        id=f"{name}/{question.id}",
        prompt_id=question.id,
        policy=name,
        kind=question.group,
        question=question.text,
        options=question.options,
        gold=question.gold,
        logprobs=sums,
        order=orders[0],
        taken=taken,
        right=sum(place in question.gold for place in best) / len(best) if question.gold else None,
        model=content,
        template=template_hash(config.template),
    )


def _positions(rows: list[Answer]) -> dict[str, Any]:
    """How far answers depend on places, over all orders in which the questions were asked."""
    if not rows:
        return {}
    asked = [
        (row, row.order[turn:] + row.order[:turn], taken)
        for row in rows
        for turn, taken in enumerate(row.taken)
    ]
    letters = [
        (order.index(row.gold[0]), order.index(taken))
        for row, order, taken in asked
        if len(row.gold) == 1
    ]
    places = [order.index(taken) for _, order, taken in asked]
    several = [len(set(row.taken)) > 1 for row in rows if len(row.taken) > 1]
    known = [float(taken in row.gold) for row, _, taken in asked if row.gold]
    return {
        "questions": len(rows),
        "accuracy_single": fmean(known) if known else None,
        "kappa": kappa(letters),
        "flips": fmean(several) if several else None,
        "first_place": places.count(0) / len(places),
        "places": {
            ascii_uppercase[place]: places.count(place) / len(places)
            for place in sorted(set(places))
        },
    }


def _position_table(step: str, positions: dict[str, Any]) -> Table:
    def number(value: float | None, factor: float = 100) -> str:
        return (
            "-" if value is None else f"{factor * value:.1f}" if factor == 100 else f"{value:.2f}"
        )

    rows = [
        [
            name,
            number(p["accuracy_single"]),
            number(p["kappa"], 1),
            number(p["flips"]),
            number(p["first_place"]),
        ]
        for name, p in positions.items()
        if p
    ]
    columns = [
        "model",
        "right in one order",
        "kappa",
        "answer turns with the order",
        "first place taken",
    ]
    return Table(f"{step}: positions, per cent", columns, rows)
