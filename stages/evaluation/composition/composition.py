"""Stage `composition`: do the ways to combine principles agree on one judge matrix?

In: `judgements` (the matrix); `model`, optional: a judge that reads the whole list of principles at
once; Rating rows of the same responses under names that end in `_ratings`, optional: a reward model
that reads them. Out: the Judgements under the whole list, and metrics,

    pairs, prompts   of the matrix
    conflicts        the share of pairs on which two principles prefer different answers
    ways.<way>       decides: the share of pairs with a label; calls: of both orders, for a pair;
                     accuracy.<standard>: against the ground truth, a tie is half right
    agreements       of every two ways, over the pairs that both decide: agree, with its interval
                     over prompts, covered, kappa; `on_conflicts`: the same where principles differ
    mean_agreement   over all two ways, and `on_conflicts`

The ways are those of `ways.py`, then `whole_list` and the names of the ratings. The standards are
of the ground truth alone (`ways.standards_of`): which answers break which principle's dimension,
with the order and the weights that the constitution states.

Clifford, Findeis et al. 2026 (arXiv 2606.30116) found that a judge that reads the list and a vote
of its principles agree in 73 % of pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

from stages.evaluation.comparison import IntervalOptions
from stages.evaluation.composition.ways import (
    Composed,
    compose,
    levels_of,
    sign,
    standards_of,
)
from stages.evaluation.ground_truth import GroundTruth, load_truth, truth_identity
from stages.evaluation.judge_agreement import better_response, right
from stages.guards.templates import template_hash
from stages.preferences import judged_pairs
from stages.preferences.judging.ask import JUDGE_TEMPLATE, MIN_MASS, MinMass
from stages.preferences.judging.ask import compare as compare_responses
from stages.preferences.label_rule import Rule
from stages.preferences.pair_inputs import drop_cut_off_pairs, read_cells
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Judgement, Rating
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Positive, Text
from stages.statistics.formatting import NO_VALUE, format_estimate, format_number, format_percent
from stages.statistics.intervals import Estimate, by_prompt, mean_interval, share
from stages.statistics.redundancy import Agreement, agreements
from stages.text.cut_off import CutOff

WHOLE_LIST = "whole_list"
RATINGS = "_ratings"
ORDERS = 2
STANDARDS = ("unanimous", "priorities", "weights")
Margins = dict[str, dict[str, float]]
"""By pair and way."""


@dataclass(frozen=True)
class Config(IntervalOptions):
    constitution: Selection
    """Which columns of the matrix count, their weights and their authority."""
    orders: Literal["agree", "average", "swap_average"] = "agree"
    """As in `judged_pairs`, like the next two."""
    clip: Positive | None = None
    cut_off: CutOff = "drop"
    ground_truth: Text | None = None
    """`module:function` as in `evaluate`; null: no accuracy."""
    template: str = JUDGE_TEMPLATE
    """The prompt of the judge that reads the whole list."""
    min_mass: MinMass = MIN_MASS
    """A pair has no verdict where the judge puts less probability than this on A and B together."""


def identity(config: Config) -> dict[str, Any]:
    return {
        "constitution": select(config.constitution).identity(
            "text", "weight", "authority", "dimension"
        ),
        "order": [principle.id for principle in select(config.constitution).principles],
        "template": template_hash(config.template),
        "ground_truth_module": truth_identity(config.ground_truth, "composition.ground_truth"),
    }


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Combine the matrix in every way.

    Raises:
        UserError: as `read_cells`.
    """
    where = f"step {context.step!r}"
    principles = select(config.constitution).principles
    by_id = {principle.id: principle for principle in principles}
    rule = Rule(by_id, frozenset(), context.seed, config.orders, config.clip, "mean")
    all_cells = read_cells(inputs["judgements"], set(by_id), where)
    cells, dropped = drop_cut_off_pairs(all_cells, config.cut_off)
    cells = {pair: row for pair, row in cells.items() if row}
    options = judged_pairs.Config(config.constitution, aggregate="salmon", negation=0.0)
    composed = compose(cells, rule, options)
    rows: list[Judgement] = []
    if "model" in inputs:
        rows, unread = _ask_whole_list(
            config,
            principles,
            cells,
            inputs["model"],
            context,
        )
        dropped += unread
        composed[WHOLE_LIST] = {
            row.pair_id: Composed(rule.margins([row])[WHOLE_LIST], 1) for row in rows
        }
    for name, artifact in inputs.items():
        if name.endswith(RATINGS):
            composed[name.removesuffix(RATINGS)] = _rated(artifact.rows(Rating), cells)
    metrics = measure(
        composed,
        cells,
        rule,
        config,
        load_truth(config.ground_truth, where),
    )
    return Result(
        rows=rows,
        row_type=Judgement,
        dropped=dropped,
        metrics=metrics,
        tables=tables(context.step, metrics),
        warnings=doubts(metrics),
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs={"judgements": Judgement},
    optional={"model": Model, "*_ratings": Rating},
    gives=Judgement,
    calls_generator=True,
    identity=identity,
)


