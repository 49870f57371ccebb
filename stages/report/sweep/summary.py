"""The one table after a sweep: a line a variant. In: a `Comparison`. Out: a rich table, and notes
on what it leaves out.
"""

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from stages.ablation.compare import CORRECTIONS, Comparison, mean_of, of_outcome
from stages.ablation.outcomes import is_logits
from stages.statistics.equivalence import Finding
from stages.statistics.effect import Effect


def shown(comparison: Comparison) -> Table:
    """The level's outcome with its interval and verdict, and what else changed. Shares in points,
    margins in logits.
    """
    found, first = comparison.effects, comparison.outcome
    others = [o for o in found if o != first and not o.startswith("violates ") and "(" not in o][:4]
    one = next(iter(found.get(first, {}).values()), None)
    unit = "logits" if is_logits(first) else "points"
    told = f"; intervals over {one.n_prompts} {one.over}" if one else ""
    against = (
        "labels other than the full set's"
        if comparison.level == "labels"
        else "against the full set"
    )
    table = Table(
        title=f"Ablation at level {comparison.level}: {first}, {against}, in {unit}{told}",
        title_justify="left",
    )
    p = f"p ({CORRECTIONS[comparison.correction]})"
    for index, column in enumerate(("variant", first, p, "verdict", *others)):
        table.add_column(column, justify="left" if index in (0, 3) else "right", overflow="fold")
    for label, run in comparison.runs.items():
        effect = found.get(first, {}).get(label)
        name = escape(label)
        if run.reference == label:
            mean = mean_of(of_outcome(run, first))
            table.add_row(
                name,
                "-" if mean is None else f"{_number(mean, first, '')} (its own)",
                "",
                "reference",
            )
        elif effect is None:
            table.add_row(name, "-")
        else:
            interval = f"[{_number(effect.low, first)}, {_number(effect.high, first)}]"
            adjusted = f"{effect.p_adjusted:.3f}" if effect.p_adjusted >= 0.001 else "<0.001"
            rest = [_cell(found[o].get(label), o) for o in others]
            verdict = _said(comparison.findings.get(first, {}).get(label))
            table.add_row(
                name, f"{_number(effect.value, first)} {escape(interval)}", adjusted, verdict, *rest
            )
    for lost in comparison.missing:
        seed = "" if lost["seed"] is None else f" seed {lost['seed']}"
        table.add_row(
            escape(f"{lost['variant']}{seed}"), "missing", "", escape(lost["error"].splitlines()[0])
        )
    return table


def notes(comparison: Comparison) -> Iterator[str]:
    """What a reader of the numbers has to know besides."""
    yield from comparison.notes
    if comparison.level == "labels":
        yield "p is of the claim that more labels change than the margin."


def _number(value: float, outcome: str, sign: str = "+") -> str:
    return f"{value:{sign}.2f}" if is_logits(outcome) else f"{100 * value:{sign}.1f}"


def _cell(effect: Effect | None, outcome: str) -> str:
    return "-" if effect is None else _number(effect.value, outcome)


def _said(found: Finding | None) -> str:
    """The verdict; an effect that is there can still be shown to lie within the margin."""
    if found is None:
        return ""
    small = found.differs and found.inside and found.margin is not None
    return f"{found.verdict}, within {100 * (found.margin or 0):g}" if small else found.verdict
