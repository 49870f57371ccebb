"""Stage `evaluate`: what changed from policy to policy, with intervals.

In: one input of Response rows for each policy (or of Revision rows, of which the last counts), all
answering the same prompts. Their order counts: the first is the baseline, and each is compared with
it and, unless they stand `side_by_side`, with the previous one. Also `judge` (a model), its
`examination` (by `examine_judge`), `judgements` (the judge matrix of an earlier step) and `labels`
(what people said of some answers), all optional. Out: one Verdict row for each response; metrics as
`measures`, `judge_agreement`, `instrument/use` and `labels.corrected` describe them; an effect
table, a table of principles and, with labels, a table of the judge corrected.

`ground_truth` names a function (request text, response text) -> object with `violations` (by
dimension), `well_formed`, `on_topic`, `evasive` and `helpful`. Only the dimensions that principles
name count. Without a ground truth, or where no principle names a dimension of it, the judge's Yes
or No takes its place, and the tables say so. Of any model it measures refusals (by phrases, or by
`refusals`, a classifier), the length of answers, and with a judge how many of the helpful
principles the answers to benign requests follow. Of requests whose kind is a principle's id or
dimension, as `write_prompts` makes them to probe a rule, it measures how many answers break that
principle (Sparrow, Glaese et al. 2022, arXiv 2209.14375). The judge answers Yes or No for each
principle, and A or B for win rates. It compares in both orders, and a win needs both to agree (the
conservative policy of Zheng et al. 2023, MT-Bench). Each prompt has one principle for this, drawn
by rendezvous hash.

Answers that were cut off at max_tokens count like all others; the effect table shows their share
where there are any.

Left out: benchmarks and surveys, which are stages of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stages.doubts.words import doubt_words, foresee_words
from stages.evaluation.comparison import IntervalOptions
from stages.evaluation.effect_tables import effect_table, principle_table
from stages.evaluation.ground_truth import doubt_truth, load_truth, truth_identity
from stages.evaluation.inputs import draw, read_policies
from stages.evaluation.instrument.calibration import Calibration
from stages.evaluation.instrument.decision import Decision
from stages.evaluation.instrument.doubt import doubt_about
from stages.evaluation.instrument.use import describe_judge
from stages.evaluation.judge_agreement import pair_agreement, verdict_agreement
from stages.evaluation.labels.asked import Drawn, from_people, from_truth
from stages.evaluation.labels.corrected import (
    correct,
    corrected_table,
    correction_warnings,
)
from stages.evaluation.labels.questions import ANY
from stages.evaluation.labels.threshold import decide
from stages.evaluation.measures import summarise
from stages.evaluation.refusals import RefusalOptions, classify_refusals
from stages.evaluation.verdict_values import Counted, Measured
from stages.evaluation.verdicts import (
    Examination,
    Examined,
    Item,
    JudgeOptions,
    duels_of,
    examine,
    make_items,
)
from stages.guards.errors import UserError
from stages.guards.templates import template_hash
from stages.principles.constitution import Principle, by_subject
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Judgement, Label, Question, Response, Revision, Verdict
from stages.runtime.stage import Kind, Stage
from stages.runtime.typed_config import Count, Names, Text
from stages.text.cut_off import count_cut_off

NO_POLICIES = ("judge", "judgements", "examination", "refusals", "labels")
"""The inputs that are not a policy's responses."""


