"""Stage `conflict_atlas`: which principle wins against which, and whether the file wants it so.

In, under any names: Judgement rows (`judge`), Rating rows of the same answers (a reward model),
Pair rows (labels), Verdict rows (`evaluate`: policies) and Answer rows of `dilemmas` (policies).
Out: metrics,

    apart       by `first > second`: how often the two want different answers, by kind of request,
                and `where` they pull apart
    deciders    by name: what it is, each pair's share for the first, `priorities` (Bradley and
                Terry's strengths), `verdicts` by pair, `agreement` with the stated order
                (Kendall's), `cases`: the share of requests that went as stated, with its interval
                and number, and `verdict` on it
    stated      by pair: `first`, `second`, or "" where the file puts neither first

What the file states, in this order: the level of `authority`, the `weight`, the number in `target`.
A decider's verdict on a pair is *as stated*, *against the file*, *undecided* (its interval includes
one half) or, where the file states nothing, *first wins* or *second wins*.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.evaluation.comparison import Groups, IntervalOptions
from stages.evaluation.conflicts.clashes import (
    Clash,
    apart,
    by_answers,
    by_judge,
    by_labels,
    by_scores,
    clashes_of,
    contests_of,
)
from stages.evaluation.conflicts.contests import (
    AGAINST,
    agreement_of_orders,
    cases_as_stated,
    decisions_of,
    judge,
    pairs,
    standing,
)
from stages.guards.errors import UserError, refuse_unknown
from stages.principles.constitution import AUTHORITIES, Constitution
from stages.principles.select import Selection, select
from stages.runtime.artifacts import Artifact, Result
from stages.runtime.context import Context
from stages.runtime.manifest import Table
from stages.runtime.rows import Answer, Judgement, Pair, Rating, Verdict
from stages.runtime.stage import Stage
from stages.runtime.typed_config import Text
from stages.statistics.formatting import NO_VALUE, format_confidence, format_estimate
from stages.statistics.intervals import Intervals
from stages.statistics.ranking import priorities

AS_STATED = "as stated"
AGAINST_FILE = "against the file"
UNDECIDED = "undecided"
VERDICTS = {
    ("above", "first"): AS_STATED,
    ("below", "second"): AS_STATED,
    ("above", "second"): AGAINST_FILE,
    ("below", "first"): AGAINST_FILE,
    ("above", ""): "first wins",
    ("below", ""): "second wins",
}
KINDS = {
    Judgement: "judge",
    Rating: "reward model",
    Pair: "labels",
    Verdict: "policy",
    Answer: "policy",
}


@dataclass(frozen=True, kw_only=True)
class Config(IntervalOptions):
    """Options of intervals, and of what the file states."""

    constitution: Selection
    target: Text | None = None
    """A named target of the constitution: a higher number goes first."""


def check(config: Config) -> None:
    """Refuse an unknown target."""
    constitution = select(config.constitution)
    if config.target:
        where = f"constitution {constitution.name!r}"
        refuse_unknown(
            [config.target],
            constitution.targets or {},
            "there is no target",
            where,
        )


def identity(config: Config) -> dict[str, Any]:
    ranks = ranks_of(select(config.constitution), config.target)
    return {"constitution": {name: list(rank) for name, rank in ranks.items()}, "target": None}


def run(
    config: Config,
    inputs: dict[str, Artifact],
    context: Context,
) -> Result:
    """Draw the atlas.

    Raises:
        UserError: nothing decides between two principles.
    """
    intervals = config.intervals(context.seed)
    rows: dict[str, list[Any]] = {
        name: list(artifact.rows(*KINDS)) for name, artifact in inputs.items()
    }
    clashes = [clash for each in rows.values() for clash in clashes_of(_only(each, Judgement))]
    found = apart(clashes, config.confidence)
    deciders: dict[str, tuple[str, Groups]] = {}
    for name, each in rows.items():
        for policy, groups in _decide(
            each,
            clashes,
            found,
        ).items():
            deciders[f"{name} {policy}".strip()] = (KINDS[type(each[0])], groups)
    if not any(groups for _, groups in deciders.values()):
        raise UserError(
            "nothing here decides between two principles",
            where=f"step {context.step!r}",
            fix="add a `judge` step with several principles, or a `dilemmas` step",
        )
    ranks = ranks_of(select(config.constitution), config.target)
    names = {pair for _, groups in deciders.values() for pair in groups} | set(found)
    stated = {pair: stated_first(pair, ranks) for pair in sorted(names)}
    metrics: dict[str, Any] = {
        "confidence": config.confidence,
        "apart": {
            pair: {
                "all": each.everywhere.plain() if each.everywhere else None,
                "kinds": {kind: estimate.plain() for kind, estimate in each.kinds.items()},
                "where": each.where,
            }
            for pair, each in found.items()
        },
        "stated": stated,
        "deciders": {},
    }
    for name, (what, groups) in deciders.items():
        metrics["deciders"][name] = _measure(
            what,
            groups,
            stated,
            ranks,
            intervals,
        )
    warnings = []
    for each in rows.values():
        warnings += _doubts(_dilemmas(each), config.confidence)
    return Result(
        metrics=metrics,
        tables=_tables(context.step, metrics),
        warnings=warnings,
    )


STAGE = Stage(
    version=2,
    config=Config,
    run=run,
    optional={"*": Judgement | Rating | Pair | Verdict | Answer},
    least=1,
    check=check,
    identity=identity,
)


def ranks_of(
    constitution: Constitution,
    target: str | None,
) -> dict[str, tuple[float, ...]]:
    """Return, by principle and by dimension, what the file states of it: lower goes first."""
    wanted = (constitution.targets or {})[target] if target else {}
    ranks: dict[str, tuple[float, ...]] = {}
    for principle in reversed(constitution.principles):
        level = len(AUTHORITIES)
        if principle.authority:
            level = AUTHORITIES.index(principle.authority)
        number = wanted.get(principle.dimension or "", 0.0)
        rank = (float(level), -principle.weight, -number)
        if principle.dimension:
            ranks[principle.dimension] = rank
        ranks[principle.id] = rank
    return ranks


def stated_first(
    pair: str,
    ranks: Mapping[str, tuple[float, ...]],
) -> str:
    """Return which of a pair the file puts first: `first`, `second`, or "" for neither."""
    first, second = (ranks.get(name) for name in pair.split(AGAINST))
    if first is None or second is None or first == second:
        return ""
    return "first" if first < second else "second"


def _only(
    rows: list[Any],
    kind: type,
) -> list[Any]:
    return [row for row in rows if isinstance(row, kind)]


def _dilemmas(rows: list[Any]) -> list[Answer]:
    """Return the answers to dilemmas, and none of those to other questions."""
    return [row for row in _only(rows, Answer) if row.values]


def _by_policy(rows: list[Answer]) -> dict[str, list[Answer]]:
    policies: dict[str, list[Answer]] = {}
    for row in rows:
        policies.setdefault(row.policy, []).append(row)
    return policies


def _doubts(
    rows: list[Answer],
    confidence: float,
) -> list[str]:
    """Return what speaks against the choices of each policy in dilemmas."""
    doubts = []
    for policy, each in _by_policy(rows).items():
        decisions = decisions_of(each)
        orders = agreement_of_orders(decisions, confidence)
        _, reasons = judge(
            decisions,
            len(decisions),
            orders,
        )
        if reasons:
            doubts.append(f"the choices of {policy!r} in dilemmas say nothing: {reasons[0]}")
    return doubts


def _decide(
    rows: list[Any],
    clashes: list[Clash],
    found: Any,
) -> dict[str, Groups]:
    """Return the shares of one input, by policy where it holds several."""
    if not rows:
        return {}
    if isinstance(rows[0], Judgement):
        return {"": by_judge(clashes_of(rows))}
    if isinstance(rows[0], Rating):
        return {"": by_scores(clashes, rows)}
    if isinstance(rows[0], Pair):
        return {"": by_labels(clashes, rows)}
    if isinstance(rows[0], Verdict):
        return by_answers(found, rows)
    return {name: pairs(decisions_of(each)) for name, each in _by_policy(_dilemmas(rows)).items()}


def _measure(
    what: str,
    groups: Groups,
    stated: Mapping[str, str],
    ranks: Mapping[str, tuple[float, ...]],
    intervals: Intervals,
) -> dict[str, Any]:
    shares = {pair: intervals.estimate(items) for pair, items in groups.items()}
    verdicts = {}
    for pair, estimate in shares.items():
        verdicts[pair] = VERDICTS.get((standing(estimate), stated[pair]), UNDECIDED)
    cases = cases_as_stated(
        groups,
        stated,
        intervals,
    )
    ranked = priorities(
        contests_of(groups),
        intervals.resamples,
        intervals.confidence,
        intervals.seed,
    )
    return {
        "what": what,
        "pairs": shares,
        "verdicts": verdicts,
        "priorities": {name: estimate.plain() for name, estimate in ranked.items()},
        "agreement": _agreement({name: one.value for name, one in ranked.items()}, ranks),
        "cases": cases,
        "verdict": VERDICTS.get((standing(cases), "first"), UNDECIDED) if cases else None,
    }


def _agreement(
    strengths: Mapping[str, float],
    ranks: Mapping[str, tuple[float, ...]],
) -> float | None:
    """Return Kendall's correlation of a ranking with the stated one; None where it is undefined."""
    from scipy.stats import kendalltau

    names = [name for name in strengths if name in ranks]
    order = sorted({ranks[name] for name in names})
    if len(order) < 2:
        return None
    places = [-order.index(ranks[name]) for name in names]
    found = float(kendalltau([strengths[name] for name in names], places).statistic)
    return None if found != found else found


