"""Logs side by side: items matched by id, paired effects, and what the number of items can show.

In: logs, the first is the reference. Out: plain data: an effect for each other log and metric, with
p corrected for all of them together, and the rows that changed. The statistics are those of an
ablation (`statistics/differences`); a comparison uses the items that both logs have.
"""

from collections.abc import (
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import (
    dataclass,
    field,
    replace,
)
from statistics import (
    NormalDist,
    pstdev,
)

from stages.compare.logs.log import Log
from stages.guards.errors import (
    UserError,
    did_you_mean,
)
from stages.statistics.corrections import (
    holm,
    max_t,
)
from stages.statistics.differences import effects
from stages.statistics.effect import Effect
from stages.statistics.formatting import format_plural
from stages.statistics.power import (
    POWER,
    minimum_detectable,
)

HOLM, MAX_T = "holm", "max_t"
MANY_CHANGES = 300
"""Above it, the power of McNemar's exact test is that of the normal approximation within 1 %, and
slow to add up.
"""
METRICS_SHOWN = 8
"""In a note."""
CORRECTIONS = {HOLM: "Holm", MAX_T: "max-T"}
Values = Mapping[str, float]


@dataclass(frozen=True)
class Compared:
    """One log beside the reference, in one metric.

    Args:
        other: the place of the log; the reference is 0.
        before, after: the values of the common items.
        detectable: the smallest true difference that this number of items finds with a chance of
            80 %, after correction; None: none that is possible.
    """

    metric: str
    other: int
    effect: Effect
    before: Values
    after: Values
    detectable: float | None


@dataclass(frozen=True)
class Changed:
    """One item whose value changed."""

    metric: str
    other: int
    item: str
    before: float
    after: float


@dataclass(frozen=True)
class Comparison:
    """All comparisons, and what must be said before them."""

    logs: Sequence[Log]
    rows: Sequence[Compared]
    correction: str
    confidence: float
    notes: list[str] = field(default_factory=list)

    def changed(self) -> Iterator[Changed]:
        """The items that changed, by comparison, the largest change first."""
        for row in self.rows:
            moved = [item for item in row.before if row.before[item] != row.after[item]]
            moved.sort(key=lambda item: -abs(row.after[item] - row.before[item]))
            for item in moved:
                yield Changed(row.metric, row.other, item, row.before[item], row.after[item])


def compare_logs(
    logs: Sequence[Log],
    metrics: Sequence[str] = (),
    correction: str = HOLM,
    confidence: float = 0.95,
) -> Comparison:
    """Compare every log with the first.

    Args:
        metrics: the metrics to compare; none named: all that two logs share.

    Raises:
        UserError: there is one log only, a metric that no two logs share, or no common item.
    """
    if len(logs) < 2:
        raise UserError(
            "one log alone cannot be compared",
            where=str(logs[0].path) if logs else "",
            fix="name two logs or more, the reference first",
        )
    names = _shared_metrics(logs, metrics)
    notes = [f"{log.name}: {remark}" for log in logs for remark in log.remarks()]
    rows = []
    apart: dict[str, list[str]] = {}
    for metric in names:
        for place, other in enumerate(logs[1:], start=1):
            row = _compare(metric, place, logs[0], other, confidence)
            if row:
                rows.append(row)
            elif metric in other.scores:
                apart.setdefault(other.name, []).append(metric)
    if not rows:
        raise _nothing_in_common(logs)
    rows = _correct(rows, correction, 1 - confidence)
    matching = [note for other in logs[1:] for note in _matching(logs[0], other, names)]
    alike = [note for other in logs[1:] for note in _not_alike(logs[0], other)]
    left_out = [_not_compared(logs[0].name, *pair) for pair in apart.items()]
    return Comparison(logs, rows, correction, confidence, left_out + alike + matching + notes)


def _not_compared(reference: str, other: str, metrics: Sequence[str]) -> str:
    rest = len(metrics) - METRICS_SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    return (
        f"{other} and {reference} share fewer than two items with a value of "
        f"{', '.join(metrics[:METRICS_SHOWN])}{more}: not compared"
    )


def _not_alike(reference: Log, other: Log) -> Iterator[str]:
    """Say what measured one of them and not the other."""
    both = reference.measured_by.keys() & other.measured_by.keys()
    different = [name for name in both if reference.measured_by[name] != other.measured_by[name]]
    if different:
        yield (
            f"{other.name} and {reference.name} were not measured alike "
            f"({', '.join(sorted(different))}): a difference may be one of the measurement"
        )


def _shared_metrics(
    logs: Sequence[Log],
    wanted: Sequence[str],
) -> list[str]:
    """The metrics of the first log that another one has, or the wanted ones.

    Raises:
        UserError: there is none, or a wanted one is not among them.
    """
    shared = []
    for metric in logs[0].scores:
        if any(metric in log.scores for log in logs[1:]):
            shared.append(metric)
    if not shared:
        lists = "; ".join(f"{log.name}: {', '.join(list(log.scores)[:8])}" for log in logs)
        raise UserError(
            f"the logs share no metric ({lists})",
            fix="compare logs of the same task and scorer",
        )
    for metric in wanted:
        if metric not in shared:
            raise UserError(
                f"there is no metric {metric!r} in two logs{did_you_mean(metric, shared)}",
                where="--metric",
                fix=f"choose from: {', '.join(shared[:20])}",
            )
    return [metric for metric in shared if not wanted or metric in wanted]


def _compare(
    metric: str, place: int, reference: Log, other: Log, confidence: float
) -> Compared | None:
    """One comparison, not yet corrected; None where fewer than two items are common."""
    before = reference.values(metric)
    after = other.values(metric)
    items = [item for item in before if item in after]
    if len(items) < 2:
        return None
    first = {item: before[item] for item in items}
    second = {item: after[item] for item in items}
    effect = effects({"": first}, {other.name: {"": second}}, confidence)[other.name]
    return Compared(metric, place, effect, first, second, None)


def _nothing_in_common(logs: Sequence[Log]) -> UserError:
    examples = "; ".join(f"{log.name}: {', '.join(list(log.items)[:2])}" for log in logs)
    return UserError(
        f"the logs have fewer than two scored items in common (their ids: {examples})",
        fix="compare logs over the same items of the same task; ids are matched exactly",
    )


def _correct(
    rows: Sequence[Compared],
    correction: str,
    alpha: float,
) -> list[Compared]:
    """Correct every p for all comparisons, and state what each could find."""
    p_values = [row.effect.p for row in rows]
    adjusted = holm(p_values)
    if correction == MAX_T:
        drawn = _joint_flips(rows)
        # a drawn p may fall a little below the exact one
        adjusted = [max(p, least) for p, least in zip(drawn, p_values, strict=True)]
    results = []
    for row, p in zip(rows, adjusted, strict=True):
        effect = replace(row.effect, p_adjusted=p, correction=correction)
        results.append(replace(row, effect=effect, detectable=_detectable(row, len(rows), alpha)))
    return results


def _joint_flips(rows: Sequence[Compared]) -> list[float]:
    """Max-T over all comparisons; where an item is not compared, no flip changes anything."""
    items = list(dict.fromkeys(item for row in rows for item in row.before))
    differences = {}
    for number, row in enumerate(rows):
        column = [row.after[item] - row.before[item] if item in row.before else 0 for item in items]
        differences[str(number)] = column
    by_number = max_t(differences)
    return [by_number[str(number)] for number in range(len(rows))]


def _detectable(
    row: Compared,
    comparisons: int,
    alpha: float,
) -> float | None:
    """The smallest difference found with the chance `POWER` at Holm's first step.

    Of yes/no values by McNemar's test with as many changes as were seen; of others, and of many
    changes, by the normal approximation with the spread that was seen.
    """
    effect = row.effect
    if effect.test == "mcnemar" and effect.discordance * effect.n_prompts <= MANY_CHANGES:
        return minimum_detectable(
            effect.n_prompts,
            base_rate=effect.reference,
            discordance=effect.discordance,
            comparisons=comparisons,
            alpha=alpha,
        )
    changes = [row.after[item] - row.before[item] for item in row.before]
    spread = pstdev(changes)
    normal = NormalDist()
    quantiles = normal.inv_cdf(1 - alpha / comparisons / 2) + normal.inv_cdf(POWER)
    return float(quantiles * spread / len(changes) ** 0.5) if spread else None


def _matching(
    reference: Log,
    other: Log,
    metrics: Sequence[str],
) -> Iterator[str]:
    """What was not matched, or is matched but was asked in other words."""
    first, second = _scored(reference, metrics), _scored(other, metrics)
    common = [item for item in first if item in second]
    if len(common) < max(len(first), len(second)):
        yield (
            f"{format_plural(len(common), 'item')} matched; only in {reference.name}: "
            f"{len(first) - len(common):,}; only in {other.name}: {len(second) - len(common):,}"
        )
    asked = 0
    for item in common:
        texts = [log.items[item].prompt for log in (reference, other) if item in log.items]
        asked += len(set(texts)) > 1
    if asked:
        yield (
            f"{asked:,} of {len(common):,} matched items have other words in their prompt in "
            f"{other.name} (a template, or examples): part of the effect may come from there"
        )
    lacking = [metric for metric in metrics if metric not in other.scores]
    if lacking:
        yield f"{other.name} lacks the metrics {', '.join(lacking)}"


def _scored(
    log: Log,
    metrics: Sequence[str],
) -> dict[str, None]:
    """The items with a value in one of the metrics."""
    return {item: None for metric in metrics for item, _ in log.scores.get(metric, ())}
