"""Stage `reward_accuracy`: do reward models follow their principles, side by side?

In: reward models, under any names, the first being the one in question (a plain one, trained on the
same pairs without principles, belongs beside it); `judgements`, the judge matrix of pairs that none
was trained on; any further inputs of held-out Pair rows, whose own labels are then a test too: all
together, and each input, each kind of pairs and each of the `sections` by itself where there are
several. RewardBench's score (Lambert et al. 2024, arXiv 2403.13787) is their mean. Something to ask
about is needed. Out: metrics, tables, and one Tested for each model, test and request, which an
ablation compares.

The tests are those of `reward_tests.py`, with Wilson intervals; the first model is compared with
each other one on the same prompts. `ground_truth` decides which side is better where there is one
(a `module:function` as in `evaluate`), and the judge itself otherwise, where both its orders agree.
A cost model's lower score counts as the better one. Scores are
remembered in the call store. Left out: calibration; which principle of a list a score owes itself
to.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.evaluation.ground_truth import load_truth, truth_identity
from stages.evaluation.rewards.reward_tables import reward_tables
from stages.evaluation.rewards.reward_tests import (
    TESTS,
    Cell,
    Lists,
    Question,
    agreeing_lists,
    ask,
    count,
    lone_lists,
    question_of,
    read_cells,
    right,
)
from stages.principles.constitution import Principle
from stages.principles.polarity import wording
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.errors import UserError, did_you_mean
from stages.runtime.rows import Judgement, Pair, Tested
from stages.runtime.settings import machine
from stages.runtime.stage import ANY, Stage
from stages.statistics.paired import by_prompt, paired_difference, share
from stages.training.reward_models.format import read_format
from stages.training.reward_models.stored_scores import stored_scores

PAIRS = "the pairs' labels"
SECTION = "section: "
Cases = dict[str, dict[str, dict[str, float]]]  # principle, "plain" or "negated", prompt


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: the principles to ask about; also where the words of the pairs' principles are.
        null: pairs without principles are the only question.
    held_out: ids of those that the models were not trained with.
    ground_truth: `module:function`, or null: the judge matrix is the truth.
    min_margin: without a ground truth, how sure the judge must be on average.
    sections: {section: kinds of pairs}, whose pairs are counted together, as RewardBench does with
        its subsets.
    list_size: principles at a time in the tests of lists.
    general: what pairs without principles are shown, as in `reward_model`.
    resamples, confidence: of the intervals.
    batch_size: texts at a time.
    """

    constitution: Selection | None = None
    held_out: tuple[str, ...] = ()
    ground_truth: str | None = None
    min_margin: Annotated[float, Field(ge=0)] = 0.0
    sections: dict[str, tuple[str, ...]] | None = None
    list_size: Annotated[int, Field(ge=2)] = 3
    general: str = "The response should be good."
    resamples: Annotated[int, Field(ge=100)] = 2000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    batch_size: Annotated[int, Field(ge=1)] = machine(32)
    dtype: Literal["float32", "bfloat16", "float16"] = machine("float32")