def measure(
    composed: Mapping[str, Mapping[str, Composed]],
    cells: Mapping[str, Sequence[Judgement]],
    rule: Rule,
    config: Config,
    truth: GroundTruth | None,
) -> dict[str, Any]:
    """Return the metrics.

    Args:
        composed: by way and pair.
        cells: by pair; none is empty.
    """
    names = list(composed)
    prompts = {pair: row[0].prompt_id for pair, row in cells.items()}
    margins: Margins = {pair: {} for pair in cells}
    for way, labels in composed.items():
        for pair, label in labels.items():
            margins[pair][way] = label.margin
    conflicts = {pair for pair, row in cells.items() if _is_conflict(rule.margins(row))}
    divided = {pair: row for pair, row in margins.items() if pair in conflicts}
    everywhere = agreements(
        margins,
        config.confidence,
        prompts,
        names,
    )
    apart = agreements(
        divided,
        config.confidence,
        prompts,
        names,
    )
    right_sides = _right_sides(cells, rule, truth) if truth else {}
    ways = {}
    for way, labels in composed.items():
        decided = [(prompts[pair], float(label.margin != 0)) for pair, label in labels.items()]
        ways[way] = {
            "decides": _plain(share(by_prompt(decided), config.confidence)),
            "calls": ORDERS * fmean(label.cells for label in labels.values()) if labels else None,
            "accuracy": _accuracies(
                labels,
                right_sides,
                prompts,
                config.confidence,
            ),
        }
    return {
        "pairs": len(cells),
        "prompts": len(set(prompts.values())),
        "conflicts": len(conflicts) / len(cells) if cells else None,
        "ways": ways,
        "agreements": [
            _agreement(one, other) for one, other in zip(everywhere, apart, strict=True)
        ],
        "mean_agreement": _mean_agreement(
            margins,
            prompts,
            names,
            config,
        ),
        "mean_agreement_on_conflicts": _mean_agreement(
            divided,
            prompts,
            names,
            config,
        ),
    }


def doubts(metrics: Mapping[str, Any]) -> list[str]:
    """Return a warning for each way that decides too little to be compared."""
    warnings = []
    for way, facts in metrics["ways"].items():
        decides = facts["decides"]
        if decides is None or decides["value"] < 0.5:
            shown = format_percent(decides["value"] if decides else 0.0)
            warnings.append(
                f"{way} decides {shown} % of the pairs: its agreement is over these alone"
            )
    return warnings


def tables(step: str, metrics: Mapping[str, Any]) -> list[Table]:
    """Return the ways, then the matrix of their agreement."""
    names = list(metrics["ways"])
    columns = ["way", "decides, %", "calls a pair", *(f"right: {name}, %" for name in STANDARDS)]
    rows = []
    for way, facts in metrics["ways"].items():
        accuracy = [format_estimate(facts["accuracy"].get(name)) for name in STANDARDS]
        calls = format_number(facts["calls"], 1, missing=NO_VALUE)
        rows.append([way, format_estimate(facts["decides"]), calls, *accuracy])
    cells = {(each["first"], each["second"]): each["agree"] for each in metrics["agreements"]}
    matrix = []
    for place, name in enumerate(names[1:], 1):
        row = [format_estimate(cells[other, name], places=0) for other in names[:place]]
        matrix.append([name, *row, *[""] * (len(names) - 1 - place)])
    mean = format_estimate(metrics["mean_agreement"])
    divided = format_estimate(metrics["mean_agreement_on_conflicts"])
    title = f"{step}: agreement, %; the mean is {mean}, where principles differ {divided}"
    return [
        Table(f"{step}: {metrics['pairs']} pairs, {metrics['prompts']} prompts", columns, rows),
        Table(title, ["way", *names[:-1]], matrix),
    ]


