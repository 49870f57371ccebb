"""Stage `combine_ratings`: one score from what a preference model and a rule model say. No calls.

In: `rules` (Rating rows whose `scores` are P(the principle is kept), one a principle: `score` with
a rule model and `each: true`, or `rate` with the scale {"Yes": 1, "No": 0}) and, optional,
`preference` (Rating rows of the same responses, on any scale). Out: a Rating for each response that
both rated, for `best_of`, `rated_pairs` and the like; and a table of how often each rule is more
likely broken than kept.

Sparrow's score for reranking (Glaese et al. 2022, arXiv 2209.14375), for n rules:

    exp(R) / (exp(R) + exp(AVG R)) * (P_1 * ... * P_n) ** (1 / n)

R is the preference score, AVG R its mean over the answers to the request, P_i the probability that
rule i is kept. `rules` names other ways to combine the P_i: their `product`, their `mean`, or the
least (`min`), which a single severe break cannot hide behind the other rules. With `min` and no
preference the score is that of BeaverTails (Ji et al. 2023, arXiv 2307.04657), where an answer is
harmless if it falls into none of the categories.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, geometric_mean
from typing import Any, Literal

from stages.guards.errors import UserError
from stages.preferences.judging.rating import summarise_scores
from stages.preferences.rating_groups import read_rows, refuse_no_probabilities
from stages.runtime.artifacts import Artifact, Result, advise_on_missing
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.rows import Dropped, Rating
from stages.runtime.stage import Stage
from stages.statistics.formatting import format_percent

COMBINED: dict[str, Callable[[Sequence[float]], float]] = {
    "geometric_mean": lambda kept: geometric_mean(kept) if all(kept) else 0.0,
    "product": math.prod,
    "mean": fmean,
    "min": min,
}
ADVICE = (
    "give it a `score` step with a rule model and `each: true`, or a `rate` step with the scale "
    '{"Yes": 1, "No": 0}'
)
MOST = 700.0
"""Of what exp() takes."""


@dataclass(frozen=True)
class Config:
    rules: Literal["geometric_mean", "product", "mean", "min"] = "geometric_mean"
    """How the probabilities of the single rules become one number."""


def run(config: Config, inputs: dict[str, Artifact], context: Context) -> Result:
    """Combine the two ratings of every response.

    Raises:
        UserError: there are no ratings of rules, one is no probability, or a score is no number.
    """
    where = f"step {context.step!r}"
    rules, _ = read_rows({"rules": inputs["rules"]}, lambda row: "")
    if not rules:
        raise UserError(
            "there are no ratings of rules",
            where=where,
            fix=advise_on_missing({"rules": inputs["rules"]}, "give `inputs.rules` a score step"),
        )
    dropped: list[Dropped] = []
    preferences: dict[str, float] | None = None
    if "preference" in inputs:
        rated, _ = read_rows({"preference": inputs["preference"]}, lambda row: "")
        preferences = {row.response_id: row.score for row in rated}
    groups: dict[str, list[Rating]] = {}
    for row in rules:
        refuse_no_probabilities(row, "kept", f"{where}, input 'rules'", ADVICE)
        if preferences is not None and row.response_id not in preferences:
            dropped.append(Dropped(id=row.id, reason="no preference score"))
            continue
        groups.setdefault(row.prompt_id, []).append(row)
    combined = []
    for group in groups.values():
        shares = [1.0] * len(group)
        if preferences is not None:
            shares = preference_shares([preferences[row.response_id] for row in group])
        for row, share in zip(group, shares, strict=True):
            score = share * COMBINED[config.rules](row.scores)
            combined.append(replace(row, score=score))
    metrics = summarise_scores(combined) | {"flagged": flagged(combined)} if combined else {}
    tables = [_table(metrics["flagged"], len(combined), context.step)] if combined else []
    return Result(rows=combined, row_type=Rating, dropped=dropped, metrics=metrics, tables=tables)


STAGE = Stage(
    version=1,
    config=Config,
    run=run,
    inputs={"rules": Rating},
    optional={"preference": Rating},
    gives=Rating,
)


def preference_shares(scores: Sequence[float]) -> list[float]:
    """Return exp(R) / (exp(R) + exp(AVG R)) of each answer to one request."""
    mean = fmean(scores)
    return [1 / (1 + math.exp(min(mean - score, MOST))) for score in scores]


def flagged(rows: Sequence[Rating]) -> dict[str, Any]:
    """Return the share of responses that more likely than not break a rule, any and each."""
    shares: dict[str, list[bool]] = {}
    for row in rows:
        for name, kept in zip(row.principles, row.scores, strict=True):
            shares.setdefault(name, []).append(kept < 0.5)
    return {
        "any": fmean(min(row.scores) < 0.5 for row in rows),
        "principles": {name: fmean(values) for name, values in shares.items()},
    }


def _table(shares: dict[str, Any], count: int, step: str) -> Table:
    names = {"any of them": shares["any"], **shares["principles"]}
    cells = [[name, format_percent(share)] for name, share in names.items()]
    return Table(f"{step}: what {count} answers break, per cent", ["principle", "broken"], cells)
