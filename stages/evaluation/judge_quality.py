"""Stage `judge_quality`: how often a judge prefers what people preferred.

In: `pairs`, Pair rows that people labelled, and more of them under names that end in `_pairs`;
judges under any other names, the first being the baseline; and `principles`, Proposals to judge
under in place of a constitution. Out: one Judgement for each judge, pair
and principle, whose `response_a` is the response that people chose; a table; and metrics,

    models.<judge>   the measures of `judge_measures`, then the accuracy of each kind of pair and
                     under each principle
    differences      of each later judge, on the same prompts
    kappa.<judge>    Cohen's, with a bootstrap interval; a fair coin decides the place of the chosen
                     response
    krippendorff     alpha of all judges' choices, and with people's as one more; null with one
                     judge

Each pair is judged in both orders under a general principle, or under principles of a constitution,
whose margins are then averaged by weight. The prompt is the unit of all intervals but kappa's,
which is over pairs. An accuracy of 0.5 is chance; the agreement of people with each other (63 to
73 % in Bai et al. 2022, arXiv 2204.05862, and others) is the ceiling.

Sources: Zheng et al. 2023 (MT-Bench) and Shi et al. 2024 (arXiv 2406.07791) for agreement,
consistency and first place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.evaluation.comparison import IntervalOptions, compare, comparison_table
from stages.evaluation.inputs import ask_each, draw
from stages.evaluation.judge_measures import (
    alphas_with_intervals,
    kappa_with_interval,
    margins_by_pair,
    measures_by_prompt,
)
from stages.guards.errors import UserError
from stages.guards.templates import template_hash
from stages.preferences.judging.ask import JUDGE_TEMPLATE, MIN_MASS, MinMass
from stages.preferences.judging.ask import compare as compare_responses
from stages.principles.constitution import Principle
from stages.principles.proposed import INPUT, check_source, principles_of
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.models import Model
from stages.runtime.rows import Dropped, Judgement, Pair, Proposal
from stages.runtime.stage import Kind, Stage
from stages.runtime.typed_config import Count, Text
from stages.statistics.formatting import format_estimate


@dataclass(frozen=True)
class Config(IntervalOptions):
    constitution: Selection | None = None
    """Principles to judge under; null: those of the input `principles`, or the general one."""
    general: Text = "The response is helpful, honest and harmless."
    """The principle that is asked about without a constitution."""
    limit: Count | None = None
    """Up to this many pairs, drawn by a hash; null: all."""
    template: str = JUDGE_TEMPLATE
    """The judge's prompt; it is given request, response_a, response_b and principle (text)."""
    min_mass: MinMass = MIN_MASS
    """A pair is dropped where a judge puts less probability than this on A and B together."""


def identity(config: Config) -> dict[str, Any]:
    chosen = config.constitution
    constitution = select(chosen).identity("text", "weight") if chosen else None
    return {"constitution": constitution, "template": template_hash(config.template)}


