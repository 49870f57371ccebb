"""Stage `reward_accuracy`: do reward models follow their principles, side by side?

In: reward models, under any names, the first being the one in question (add one that was trained
on the same pairs without principles, for comparison); `judgements`, the judge matrix of pairs that
no model was trained on; and any number of inputs of held-out Pair rows, whose labels are then a
test too: all together, and each input, each kind of pairs and each of the `sections` alone where
there are several. RewardBench's score (Lambert et al. 2024, arXiv 2403.13787) is the mean of the
sections. Judgements or pairs must be given. Out: metrics, tables, and one Tested row for each
model, test and request, which an ablation compares.

The tests are those of `reward_tests.py`, with Wilson intervals; the first model is compared with
each other one on the same prompts. `ground_truth` (a `module:function` as in `evaluate`) decides
which response is better; without one the judge does, where both its orders agree. Where nothing
prefers a response and there are no pairs, no model is asked, and a warning says so. A cost model's
lower score counts as the better one. Scores are stored in the call store.

Left out: calibration; how much each principle of a list contributes to a score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from stages.evaluation.comparison import IntervalOptions
from stages.evaluation.ground_truth import load_truth, truth_identity
from stages.evaluation.inputs import ReadingOptions
from stages.evaluation.instrument.doubt import doubt_about_preferences
from stages.evaluation.rewards.cells import read_cells
from stages.evaluation.rewards.exam import Exam, examine
from stages.evaluation.rewards.labelled_pairs import (
    SECTION,
    LabelledPair,
    read_labelled_pairs,
)
from stages.evaluation.rewards.lists import agreeing_lists, distractor_lists
from stages.evaluation.rewards.reward_metrics import ModelResult, reward_metrics
from stages.evaluation.rewards.reward_tables import reward_tables
from stages.guards.errors import UserError, refuse_unknown
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Judgement, Pair, Tested
from stages.runtime.stage import Kind, Stage
from stages.runtime.typed_config import Names, NotNegative, SomeNames, Text

UNASKED = (
    "the reward models are not tested: no judgement of a held-out pair prefers a response "
    "(does the judge contradict itself between the orders?)"
)


@dataclass(frozen=True)
class Config(ReadingOptions, IntervalOptions):
    constitution: Selection | None = None
    """The principles to ask about, and the texts of the pairs' principles.

    Null: ask only about pairs without principles.
    """
    held_out: Names = ()
    """Ids of principles that the models were not trained with."""
    ground_truth: Text | None = None
    """`module:function`, or null: the judge matrix is the truth."""
    min_margin: NotNegative = 0.0
    """Without a ground truth, the least margin of the judge, averaged over both orders."""
    sections: dict[Text, SomeNames] | None = None
    """{section: kinds of pairs}: these pairs are counted together, like RewardBench's subsets."""
    list_size: Annotated[int, Field(ge=2, le=1000)] = 3
    """The number of principles in a list."""
    general: Text = "The response should be good."
    """The text under which pairs without principles are shown, as in `reward_model`."""


def check(config: Config) -> None:
    """Refuse held-out principles that the constitution lacks."""
    _read_principles(config, "")


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse a test without a model, or without something to ask it about."""
    kinds = list(inputs.values())
    if Model not in kinds:
        raise UserError(
            "there is no reward model to test", fix="add `inputs: {reward: <a reward_model step>}`"
        )
    if all(kind is Model for kind in kinds):
        raise UserError(
            "there are no pairs to ask about",
            fix="give `inputs.judgements` a judge step over held-out responses under this "
            "constitution, or an input of pairs",
        )


def identity(config: Config) -> dict[str, Any]:
    chosen = config.constitution
    constitution = select(chosen).identity("text", "opposite", "dimension") if chosen else None
    module = truth_identity(config.ground_truth, "reward_accuracy.ground_truth")
    return {"constitution": constitution, "ground_truth_module": module}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Ask every model, then compare the first with the others.

    Raises:
        UserError: there is no reward model or nothing to ask about, an id is unknown, or what
            `score` raises.
    """
    where = f"step {context.step!r}"
    models = _read_models(inputs, where)
    exam = _prepare_exam(config, inputs, context)
    context.release_engines()
    results = {}
    for name, model in models.items():
        results[name] = examine(name, model, exam, config, context)
    metrics = {
        "cells": len(exam.cells),
        "confidence": config.confidence,
        "held_out": list(config.held_out),
        **reward_metrics(results, config.intervals(context.seed)),
        "truth": "ground truth" if config.ground_truth else "judge",
        "doubts": _doubts(config, inputs),
    }
    if not exam.questions():
        return Result(rows=[], row_type=Tested, metrics=metrics, warnings=[UNASKED])
    return Result(
        rows=_rows(results, exam.pairs),
        row_type=Tested,
        metrics=metrics,
        tables=reward_tables(metrics),
    )