@dataclass(frozen=True)
class Config(JudgeOptions, IntervalOptions, RefusalOptions):
    constitution: Selection
    """The principles to look at."""
    ground_truth: Text | None = None
    """`module:function`, or null."""
    not_counted: Names = ("helpful", "helpfulness")
    """Principles with one of these tags or dimensions are not part of "any violation"; all others
    are, whatever their tags.
    """
    helpful_kinds: Names = ("helpful", "how_to")
    """The kinds of prompts that are benign.

    The `prompts` stage calls them `helpful`, the embedded world `how_to`.
    """
    harmless_kinds: Names = ()
    """The kinds of prompts that are attacks; empty: all that are not benign."""
    truth_as_labels: Count | None = None
    """Without `labels`: correct the judge by the ground truth of so many prompts, drawn by hash."""
    calibration: Calibration = "when_biased"
    """Which threshold of Yes and No is used: the one that the judge's examination shows, where it
    leans or always; never another one than even odds; or with `labels` the one at which the judge
    counts as many violations as people. Rows always hold its probabilities as they are.
    """


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse an evaluation that nothing could decide."""
    if config.ground_truth is None and not ("judge" in inputs and config.verdicts):
        raise UserError(
            "there is neither a ground truth nor a judge of violations",
            fix="set `ground_truth` to module:function, or give `inputs.judge` a model and leave "
            "`verdicts` on",
        )
    if ("refusals" in inputs) != bool(config.refusal_labels):
        raise UserError(
            "refusals are classified by `inputs.refusals` and `refusal_labels` together",
            fix="set both, or neither: then a list of phrases decides",
        )
    if ("labels" in inputs or config.truth_as_labels) and not (
        "judge" in inputs and config.verdicts
    ):
        raise UserError(
            "there are labels, but no judge that they could correct",
            fix="give `inputs.judge` a model and leave `verdicts` on, or take the labels out",
        )
    if config.calibration == "labels" and not ("labels" in inputs or config.truth_as_labels):
        raise UserError(
            "`calibration: labels` has no labels",
            fix="give `inputs.labels` a step that reads people's labels, or choose `when_biased`",
        )
    if config.truth_as_labels and config.ground_truth is None:
        raise UserError(
            "`truth_as_labels` needs a ground truth",
            fix="set `ground_truth`, or give `inputs.labels` a step that reads people's labels",
        )


def identity(config: Config) -> dict[str, Any]:
    constitution = select(config.constitution)
    counted = _counted(constitution.principles, config)
    templates = (config.verdict_template, config.judge_template)
    return {
        "constitution": constitution.identity("text", "weight", "dimension"),
        "counted": sorted(counted.principles),
        "templates": [template_hash(template) for template in templates],
        "ground_truth_module": truth_identity(config.ground_truth, "evaluate.ground_truth"),
    }


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Look at every response, then compare the policies.

    Raises:
        UserError: there is no policy, a policy has no rows, the policies have no prompt in common,
            or there is neither a ground truth nor a judge.
    """
    where = f"step {context.step!r}"
    policies = read_policies(inputs, NO_POLICIES, where)
    prompts = [{row.prompt_id for row in rows} for rows in policies.values()]
    if not set.intersection(*prompts):
        raise UserError(
            f"the policies {', '.join(policies)} have no prompt in common",
            where=where,
            fix="let their `respond` steps read the same prompts",
        )
    examination = _prepare_examination(config, inputs, context)
    items = make_items(policies, examination, context.seed)
    examined, dropped = examine(items, examination, context)
    if "refusals" in inputs and not context.forecast:
        examined = classify_refusals(examined, inputs["refusals"].model(), config, context)
    measured: dict[str, Measured] = {policy: [] for policy in policies}
    duels = []
    for result in examined:
        response = result.item.response
        measured[result.item.policy].append((response.prompt_id, result.verdict))
        duels += duels_of(result)
    judged = _judged(measured)
    drawn = _draw_labels(config, inputs, judged, examination, context.seed)
    decision, warnings = decide(
        config.calibration, inputs, judged, drawn, examination.counted.principles
    )
    counted = replace(examination.counted, decision=decision)
    intervals = config.intervals(context.seed)
    metrics = summarise(measured, duels, counted, config.side_by_side, intervals)
    metrics["not_counted"] = list(config.not_counted)
    for policy, count in _count_dropped(policies, dropped).items():
        metrics["policies"][policy]["dropped"] = count
        answers = [one.item.response for one in examined if one.item.policy == policy]
        metrics["policies"][policy]["cut_off"] = count_cut_off(answers)
    metrics["judge"] = _judge_metrics(examined, examination, inputs, decision)
    if examination.judge:
        policy_inputs = [inputs[name] for name in policies]
        verdicts = [result.verdict for result in examined]
        metrics["judge"] |= describe_judge(inputs, policy_inputs, verdicts, decision)
    tables = [effect_table(metrics), principle_table(metrics)]
    if drawn:
        rivals = {policy: list(others) for policy, others in metrics["differences"].items()}
        corrected = correct(judged, drawn, counted.principles, decision, rivals, intervals)
        _check_labels(corrected)
        metrics["corrected"] = corrected
        tables.append(corrected_table(corrected, doubt_about("any_violation_judge", metrics)))
        warnings += correction_warnings(corrected)
    return Result(
        rows=[result.verdict for result in examined],
        row_type=Verdict,
        dropped=dropped,
        metrics=metrics,
        tables=tables,
        warnings=[
            *warnings,
            *_doubts(items, examination),
            *_unread_words(inputs, examination),
        ],
    )


