"""The first sentence of a sweep's page: its largest effect, or that there is none."""

from collections.abc import Mapping, Sequence

from stages.ablation.compare import Comparison
from stages.ablation.outcomes import NONE, is_logits
from stages.report.sweep.wording import (
    ACTIONS,
    HEADLINE_ORDER,
    counts_labels,
    format_outcome_interval,
    name_of,
    tone_of_effect,
)
from stages.report.views.marks import View
from stages.statistics.effect import Effect
from stages.statistics.formatting import (
    format_number,
    format_p_value,
    format_percent,
    format_points,
)


def sweep_headline(comparison: Comparison, family: Mapping[str, Effect]) -> View | None:
    """The largest effect that stays significant after correction, of the most informative kind.

    Args:
        family: by label the effects of the variants.

    Returns:
        `sentence`, `tone`, `change` (None where there is no change in points), `interval` and `p`;
        None without variants.
    """
    if not family:
        return None
    outcome = comparison.outcome
    works = [label for label in family if comparison.verdict(outcome, label) == "works"]
    if not works:
        return _no_effect(comparison)
    label = _leading_variant(comparison, family, works)
    action = _action(comparison, label)
    effect = family[label]
    if is_logits(outcome):
        return _headline_in_logits(action, effect)
    p = format_p_value(effect.p_adjusted)
    return {
        "sentence": f"{action} {_consequence(comparison, effect)}",
        "tone": tone_of_effect(effect, outcome, comparison.level),
        "change": format_points(effect.value),
        "interval": format_outcome_interval(effect, outcome),
        "p": p.replace("<", "below"),
    }


def _no_effect(comparison: Comparison) -> View:
    sentence = f"No variant measurably changed {name_of(comparison.outcome)}"
    if counts_labels(comparison.level, comparison.outcome):
        sentence = "No variant is shown to change more of the labels than the margin"
    return {"sentence": sentence, "tone": "same", "change": None}


def _headline_in_logits(action: str, effect: Effect) -> View:
    sentence = f"{action} moves the judge's support by {format_number(abs(effect.value))} logits"
    return {"sentence": sentence, "tone": "other", "change": None}


def _leading_variant(
    comparison: Comparison, family: Mapping[str, Effect], works: Sequence[str]
) -> str:
    """The variant with the largest effect, of the kind that comes first in HEADLINE_ORDER."""
    kinds = {label: comparison.runs[label].kind for label in works}
    kind = min(kinds.values(), key=HEADLINE_ORDER.index)
    of_kind = [label for label in works if kinds[label] == kind]
    return max(of_kind, key=lambda label: abs(family[label].value))


def _action(comparison: Comparison, label: str) -> str:
    run = comparison.runs[label]
    action = ACTIONS[run.kind].format(run.target or label.removeprefix("full "))
    several = run.kind == "sizes" and run.target != "1"
    return f"{action} principles" if several else action


def _consequence(comparison: Comparison, effect: Effect) -> str:
    size = format_percent(abs(effect.value))
    if comparison.level == "labels":
        return f"changes {size} % of the labels"
    if comparison.level == "reward":
        if effect.value < 0:
            return f"costs {size} points of right preferences"
        return f"wins {size} points"
    verb = "raises" if effect.value > 0 else "lowers"
    outcome = name_of(comparison.outcome)
    before = format_percent(effect.reference)
    after = format_percent(effect.mean)
    return f"{verb} {outcome} from {before} to {after} %"


def describe_method(comparison: Comparison) -> str:
    """The effect of the whole method, if the model before it was measured; otherwise ""."""
    outcome = comparison.outcome
    for run in comparison.runs.values():
        effect = comparison.effect(outcome, run.label)
        if run.kind == NONE and effect:
            before = format_percent(effect.mean)
            after = format_percent(effect.reference)
            return (
                f"Before the method {name_of(outcome)} were at {before} %, "
                f"with the full set {after} %."
            )
    return ""