def identity(config: Config) -> dict[str, Any]:
    return {
        "constitution": select(config.constitution).identity("text", "opposite", "dimension")
        if config.constitution
        else None,
        "ground_truth_module": truth_identity(config.ground_truth, "reward_accuracy.ground_truth"),
    }


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Ask every model, then compare the first with the others.

    Raises:
        UserError: no reward model, nothing to ask about, an unknown id, or what `score` raises.
    """
    where = f"step {context.step!r}"
    models = {
        name: artifact.model()
        for name, artifact in inputs.items()
        if artifact.manifest["rows"] is None
    }
    if not models:
        raise UserError(
            "there is no reward model to test",
            where=where,
            fix="add `inputs: {principled: <a reward_model step>, plain: ...}`",
        )
    principles = _principles(config)
    for name in config.held_out:
        if name not in principles:
            hint = did_you_mean(name, list(principles))
            raise UserError(
                f"held_out: there is no principle {name!r}.{hint}", where=where, fix="fix the id"
            )
    truth = load_truth(config.ground_truth, where) if config.ground_truth else None
    rows = inputs["judgements"].rows(Judgement) if "judgements" in inputs else []
    cells, silent = read_cells(rows, principles, truth, config.min_margin)
    given = {
        name: artifact
        for name, artifact in inputs.items()
        if name not in models and name != "judgements"
    }
    labelled = [
        (_tests_of(name, row, given, config), row, question)
        for name, artifact in given.items()
        for row, question in _pair_questions(artifact.rows(Pair), config)
    ]
    _check_sections(
        config, {row.kind for artifact in given.values() for row in artifact.rows(Pair)}, where
    )
    if not cells and not labelled:
        raise UserError(
            "there is nothing to ask the reward models: no cell has a verdict"
            if rows
            else "there are no pairs to ask about",
            where=where,
            fix="give `inputs.judgements` a judge step over held-out responses under this constitution, or an input of pairs",
        )
    agreeing = agreeing_lists(cells, config.list_size, context.seed)
    lone = lone_lists(cells, silent, config.list_size, context.seed)
    context.release_engines()
    values: dict[str, dict[str, dict[str, float]]] = {}
    cases: dict[str, Cases] = {}
    facts: dict[str, Any] = {}
    for name, model in models.items():
        layout = read_format(model)
        questions = _questions(cells, agreeing + lone) + [q for _, _, q in labelled]
        differences, facts[name] = _answers(
            questions, name, model, layout.principles, config, context
        )
        sign = -1.0 if layout.objective == "cost" else 1.0

        def answer(
            question: Question, told: dict[Any, float] = differences, sign: float = sign
        ) -> float:
            return sign * told[_key(question)]

        counted = count(cells, agreeing, lone, set(config.held_out), answer)
        for tests, row, question in labelled:
            for test in tests:
                unit = _in_section(row) if test.startswith(SECTION) else row.prompt_id
                counted.setdefault(test, []).append(
                    (unit, right(answer(question), question.better))
                )
        values[name] = {test: by_prompt(found) for test, found in counted.items() if found}
        cases[name] = _by_principle(cells, answer)
        facts[name] |= _order(agreeing + lone, answer)
    metrics = _metrics(values, cases, facts, cells, config, context)
    metrics["truth"] = "ground truth" if truth else "judge"
    return Result(
        rows=_tested(values, [row for _, row, _ in labelled]),
        row_type=Tested,
        metrics=metrics,
        tables=reward_tables(metrics),
    )


def _in_section(row: Pair) -> str:
    """What a section counts once: a request, for each kind of pairs that has it."""
    return f"{row.kind}: {row.prompt_id}"


def _tested(
    values: Mapping[str, Mapping[str, Mapping[str, float]]], labelled: Sequence[Pair]
) -> list[Tested]:
    """One row for each model, test and request.

    Args:
        values: by model, test, and what the test counts once.
        labelled: the pairs whose own labels are a test.
    """
    sections = {_in_section(row): row for row in labelled}
    rows = []
    for name, tests in values.items():
        for test, found in tests.items():
            for number, (unit, value) in enumerate(found.items()):
                pair = sections[unit] if test.startswith(SECTION) else None
                rows.append(
                    Tested(
                        id=f"{name}/{test}/{number}",
                        prompt_id=pair.prompt_id if pair else unit,
                        model=name,
                        test=test,
                        value=value,
                        kind=pair.kind if pair else "",
                    )
                )
    return rows


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    optional=ANY,
    reads_models=True,
    identity=identity,
)


def _principles(config: Config) -> dict[str, Principle]:
    return {p.id: p for p in select(config.constitution).principles} if config.constitution else {}


def _tests_of(source: str, row: Pair, given: Mapping[str, Artifact], config: Config) -> list[str]:
    """The tests that a pair is part of."""
    sections = [
        f"{SECTION}{name}" for name, kinds in (config.sections or {}).items() if row.kind in kinds
    ]
    by_source = [f"{PAIRS}: {source}"] if len(given) > 1 else []
    return [PAIRS, *by_source, *sections, *([f"{PAIRS}: {row.kind}"] if config.sections else [])]


def _check_sections(config: Config, kinds: Set[str], where: str) -> None:
    for name, wanted in (config.sections or {}).items():
        if not kinds & set(wanted):
            told = f"the section {name!r} holds none of the pairs' kinds"
            raise UserError(
                told,
                where=where,
                fix=f"name some of {', '.join(sorted(kinds)) or 'nothing'}; see `kind_column`",
            )


def _pair_questions(rows: Sequence[Pair], config: Config) -> list[tuple[Pair, Question]]:
    principles = _principles(config)
    found = []
    for row in rows:
        if not principles.keys() >= set(row.principles) or row.label == 0.5:
            continue
        negated = row.negated or [False] * len(row.principles)
        texts = tuple(
            wording(principles[p], n) for p, n in zip(row.principles, negated, strict=True)
        ) or (config.general,)
        better = 1 if row.label > 0.5 else -1
        found.append(
            (row, Question(row.prompt_id, row.prompt, row.chosen, row.rejected, texts, better))
        )
    return found


def _questions(cells: Sequence[Cell], lists: Lists) -> list[Question]:
    asked = [ask(c) for c in cells] + [ask(c, True) for c in cells if c.principle.opposite]
    return asked + [
        question_of(c, shown, c.better) for c, texts, other in lists for shown in (texts, other)
    ]


def _key(question: Question) -> tuple[str, str, str, tuple[str, ...]]:
    return question.prompt_id, question.a, question.b, question.texts


def _answers(
    questions: Sequence[Question],
    name: str,
    model: Any,
    reads: bool,
    config: Config,
    context: Context,
) -> tuple[dict[Any, float], dict[str, Any]]:
    """Differences in score, a less b. A text that does not fit the model's context leaves the
    difference at 0: a tie.
    """
    items = [(q.prompt, text, q.texts if reads else ()) for q in questions for text in (q.a, q.b)]
    scores, counts = stored_scores(model, items, context, config.batch_size, config.dtype, name)
    found, unread = {}, 0
    for index, question in enumerate(questions):
        a, b = scores[2 * index], scores[2 * index + 1]
        unread += a is None or b is None
        found[_key(question)] = 0.0 if a is None or b is None else a - b
    known = [score for score in scores if score is not None]
    return found, {
        "sd": round(pstdev(known), 6) if known else None,
        "unread": unread,
        "scores": counts,
    }


def _by_principle(cells: Sequence[Cell], answer: Any) -> Cases:
    kept: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for cell in cells:
        found = kept.setdefault(cell.principle.id, {"plain": [], "negated": []})
        found["plain"].append((cell.prompt_id, right(answer(ask(cell)), cell.better)))
        if cell.principle.opposite:
            found["negated"].append((cell.prompt_id, right(answer(ask(cell, True)), -cell.better)))
    return {
        name: {kind: by_prompt(values) for kind, values in found.items()}
        for name, found in kept.items()
    }


def _order(lists: Lists, answer: Any) -> dict[str, Any]:
    """How much the order of principles moves the difference in score, and how often it turns the
    verdict.
    """
    if not lists:
        return {"order_shift": None, "order_matters": None}
    both = [
        [answer(question_of(c, shown, c.better)) for shown in (texts, other)]
        for c, texts, other in lists
    ]
    return {
        "order_shift": round(fmean(abs(one - other) for one, other in both), 6),
        "order_matters": round(fmean((one > 0) != (other > 0) for one, other in both), 6),
    }


def _metrics(
    values: dict[str, dict[str, dict[str, float]]],
    cases: dict[str, Cases],
    facts: dict[str, Any],
    cells: Sequence[Cell],
    config: Config,
    context: Context,
) -> dict[str, Any]:
    names = list(values)
    first = names[0]
    own = [test for test in values[first] if test.startswith((PAIRS, SECTION))]
    tests = [
        test
        for test in (*TESTS, *sorted(own, key=lambda test: test.startswith(f"{PAIRS}: ")))
        if test in values[first]
    ]
    sections = [test for test in own if test.startswith(SECTION)]

    def plain(found: dict[str, float]) -> dict[str, Any] | None:
        estimate = share(found, config.confidence)
        return estimate.plain() if estimate else None

    def compare(other: str, test: str) -> dict[str, Any] | None:
        return paired_difference(
            values[other][test],
            values[first][test],
            config.resamples,
            config.confidence,
            context.seed,
        )

    return {
        "cells": len(cells),
        "confidence": config.confidence,
        "held_out": list(config.held_out),
        "models": {
            name: facts[name]
            | {
                "tests": {test: plain(values[name][test]) for test in tests},
                "principles": {
                    p: {kind: plain(f) for kind, f in found.items()}
                    for p, found in cases[name].items()
                },
                "mean_of_sections": fmean(fmean(values[name][s].values()) for s in sections)
                if sections
                else None,
            }
            for name in names
        },
        "differences": {
            other: {test: compare(other, test) for test in tests} for other in names[1:]
        },
    }