def _tables(
    step: str,
    metrics: Mapping[str, Any],
) -> list[Table]:
    confidence = format_confidence(metrics["confidence"])
    deciders = metrics["deciders"]
    rows = []
    for pair, stated in metrics["stated"].items():
        apart = metrics["apart"].get(pair, {})
        where = ", ".join(apart.get("where", [])) or NO_VALUE
        row = [
            pair,
            format_estimate(apart.get("all")),
            where,
            stated or NO_VALUE,
        ]
        for each in deciders.values():
            estimate = each["pairs"].get(pair)
            text = format_estimate(estimate)
            row.append(f"{text} {each['verdicts'][pair]}" if estimate else NO_VALUE)
        rows.append(row)
    title = f"{step}: which wins, the first one's share in per cent, {confidence} intervals"
    columns = [
        "pair",
        "want different answers, %",
        "pull apart on",
        "file puts first",
        *deciders,
    ]
    agreement = []
    for name, each in deciders.items():
        counts = [list(each["verdicts"].values()).count(one) for one in (AS_STATED, AGAINST_FILE)]
        tau = NO_VALUE if each["agreement"] is None else f"{each['agreement']:z.2f}"
        order = " > ".join(each["priorities"]) or NO_VALUE
        cases = each["cases"]
        agreement.append(
            [
                name,
                each["what"],
                format_estimate(cases),
                str(cases["n"]) if cases else NO_VALUE,
                each["verdict"] or "the file states no order",
                *map(str, counts),
                tau,
                order,
            ]
        )
    heads = [
        "decider",
        "what",
        "cases as stated, %",
        "cases",
        "verdict",
        f"pairs {AS_STATED}",
        f"pairs {AGAINST_FILE}",
        "Kendall's tau",
        "order",
    ]
    return [
        Table(
            title,
            columns,
            rows,
        ),
        Table(
            f"{step}: against the stated order",
            heads,
            agreement,
        ),
    ]
