"""The one table after a sweep, a line for each variant, and notes on what it leaves out.

In: a `Comparison`. Out: a rich table, lines of text.
"""

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from stages.ablation.compare import CORRECTIONS, Comparison
from stages.ablation.outcomes import is_logits
from stages.ablation.runs import Run, mean_of, of_outcome
from stages.report.sweep.wording import VIOLATES
from stages.statistics.equivalence import Finding
from stages.statistics.formatting import (
    NO_VALUE,
    PER_CENT,
    Sign,
    format_p_value,
    format_short,
)

OTHERS = 4  # outcomes beside the first one


def summary_table(comparison: Comparison) -> Table:
    """The level's outcome with its interval and verdict, and what else changed.

    Shares are in points, margins in logits.
    """
    others = _other_outcomes(comparison)
    table = Table(title=_title(comparison), title_justify="left")
    p = f"p ({CORRECTIONS[comparison.correction]})"
    columns = ["variant", comparison.outcome, p, "verdict", *others]
    for index, column in enumerate(columns):
        is_text = index in (0, 3)
        table.add_column(column, justify="left" if is_text else "right", overflow="fold")
    for run in comparison.runs.values():
        table.add_row(escape(run.label), *_cells(comparison, run, others))
    for job in comparison.missing:
        seed = "" if job["seed"] is None else f" seed {job['seed']}"
        error = job["error"].splitlines()[0]
        table.add_row(escape(f"{job['variant']}{seed}"), "missing", "", escape(error))
    return table


def _other_outcomes(comparison: Comparison) -> list[str]:
    """The outcomes of further columns; those of single principles and further steps have none."""
    others = []
    for outcome in comparison.effects:
        special = outcome.startswith(VIOLATES) or "(" in outcome
        if outcome != comparison.outcome and not special:
            others.append(outcome)
    return others[:OTHERS]


def _title(comparison: Comparison) -> str:
    outcome = comparison.outcome
    against = "against the full set"
    if comparison.level == "labels":
        against = "labels other than the full set's"
    unit = "logits" if is_logits(outcome) else "points"
    title = f"Ablation at level {comparison.level}: {outcome}, {against}, in {unit}"
    effects = list(comparison.effects.get(outcome, {}).values())
    if effects:
        title += f"; intervals over {effects[0].n_prompts} {effects[0].over}"
    return title


def _cells(comparison: Comparison, run: Run, others: list[str]) -> list[str]:
    """What stands in one variant's line, beside its name."""
    outcome = comparison.outcome
    effect = comparison.effect(outcome, run.label)
    if run.reference == run.label:
        mean = mean_of(of_outcome(run, outcome))
        own = NO_VALUE if mean is None else f"{_number(mean, outcome, '')} (its own)"
        return [own, "", "reference"]
    if effect is None:
        return [NO_VALUE]
    interval = f"[{_number(effect.low, outcome)}, {_number(effect.high, outcome)}]"
    return [
        f"{_number(effect.value, outcome)} {escape(interval)}",
        format_p_value(effect.p_adjusted),
        _verdict(comparison.finding(outcome, run.label)),
        *(_change(comparison, run, other) for other in others),
    ]


def notes(comparison: Comparison) -> Iterator[str]:
    """What else a reader of the numbers has to know."""
    yield from comparison.notes
    if comparison.level == "labels":
        yield "p is of the claim that more labels change than the margin."


def _number(value: float, outcome: str, sign: Sign = "+") -> str:
    return f"{value:{sign}.2f}" if is_logits(outcome) else f"{PER_CENT * value:{sign}.1f}"


def _change(comparison: Comparison, run: Run, outcome: str) -> str:
    effect = comparison.effect(outcome, run.label)
    return NO_VALUE if effect is None else _number(effect.value, outcome)


def _verdict(finding: Finding | None) -> str:
    """The verdict; an effect that is there can still be shown to lie within the margin."""
    if finding is None:
        return ""
    if finding.differs and finding.inside and finding.margin is not None:
        return f"{finding.verdict}, within {format_short(PER_CENT * finding.margin)}"
    return finding.verdict