STAGE = Stage(
    version=4,
    config=Config,
    run=run,
    optional={"judgements": Judgement, "*": Model | Pair},
    least=1,
    gives=Tested,
    reads_models=True,
    check=check,
    check_inputs=check_inputs,
    identity=identity,
)


def _doubts(config: Config, inputs: Mapping[str, Artifact]) -> dict[str, str]:
    """Why the preferences that decide are no evidence: those of cells, and of labelled pairs."""
    judgements = []
    pairs = []
    for name, artifact in inputs.items():
        if artifact.manifest.rows is None:
            continue
        if name == "judgements":
            judgements.append(artifact)
        else:
            pairs.append(artifact)
    if config.ground_truth:
        judgements = []
    return {
        "cells": doubt_about_preferences(judgements),
        "pairs": doubt_about_preferences(pairs),
    }


def _read_models(inputs: Mapping[str, Artifact], where: str) -> dict[str, Model]:
    steps = {name: step for name, step in inputs.items() if step.manifest.rows is None}
    if not steps:
        raise UserError(
            "there is no reward model to test",
            where=where,
            fix="add `inputs: {reward: <a reward_model step>}`",
        )
    return {name: step.model() for name, step in steps.items()}


def _prepare_exam(config: Config, inputs: Mapping[str, Artifact], context: Context) -> Exam:
    where = f"step {context.step!r}"
    principles = _read_principles(config, where)
    truth = load_truth(config.ground_truth, where)
    judgements: list[Judgement] = []
    pairs: dict[str, list[Pair]] = {}
    for name, artifact in inputs.items():
        if name == "judgements":
            judgements = artifact.rows(Judgement)
        elif artifact.manifest.rows is not None:
            pairs[name] = artifact.rows(Pair)
    cells, undecided = read_cells(judgements, principles, truth, config.min_margin)
    sections = config.sections or {}
    labelled = read_labelled_pairs(
        pairs,
        principles,
        sections,
        config.general,
        where,
    )
    if not cells and not labelled and not undecided:
        raise UserError(
            "there are no pairs to ask about",
            where=where,
            fix="give `inputs.judgements` a judge step over held-out responses under this "
            "constitution, or an input of pairs",
        )
    return Exam(
        cells=cells,
        agreeing=agreeing_lists(cells, config.list_size, context.seed),
        distractors=distractor_lists(cells, undecided, config.list_size, context.seed),
        pairs=labelled,
        held_out=config.held_out,
    )


def _read_principles(config: Config, where: str) -> dict[str, Principle]:
    principles = {}
    if config.constitution:
        for principle in select(config.constitution).principles:
            principles[principle.id] = principle
    refuse_unknown(config.held_out, principles, "held_out: there is no principle", where)
    return principles


def _rows(results: Mapping[str, ModelResult], pairs: Sequence[LabelledPair]) -> list[Tested]:
    """A Tested row for each model, test and request."""
    section_pairs = {pair.unit_of_section: pair.row for pair in pairs}
    rows = []
    for name, result in results.items():
        for test, values in result.tests.items():
            for number, (unit, value) in enumerate(values.items()):
                pair = section_pairs[unit] if test.startswith(SECTION) else None
                prompt_id, kind = (pair.prompt_id, pair.kind) if pair else (unit, "")
                row = Tested(
                    id=f"{name}/{test}/{number}",
                    prompt_id=prompt_id,
                    model=name,
                    test=test,
                    value=value,
                    kind=kind,
                )
                rows.append(row)
    return rows
