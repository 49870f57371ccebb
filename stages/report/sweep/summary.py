"""The table after a sweep, with a line for each variant, and notes on the numbers.

In: a `Comparison`. Out: a rich table, lines of text.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from rich.table import Table

from stages.ablation.compare import CORRECTIONS, Comparison
from stages.ablation.outcomes import is_logits
from stages.ablation.runs import Run, outcome_values, overall_mean
from stages.evaluation.instrument.doubt import explain_mark, mark
from stages.report.sweep.conclusions import SECOND_SEED, conclude
from stages.report.sweep.wording import VIOLATES
from stages.statistics.formatting import (
    NO_VALUE,
    Sign,
    format_estimate,
    format_p_value,
)

OTHERS = 4  # outcomes beside the first one
WIDE = 200  # letters of a terminal with room for all
VERDICT = 3  # its column
PADDING = 3  # letters between columns
NAME = 40  # letters of a variant's name that stay on one line


def summary_table(comparison: Comparison, width: int = WIDE) -> Table:
    """The main outcome with its interval and verdict, and the changes of further outcomes.

    Shares are in points, margins in logits.

    Args:
        width: of the terminal; outcomes for which there is no room are left to the page.
    """
    others = _other_outcomes(comparison)
    table = Table(title=_title(comparison), title_justify="left")
    p = f"p ({CORRECTIONS[comparison.correction]})"
    columns = ["variant", comparison.outcome, p, "verdict", *others]
    longest = max((len(label) for label in comparison.runs), default=0)
    lines = {run.label: _line(comparison, run, others) for run in comparison.runs.values()}
    room = width - 1
    for index, column in enumerate(columns):
        cells = [column, *(line[index - 1] for line in lines.values() if index - 1 < len(line))]
        least = _longest(cells, index == VERDICT) if index else min(NAME, longest, width // 3)
        room -= least + PADDING
        if index > VERDICT and room < 0:
            break
        justify: Literal["left", "right"] = "left" if index in (0, VERDICT) else "right"
        table.add_column(
            column,
            justify=justify,
            overflow="fold",
            min_width=least,
            no_wrap=index not in (0, VERDICT),
        )
    for label, line in lines.items():
        table.add_row(*[label, *line][: len(table.columns)])
    for job in comparison.missing:
        seed = "" if job["seed"] is None else f" seed {job['seed']}"
        error = job["error"].splitlines()[0]
        table.add_row(f"{job['variant']}{seed}", "missing", "", error)
    return table


def _longest(cells: list[str], may_break: bool) -> int:
    """The letters of the longest cell, or word."""
    parts = " ".join(cells).split() if may_break else cells
    return max(map(len, parts))


def _other_outcomes(comparison: Comparison) -> list[str]:
    """The outcomes of further columns; none of single principles or further steps."""
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


def _line(comparison: Comparison, run: Run, others: list[str]) -> list[str]:
    """The line of one variant, without its name."""
    outcome = comparison.outcome
    effect = comparison.effect(outcome, run.label)
    if run.reference == run.label:
        mean = overall_mean(outcome_values(run, outcome))
        text = _format({"value": mean, "low": None}, outcome, sign="")
        text = mark(text, comparison.doubt(outcome))
        return [text if mean is None else f"{text} (its own)", "", "reference"]
    if effect is None:
        return [NO_VALUE]
    conclusion = conclude(comparison, outcome, run.label)
    return [
        mark(_format(effect.plain(), outcome), comparison.doubt(outcome)),
        format_p_value(effect.p_adjusted),
        conclusion.phrase if conclusion else "",
        *(_change(comparison, run, other) for other in others),
    ]


def notes(comparison: Comparison) -> Iterator[str]:
    """Remarks that are needed to read the numbers correctly."""
    if mark_note := explain_mark(comparison.doubts.values()):
        yield f"{mark_note}."
    yield from comparison.notes
    if any(finding.one_seed for finding in comparison.findings[comparison.outcome].values()):
        yield f"{SECOND_SEED}."
    if comparison.level == "labels":
        yield "p is of the claim that more labels change than the margin."


def _format(estimate: Mapping[str, Any], outcome: str, sign: Sign = "+") -> str:
    """`+4.0 [+1.2,+6.8]` in points or logits, or the value alone where there is no interval."""
    if is_logits(outcome):
        return format_estimate(estimate, factor=1, places=2, sign=sign)
    return format_estimate(estimate, sign=sign)


def _change(comparison: Comparison, run: Run, outcome: str) -> str:
    effect = comparison.effect(outcome, run.label)
    if effect is None:
        return NO_VALUE
    text = _format({"value": effect.value, "low": None}, outcome)
    return mark(text, comparison.doubt(outcome))
