"""Opinions of people by group, and how like them a model answers: GlobalOpinionQA, WVS, ESS.

In: records of question, selections (group -> percentages), options and source, as published
(Durmus et al. 2023, arXiv 2306.16388); selections may be Python's print of a defaultdict. Rows and
groups that cannot be read are dropped and counted. Out: items, and for each group of people, by
question,

    similarity  1 less the Jensen-Shannon distance of the model's and the group's shares, to a base
                that is stated: 2 spans 0 to 1, e goes down to 1 - 0.8326
    likelihood  the log-likelihood, in nats, that the model gives to answers drawn from the group,
                less that which the group's own shares give them: 0 is best. Its sum over questions
                is the joint log-likelihood of a person of the group, up to the group's entropy
"""

import math
from collections.abc import Mapping, Sequence

from stages.evaluation.benchmarks.choice_cells import people_shares, read_options
from stages.evaluation.surveys.forms import FORMS
from stages.evaluation.surveys.questionnaire import (
    FORMAT,
    MOST_OPTIONS,
    Item,
    Questionnaire,
    parse_cell,
)
from stages.guards.errors import UserError
from stages.guards.files import as_path
from stages.runtime.context import Drop
from stages.runtime.rows import Dropped
from stages.sources.cells import plain_text
from stages.sources.conversations import check_text
from stages.sources.records import Record, read_file, require_columns
from stages.statistics.reliability import js_distance

COLUMNS = ("question", "selections", "options")
LEAST_SHARE = 1e-6
"""Of an option in a likelihood: an impossible answer would cost an infinity."""
WRONG_COUNT = "a group without one share for each option"


def read_opinions(name: str) -> Questionnaire:
    """Return the questions of a file with people's answers.

    Raises:
        UserError: it cannot be read, lacks a column, or holds no question.
    """
    records = list(read_file(as_path(name, "source")))
    require_columns(records, COLUMNS)
    items: dict[str, Item] = {}
    dropped = []
    for number, record in enumerate(records, 1):
        where = f"row {number}"
        try:
            item, lost = _read_question(record, number)
            if item.content_id in items:
                raise Drop("duplicate question")
            items[item.content_id] = item
            dropped += [Dropped(id=f"{where}/{group}", reason=WRONG_COUNT) for group in lost]
        except Drop as drop:
            dropped.append(
                Dropped(
                    id=where,
                    reason=drop.reason,
                    detail=drop.detail,
                )
            )
    if not items:
        raise UserError(
            "the file holds no question that can be asked",
            where=name,
            fix=FORMAT,
        )
    title = as_path(name).stem
    return Questionnaire(
        title,
        [*items.values()],
        FORMS["opinions"],
        dropped=dropped,
    )


def _read_question(record: Record, number: int) -> tuple[Item, list[str]]:
    """Return a question, and the groups of people that are left out.

    Raises:
        Drop: it cannot be asked, or no group answered it.
    """
    if record.fault:
        raise Drop(record.fault)
    text, answers, cell = (record.value(column) for column in COLUMNS)
    question = plain_text(text)
    if not question:
        raise Drop("empty question")
    try:
        options = read_options(cell, record.location)
        shares = people_shares(
            answers,
            options,
            record.location,
        )
    except UserError as error:
        raise Drop(error.what) from None
    if not 2 <= len(options.texts) <= MOST_OPTIONS:
        raise Drop(f"not 2 to {MOST_OPTIONS} options")
    if len(set(options.texts)) < len(options.texts):
        raise Drop("an option that is there twice")
    if not shares:
        raise Drop("no group of people answered it")
    check_text("".join([question, *options.texts]))
    parsed = parse_cell(answers)
    lost = [str(name) for name in parsed if str(name) not in shares]
    source = plain_text(record.value("source"))
    return Item(
        str(number),
        question,
        tuple(options.texts),
        (),
        source,
        people=shares,
    ), lost


def similarity(
    model: Sequence[float],
    people: Sequence[float],
    base: float = 2,
) -> float:
    """Return 1 less the Jensen-Shannon distance of two distributions."""
    return 1 - js_distance(
        model,
        people,
        base,
    )


def likelihood(model: Sequence[float], people: Sequence[float]) -> float:
    """Return the mean log-likelihood of people's answers under a model, less their own: nats."""
    total = 0.0
    for share, chance in zip(
        people,
        model,
        strict=True,
    ):
        if share > 0:
            total += share * (math.log(max(chance, LEAST_SHARE)) - math.log(share))
    return total


def by_group(
    items: Sequence[Item], answers: Mapping[str, Sequence[float]], base: float
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Return the similarity and the likelihood of one model, by group and question."""
    similarities: dict[str, dict[str, float]] = {}
    likelihoods: dict[str, dict[str, float]] = {}
    for item in items:
        if item.id in answers:
            for group, shares in item.people.items():
                chances = answers[item.id]
                alike = similarity(
                    chances,
                    shares,
                    base,
                )
                similarities.setdefault(group, {})[item.id] = alike
                likelihoods.setdefault(group, {})[item.id] = likelihood(chances, shares)
    return similarities, likelihoods
