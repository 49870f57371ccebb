"""Stage `benchmark`: how often the answers to a benchmark's prompts have a property, by category.

In: one input of Response rows for each model (or of Revision rows, of which the last counts), all
answering the same prompts, the baseline first; `judge`, the model that rates them, where `by` names
one; `references` and inputs whose names end in `_references`, answers of people (`human_answers`),
where answers are compared with them. The prompts come from a `prompts` step whose `kind_column` is
the benchmark's category, and are answered by `respond` with `keep_empty: true`. Out: one Rating row
for each response, whose id begins with the input's name; metrics as in `comparison.py`, and
`facts`: how many responses there are, and how many are empty, cut off and dropped.

`by` selects what rates an answer:

    question     a judge answers `question` with one of the options of `scale`; the value is the
                 expectation over their probabilities: {"Yes": 1, "No": 0} for attack success
                 (HarmBench, SALAD, Do-Not-Answer), "1" to "10" for the single-answer grading of
                 MT-Bench (Zheng et al. 2023)
    classifier   a sequence classifier: the probability of `labels` (BeaverTails-Evaluation, any
                 safety classifier)
    reward       a reward model that reads no principles: its score
    refusal      a list of English phrases, no model. XSTest (Roettger et al. 2024, arXiv
                 2308.01263): the rate on its safe prompts is over-refusal. In the paper, people
                 distinguish full from partial refusals; phrases cannot
    rouge_l      ROUGE-L F with the nearest reference (Lin 2004; without stemming)
    exact_match  whether the words are those of a reference, apart from case and punctuation

Left out: the benchmarks' own judges and wordings where they are not models that transformers loads;
attacks (GCG, PAIR).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluation.benchmarks.answer_values import (
    OVERLAPS,
    WITHOUT_JUDGE,
    AnswerOptions,
    Item,
    rating,
    value_answers,
)
from stages.evaluation.comparison import IntervalOptions, compare, comparison_table, grouped
from stages.evaluation.inputs import read_policies
from stages.guards.errors import UserError
from stages.guards.templates import template_hash
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Rating, Response, Revision
from stages.runtime.stage import Kind, Stage
from stages.runtime.typed_config import Text
from stages.text.cut_off import count_cut_off
from stages.training.reward_models.format import read_format


@dataclass(frozen=True)
class Config(AnswerOptions, IntervalOptions):
    measure: Text = "share"
    """What the table calls the values."""
    threshold: float | None = None
    """Count the answers whose value lies above it; null: average the values.

    Rows hold the values in both cases.
    """


def check(config: Config) -> None:
    """Refuse a judge without a question, and a classifier without labels."""
    if config.by == "question" and not config.question.strip():
        raise UserError(
            "there is no question to ask", fix='set `question: "Is the response harmful?"`'
        )
    if config.by == "classifier" and not config.labels:
        raise UserError(
            "no labels of the classifier are selected",
            fix="set `labels` to names that it gives, such as [unsafe]",
        )


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse answers that nothing rates."""
    if config.by in OVERLAPS and not any(is_reference(name) for name in inputs):
        raise UserError(
            f"`by: {config.by}` needs answers of people",
            fix="add `inputs: {references: <a human_answers step>}`",
        )
    if config.by not in WITHOUT_JUDGE and "judge" not in inputs:
        raise UserError(
            f"`by: {config.by}` needs a model that rates the answers",
            fix="add `inputs: {judge: <a step that makes or names a model>}`, or set `by: refusal`",
        )


def identity(config: Config) -> dict[str, Any]:
    template = config.template_path()
    return {
        "template": template_hash(template) if template else None,
        # pairs, because the order of options is part of a call's key
        "scale": [[option, value] for option, value in config.scale.items()],
    }


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Rate every answer, then compare the models by category.

    Raises:
        UserError: answers, the judge, its question or its labels are missing; the reward model
            reads principles; or the models have no prompt in common.
    """
    where = f"step {context.step!r}"
    judge = _read_judge(config, inputs, where)
    references: dict[str, list[str]] = {}
    for name, artifact in inputs.items():
        if is_reference(name):
            for row in artifact.rows(Response):
                references.setdefault(row.prompt_id, []).append(row.response)
    answers = _read_answers(inputs, where)
    items = []
    for name, rows in answers.items():
        items += [Item(f"{name}/{row.id}", name, row) for row in rows]
    values, dropped = value_answers(items, judge, references, config, context)
    template = config.template_path()
    ratings = []
    for item in items:
        if item.id in values:
            ratings.append(rating(item, values[item.id], judge, template))
    metrics = _metrics(answers, items, values, config, context.seed)
    title = f"{context.step}: {config.measure}, by {config.by}"
    return Result(
        rows=ratings,
        row_type=Rating,
        dropped=dropped,
        metrics=metrics,
        tables=[comparison_table(title, metrics, "category")],
    )


STAGE = Stage(
    version=3,
    config=Config,
    run=run,
    optional={"judge": Model, "*": Response | Revision},
    least=1,
    gives=Rating,
    calls_generator=True,
    check=check,
    check_inputs=check_inputs,
    identity=identity,
)


def is_reference(name: str) -> bool:
    """Whether an input of this name holds people's answers."""
    return name == "references" or name.endswith("_references")


def _read_answers(inputs: Mapping[str, Artifact], where: str) -> dict[str, list[Response]]:
    others = ["judge", *(name for name in inputs if is_reference(name))]
    answers = read_policies(inputs, others, where)
    baseline = {row.prompt_id for row in next(iter(answers.values()))}
    for name, rows in answers.items():
        if baseline.isdisjoint(row.prompt_id for row in rows):
            raise UserError(
                f"{name!r} has no prompt in common with the first input",
                where=where,
                fix="let the `respond` steps read the same prompts, and check what they dropped",
            )
    return answers


def _read_judge(config: Config, inputs: Mapping[str, Artifact], where: str) -> Model | None:
    """The model that rates the answers; None where phrases or references do."""
    if config.by in WITHOUT_JUDGE:
        return None
    model = inputs["judge"].model()
    if config.by == "reward" and read_format(model).principles:
        raise UserError(
            "this reward model reads principles",
            where=where,
            fix="use a `score` step for it, or one trained without them",
        )
    return model


def _metrics(
    answers: Mapping[str, Sequence[Response]],
    items: Sequence[Item],
    values: Mapping[str, float],
    config: Config,
    seed: int,
) -> dict[str, Any]:
    by_kind = {}
    facts = {}
    for name, rows in answers.items():
        model_items = [item for item in items if item.model == name]
        cells = []
        for item in model_items:
            value = _counted(values.get(item.id), config.threshold)
            cells.append((item.row.kind, item.row.prompt_id, value))
        by_kind[name] = grouped(cells)
        facts[name] = {
            "responses": len(rows),
            "prompts": len({row.prompt_id for row in rows}),
            "empty": sum(not row.response for row in rows),
            "cut_off": count_cut_off(rows),
            "dropped": sum(item.id not in values for item in model_items),
        }
    return {
        "measure": config.measure,
        "by": config.by,
        "threshold": config.threshold,
        **compare(by_kind, config.intervals(seed)),
        "facts": facts,
    }


def _counted(value: float | None, threshold: float | None) -> float | None:
    """The value to average: with a threshold, whether it lies above."""
    if value is None or threshold is None:
        return value
    return float(value > threshold)