@dataclass(frozen=True)
class _Question:
    id: str
    cell: Judgement


def _ask_whole_list(
    config: Config,
    principles: Sequence[Principle],
    cells: Mapping[str, Sequence[Judgement]],
    judge: Artifact,
    context: Context,
) -> tuple[list[Judgement], list[Dropped]]:
    model = judge.model()
    generator = context.generator(model)
    text = whole_list(principles)
    template = template_hash(config.template)

    async def ask(question: _Question) -> Judgement:
        cell = question.cell
        margin_ab, margin_ba = await compare_responses(
            generator,
            cell.prompt,
            cell.response_a,
            cell.response_b,
            text,
            config.template,
            config.min_mass,
        )
        return Judgement(
            id=question.id,
            pair_id=cell.pair_id,
            response_a_id=cell.response_a_id,
            response_b_id=cell.response_b_id,
            prompt_id=cell.prompt_id,
            kind=cell.kind,
            prompt=cell.prompt,
            response_a=cell.response_a,
            response_b=cell.response_b,
            principle=WHOLE_LIST,
            margin_ab=margin_ab,
            margin_ba=margin_ba,
            model=model.content,
            template=template,
        )

    questions = [_Question(f"{pair}|{WHOLE_LIST}", row[0]) for pair, row in cells.items()]
    return context.map(questions, ask)


def whole_list(principles: Sequence[Principle]) -> str:
    """Return all principles as one text, those of the highest level first."""
    by_id = {principle.id: principle.text for principle in principles}
    return " ".join(by_id[name] for level in levels_of(principles) for name in level)


def _rated(
    ratings: Sequence[Rating], cells: Mapping[str, Sequence[Judgement]]
) -> dict[str, Composed]:
    """What a rating of single answers prefers; pairs without two ratings are left out."""
    scores = {row.response_id: row.score for row in ratings}
    composed = {}
    for pair, row in cells.items():
        sides = (row[0].response_a_id, row[0].response_b_id)
        if all(side in scores for side in sides):
            composed[pair] = Composed(scores[sides[0]] - scores[sides[1]], 1)
    return composed


def _right_sides(
    cells: Mapping[str, Sequence[Judgement]], rule: Rule, truth: GroundTruth
) -> dict[str, dict[str, int]]:
    """By pair and standard, the better answer by the ground truth."""
    levels = levels_of(list(rule.principles.values()))
    sides_of = {}
    for pair, row in cells.items():
        sides = {}
        for name, principle in rule.principles.items():
            side = better_response(row[0], principle.dimension, truth)
            if side is not None:
                sides[name] = side
        sides_of[pair] = standards_of(sides, rule, levels)
    return sides_of


def _accuracies(
    labels: Mapping[str, Composed],
    right_sides: Mapping[str, Mapping[str, int]],
    prompts: Mapping[str, str],
    confidence: float,
) -> dict[str, Any]:
    if not right_sides:
        return {}
    accuracies = {}
    for standard in STANDARDS:
        values = []
        for pair, label in labels.items():
            better = right_sides[pair][standard]
            if better:
                values.append((prompts[pair], right(label.margin, better)))
        accuracies[standard] = _plain(share(by_prompt(values), confidence))
    return accuracies


def _mean_agreement(
    margins: Margins, prompts: Mapping[str, str], names: Sequence[str], config: Config
) -> dict[str, Any] | None:
    """The mean over all two ways, with an interval over prompts."""
    values = []
    for pair, row in margins.items():
        signs = [sign(row[name]) for name in names if row.get(name)]
        if len(signs) > 1:
            same = [one == other for one, other in combinations(signs, 2)]
            values.append((prompts[pair], fmean(same)))
    averages = list(by_prompt(values).values())
    return _plain(mean_interval(averages, config.resamples, config.confidence))


def _agreement(everywhere: Agreement, apart: Agreement) -> dict[str, Any]:
    return {
        "first": everywhere.first,
        "second": everywhere.second,
        "pairs": everywhere.both,
        "agree": _plain(everywhere.agree),
        "covered": _plain(everywhere.covered),
        "kappa": everywhere.kappa,
        "on_conflicts": _plain(apart.agree),
    }


def _is_conflict(margins: Mapping[str, float]) -> bool:
    return len({sign(margin) for margin in margins.values()} - {0}) > 1


def _plain(estimate: Estimate | None) -> dict[str, Any] | None:
    return estimate.plain() if estimate else None