def check_inputs(config: Config, inputs: Mapping[str, Kind]) -> None:
    """Refuse two sources of principles."""
    if config.constitution:
        check_source(config.constitution, inputs, "judge_quality")


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Ask every judge about every pair.

    Raises:
        UserError: there is no judge, or no pair with a preference.
    """
    principles = _principles(config, inputs)
    sources = [artifact for name, artifact in inputs.items() if _holds_pairs(name)]
    pairs, dropped = _read_pairs(sources, config, context)

    async def ask(name: str, judge: RememberedGenerator, pair: Pair) -> list[Judgement]:
        rows = []
        for principle in principles:
            row = await _judge(name, judge, pair, principle, config)
            rows.append(row)
        return rows

    others = {name: artifact for name, artifact in inputs.items() if name != INPUT}
    judges = {name: artifact for name, artifact in others.items() if not _holds_pairs(name)}
    judgements, dropped_rows = ask_each(judges, pairs, ask, context)
    weights = {principle.id: principle.weight for principle in principles}
    values, margins = {}, {}
    for name, rows in judgements.items():
        values[name] = measures_by_prompt(rows, weights)
        margins[name] = margins_by_pair(rows, weights)
    intervals = config.intervals(context.seed)
    metrics = compare(values, intervals)
    metrics["kappa"] = {name: kappa_with_interval(margins[name], intervals) for name in margins}
    metrics["krippendorff"] = alphas_with_intervals(margins, intervals)
    return Result(
        rows=[row for rows in judgements.values() for row in rows],
        row_type=Judgement,
        dropped=dropped + dropped_rows,
        metrics=metrics,
        tables=[_table(context.step, metrics)],
    )


STAGE = Stage(
    version=4,
    config=Config,
    run=run,
    inputs={"pairs": Pair},
    optional={"*_pairs": Pair, "principles": Proposal, "*": Model},
    least=1,
    gives=Judgement,
    calls_generator=True,
    check_inputs=check_inputs,
    identity=identity,
)


def _principles(config: Config, inputs: Mapping[str, Artifact]) -> tuple[Principle, ...]:
    if config.constitution or INPUT in inputs:
        return principles_of(config.constitution, inputs)
    general = {"id": "general", "text": config.general}
    return (Principle.model_validate(general),)


def _holds_pairs(name: str) -> bool:
    return name == "pairs" or name.endswith("_pairs")


def _read_pairs(
    artifacts: Sequence[Artifact], config: Config, context: Context
) -> tuple[list[Pair], list[Dropped]]:
    """The pairs to ask about, and those without a preference.

    Raises:
        UserError: no pair has a preference.
    """
    pairs, dropped = [], []
    rows = [row for artifact in artifacts for row in artifact.rows(Pair)]
    for row in rows:
        if row.label <= 0.5 or row.chosen == row.rejected:
            dropped.append(Dropped(id=row.id, reason="nothing to prefer"))
        else:
            pairs.append(row)
    if not pairs:
        raise UserError(
            "there is no pair with a preference",
            where=f"step {context.step!r}",
            fix="wire `inputs.pairs` to pairs that people labelled",
        )
    by_id = {pair.id: pair for pair in pairs}
    ids = draw(by_id, config.limit, context.seed, "judged")
    return [by_id[pair_id] for pair_id in ids], dropped


async def _judge(
    name: str,
    judge: RememberedGenerator,
    pair: Pair,
    principle: Principle,
    config: Config,
) -> Judgement:
    margin_ab, margin_ba = await compare_responses(
        judge,
        pair.prompt,
        pair.chosen,
        pair.rejected,
        principle.text,
        config.template,
        config.min_mass,
    )
    return Judgement(
        id=f"{name}/{pair.id}|{principle.id}",
        pair_id=pair.id,
        response_a_id=pair.chosen_id,
        response_b_id=pair.rejected_id,
        prompt_id=pair.prompt_id,
        kind=pair.kind,
        prompt=pair.prompt,
        response_a=pair.chosen,
        response_b=pair.rejected,
        principle=principle.id,
        margin_ab=margin_ab,
        margin_ba=margin_ba,
        model=judge.model.content,
        template=template_hash(config.template),
        finish_reason_a=pair.chosen_finish_reason,
        finish_reason_b=pair.rejected_finish_reason,
    )


def _table(step: str, metrics: Mapping[str, Any]) -> Table:
    title = f"{step}: the judge against people, n prompts"
    table = comparison_table(title, metrics, "measure")
    empty = [""] * (len(table.columns) - 3)
    estimates = {f"kappa, {name}": estimate for name, estimate in metrics["kappa"].items()}
    for raters, estimate in (metrics["krippendorff"] or {}).items():
        estimates[f"Krippendorff's alpha, {raters.replace('_', ' ')}"] = estimate
    for label, estimate in estimates.items():
        text = format_estimate(estimate, factor=1, places=2)
        table.rows.append([label, text, *empty, str(estimate["n"])])
    return table
