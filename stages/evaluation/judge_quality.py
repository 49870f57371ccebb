"""Stage `judge_quality`: how often a judge prefers what people preferred.

In: `pairs`, Pair rows whose labels people gave, and judges under any names, the first being what
the others are compared
with. Out: one Judgement a judge, pair and principle, its `response_a` being what people chose;
metrics and a table:

    models.<judge>       accuracy: both orders' margins averaged, a tie counting half; chosen_first
    and chosen_second: of one
                         order; consistent: accuracy where both orders agree; flips: pairs where
                         they do not; first_place: picks of the response shown first; then the
                         accuracy of each kind of pair and under each principle
    differences          of each later judge, on the same prompts
    kappa.<judge>        Cohen's, chance being an even coin for the place in which the chosen one
    stands; bootstrap interval krippendorff         alpha of all judges' choices, and with people's
    as one more; null with one judge

Each pair is judged in both orders under a general principle, or under principles of a constitution,
whose margins are then averaged by weight. The prompt is the unit of all intervals but kappa's,
which is over pairs. A judge of 0.5 knows nothing; how far people agree with each other (63 to 73 %
in Bai et al. 2022, arXiv 2204.05862, and others) is the ceiling.

Sources: Zheng et al. 2023 (MT-Bench) and Shi et al. 2024 (arXiv 2406.07791) for agreement,
consistency and first place.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from stages.evaluation.asking import ask_each
from stages.evaluation.comparison import compare, comparison_table
from stages.evaluation.measures import score
from stages.principles.constitution import Principle
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Context, Drop
from stages.runtime.errors import UserError
from stages.runtime.rows import Dropped, Judgement, Pair, request_text
from stages.runtime.stage import ANY, Stage
from stages.runtime.store import derive_seed
from stages.runtime.templates import render, template_hash
from stages.statistics.agreement import kappa, krippendorff
from stages.statistics.intervals import by_prompt

MEASURES = ("accuracy", "chosen_first", "chosen_second", "consistent", "flips", "first_place")


@dataclass(frozen=True)
class Config:
    """Args:
    constitution: principles to judge under; null: the general one.
    general: the principle that is asked about without a constitution.
    limit: so many pairs only, drawn by a hash.
    template: the judge's prompt; it is given request, response_a, response_b and principle (text).
    resamples, confidence: of the intervals.
    """

    constitution: Selection | None = None
    general: str = "The response is helpful, honest and harmless."
    limit: Annotated[int, Field(ge=1)] | None = None
    template: str = "preferences/judging/judge.jinja"
    resamples: Annotated[int, Field(ge=100)] = 2000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95


def identity(config: Config) -> dict[str, Any]:
    chosen = select(config.constitution).identity("text", "weight") if config.constitution else None
    return {"constitution": chosen, "template": template_hash(config.template)}


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Ask every judge about every pair.

    Raises:
        UserError: no judge, or no pair with a preference.
    """
    general = Principle.model_validate({"id": "general", "text": config.general})
    principles = select(config.constitution).principles if config.constitution else (general,)
    rows = inputs["pairs"].rows(Pair)
    idle = {row.id for row in rows if row.label <= 0.5 or row.chosen == row.rejected}
    pairs = [row for row in rows if row.id not in idle]
    dropped = [Dropped(id=row.id, reason="nothing to prefer") for row in rows if row.id in idle]
    if config.limit is not None:
        pairs.sort(key=lambda row: (derive_seed(context.seed, "judged", row.id), row.id))
        pairs = pairs[: config.limit]
    if not pairs:
        fix = "wire `inputs.pairs` to pairs that people labelled"
        raise UserError(
            "there is no pair with a preference", where=f"step {context.step!r}", fix=fix
        )

    async def ask(
        name: str, content: str, judge: RememberedGenerator, pair: Pair
    ) -> list[Judgement]:
        return [
            await _judge(name, content, judge, pair, principle, config) for principle in principles
        ]

    judges = {name: artifact for name, artifact in inputs.items() if name != "pairs"}
    found, lost = ask_each(judges, pairs, ask, context)
    weights = {p.id: p.weight for p in principles}
    metrics = compare(
        {name: _measure(cells, weights) for name, cells in found.items()},
        config.resamples,
        config.confidence,
        context.seed,
    )
    metrics["kappa"] = {
        name: _kappa(_margins(cells, weights), config, context.seed)
        for name, cells in found.items()
    }
    metrics["krippendorff"] = _alphas(
        {name: _margins(cells, weights) for name, cells in found.items()}, config, context.seed
    )
    table = comparison_table(
        f"{context.step}: the judge against people, n prompts", metrics, "measure"
    )
    for name, told in metrics["kappa"].items():
        table.rows.append(
            [f"kappa, {name}", _shown(told), *[""] * (len(table.columns) - 3), str(told["n"])]
        )
    for who, told in (metrics["krippendorff"] or {}).items():
        row = f"Krippendorff's alpha, {who.replace('_', ' ')}"
        table.rows.append([row, _shown(told), *[""] * (len(table.columns) - 3), str(told["n"])])
    return Result(
        rows=[cell for cells in found.values() for cell in cells],
        row_type=Judgement,
        dropped=dropped + lost,
        metrics=metrics,
        tables=[table],
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    inputs=("pairs",),
    optional=ANY,
    calls_generator=True,
    identity=identity,
)