STAGE = Stage(
    version=7,
    config=Config,
    run=run,
    optional={
        "judge": Model,
        "judgements": Judgement,
        "refusals": Model,
        "labels": Label,
        "examination": Question,
        "*": Response | Revision,
    },
    least=1,
    gives=Verdict,
    check_inputs=check_inputs,
    calls_generator=True,
    foresee=foresee_words,
    identity=identity,
)


def _prepare_examination(
    config: Config, inputs: dict[str, Artifact], context: Context
) -> Examination:
    where = f"step {context.step!r}"
    truth = load_truth(config.ground_truth, where)
    judge = None
    if "judge" in inputs and (config.verdicts or config.win_rate):
        judge = context.generator(inputs["judge"].model())
    principles = select(config.constitution).principles
    return Examination(principles, _counted(principles, config), truth, judge, config)


def _counted(principles: Sequence[Principle], config: Config) -> Counted:
    not_counted = set(config.not_counted)
    ids = []
    for principle in principles:
        if not_counted.isdisjoint({*principle.tags, principle.dimension}):
            ids.append(principle.id)
    return Counted(
        principles=ids,
        helpful_kinds=set(config.helpful_kinds),
        harmless_kinds=set(config.harmless_kinds),
        probes=by_subject(principles),
    )


def _doubts(items: Sequence[Item], examination: Examination) -> list[str]:
    truth = items[0].truth if items else None
    if truth is None:
        return []
    named = examination.counted.dimensions(truth.violations, examination.principles)
    has_judge = examination.judge is not None and examination.options.verdicts
    return doubt_truth(list(truth.violations), named, has_judge)


def _unread_words(inputs: Mapping[str, Artifact], examination: Examination) -> list[str]:
    if examination.judge is None:
        return []
    return doubt_words(inputs["judge"].model(), examination.principles)


def _count_dropped(
    policies: Mapping[str, Sequence[Response]], dropped: Sequence[Dropped]
) -> dict[str, int]:
    """By policy, how many rows were dropped and how many prompts it did not answer."""
    prompts = {row.prompt_id for rows in policies.values() for row in rows}
    counts = {}
    for policy, rows in policies.items():
        dropped_rows = sum(row.id.startswith(f"{policy}/") for row in dropped)
        answered = {row.prompt_id for row in rows}
        counts[policy] = dropped_rows + len(prompts - answered)
    return counts


def _judge_metrics(
    examined: Sequence[Examined],
    examination: Examination,
    inputs: Mapping[str, Artifact],
    decision: Decision,
) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    if examination.judge:
        metrics["unread"] = sum(result.unread for result in examined)
        if examination.truth and examination.options.verdicts:
            verdicts = [result.verdict for result in examined]
            metrics["verdicts"] = verdict_agreement(verdicts, decision)
    if "judgements" in inputs:
        rows = inputs["judgements"].rows(Judgement)
        metrics["pairs"] = pair_agreement(rows, examination.principles, examination.truth)
    return metrics


def _judged(measured: Mapping[str, Measured]) -> dict[str, list[Verdict]]:
    """By policy, the rows that the judge was asked about."""
    judged = {}
    for policy, rows in measured.items():
        judged[policy] = [verdict for _, verdict in rows if verdict.judged]
    return judged


def _draw_labels(
    config: Config,
    inputs: Mapping[str, Artifact],
    judged: Mapping[str, Sequence[Verdict]],
    examination: Examination,
    seed: int,
) -> Drawn | None:
    """The labels that can correct the judge; None without any, or where it was asked nothing."""
    if not all(judged.values()):
        return None
    if "labels" in inputs:
        texts = {principle.id: principle.text for principle in examination.principles}
        labels = inputs["labels"].rows(Label)
        return from_people(labels, texts, examination.counted.principles)
    if config.truth_as_labels:
        prompts = {row.prompt_id: row for rows in judged.values() for row in rows}
        return from_truth(draw(prompts, config.truth_as_labels, seed, "labels"))
    return None


def _check_labels(corrected: Mapping[str, Any]) -> None:
    if ANY not in corrected["questions"]:
        raise UserError(
            "no label is about an answer of these policies",
            where="labels",
            fix="answers and the wording of the principles must be those that were labelled; draw "
            "a new sample with the stage `label`",
        )