async def _judge(
    name: str,
    content: str,
    judge: RememberedGenerator,
    pair: Pair,
    principle: Principle,
    config: Config,
) -> Judgement:
    async def margin(first: str, second: str) -> float:
        text = render(
            config.template,
            request=request_text(pair.prompt),
            response_a=first,
            response_b=second,
            principle=principle.text,
        )
        log_a, log_b = await judge.choose([{"role": "user", "content": text}], ("A", "B"))
        if not math.isfinite(log_a - log_b):
            raise Drop("the judge gave no verdict")
        return log_a - log_b

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
        margin_ab=await margin(pair.chosen, pair.rejected),
        margin_ba=-await margin(pair.rejected, pair.chosen),
        model=content,
        template=template_hash(config.template),
    )


def _margins(cells: list[Judgement], weights: dict[str, float]) -> dict[str, tuple[float, float]]:
    """By pair, the margins of both orders, averaged over its principles."""
    groups: dict[str, list[Judgement]] = {}
    for cell in cells:
        groups.setdefault(cell.pair_id, []).append(cell)
    found = {}
    for pair, group in groups.items():
        total = sum(weights[c.principle] for c in group)
        found[pair] = (
            sum(weights[c.principle] * c.margin_ab for c in group) / total,
            sum(weights[c.principle] * c.margin_ba for c in group) / total,
        )
    return found


def _measure(cells: list[Judgement], weights: dict[str, float]) -> dict[str, dict[str, float]]:
    """By measure and prompt."""
    margins = _margins(cells, weights)
    kinds = {cell.pair_id: cell.kind for cell in cells}
    prompt_ids = {cell.pair_id: cell.prompt_id for cell in cells}
    values: dict[str, list[tuple[str, float | None]]] = {name: [] for name in MEASURES}
    for pair, (first, second) in margins.items():
        agreed = score(first, second)
        told = {
            "accuracy": _right(first + second),
            "chosen_first": _right(first),
            "chosen_second": _right(second),
            "consistent": None if agreed == 0.5 else agreed,
            "flips": float(first * second < 0),
            "first_place": ((first > 0) + (second < 0)) / 2,
        }
        for name, value in told.items():
            values[name].append((prompt_ids[pair], value))
        values.setdefault(f"kind {kinds[pair]}", []).append((prompt_ids[pair], told["accuracy"]))
    for cell in cells:
        values.setdefault(f"principle {cell.principle}", []).append(
            (cell.prompt_id, _right(cell.margin_ab + cell.margin_ba))
        )
    kept = {name: by_prompt(found) for name, found in values.items()}
    for word in ("kind ", "principle "):  # the only one says what `accuracy` says
        if len(alone := [name for name in kept if name.startswith(word)]) == 1:
            del kept[alone[0]]
    return kept


def _right(margin: float) -> float:
    return 0.5 if margin == 0 else float(margin > 0)


def _kappa(margins: dict[str, tuple[float, float]], config: Config, seed: int) -> dict[str, Any]:
    """{value, low, high, n}: the chosen response is put in a place by a coin, so that a judge of
    one place is at 0.
    """
    import numpy as np

    decided = {
        pair: first + second for pair, (first, second) in margins.items() if first + second != 0
    }
    pairs = []
    for pair, margin in decided.items():
        place = derive_seed(seed, "place", pair) % 2
        pairs.append((place, place if margin > 0 else 1 - place))
    value = kappa(pairs)
    if value is None:
        return {"value": None, "low": None, "high": None, "n": len(pairs)}
    draw = np.random.default_rng(seed)
    drawn = []
    for _ in range(min(config.resamples, 500)):
        found = kappa([pairs[i] for i in draw.integers(0, len(pairs), len(pairs))])
        if found is not None:
            drawn.append(found)
    tail = (1 - config.confidence) / 2
    low, high = (float(np.quantile(drawn, q)) for q in (tail, 1 - tail))
    return {"value": value, "low": low, "high": high, "n": len(pairs)}


def _alphas(
    judges: dict[str, dict[str, tuple[float, float]]], config: Config, seed: int
) -> dict[str, dict[str, Any]] | None:
    """Krippendorff's alpha (1970) over pairs, the places dealt by the same coin as for kappa; ties
    are no judgement.
    """
    pairs = list(dict.fromkeys(pair for found in judges.values() for pair in found))
    people = [derive_seed(seed, "place", pair) % 2 for pair in pairs]

    def choices(found: dict[str, tuple[float, float]]) -> list[int | None]:
        sums = [sum(found[pair]) if pair in found else 0.0 for pair in pairs]
        return [
            None if s == 0 else place if s > 0 else 1 - place
            for s, place in zip(sums, people, strict=True)
        ]

    told = [choices(found) for found in judges.values()]
    raters: dict[str, list[Any]] = {"judges": told, "judges_and_people": [*told, people]}
    estimates = {
        who: krippendorff(labels, min(config.resamples, 500), config.confidence, seed)
        for who, labels in raters.items()
        if len(judges) > 1
    }
    return {who: found.plain() for who, found in estimates.items() if found} or None


def _shown(told: dict[str, Any]) -> str:
    return (
        "-"
        if told["value"] is None
        else f"{told['value']:.2f} [{told['low']:.2f},{told['high']:.2f}]"
    )
