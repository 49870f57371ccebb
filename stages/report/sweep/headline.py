"""The first sentence of a sweep's page: its largest effect, or that there is none."""

from collections.abc import Mapping, Sequence

from stages.ablation.compare import Comparison
from stages.ablation.outcomes import NONE, is_logits
from stages.evaluation.instrument.doubt import CANNOT, mark
from stages.report.sweep.conclusions import DIFFERS, ONE_SEED, claim_of, conclude, group_of
from stages.report.sweep.wording import (
    ACTIONS,
    HEADLINE_ORDER,
    LABEL_VERBS,
    counts_labels,
    format_outcome_interval,
    name_of,
    noun_of,
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
    if doubt := comparison.doubt(outcome):
        sentence = f"{CANNOT} what the variants change: {doubt}"
        return {"sentence": sentence, "tone": "same", "change": None}
    shown = [label for label in family if claim_of(comparison, outcome, label) == DIFFERS]
    if not shown:
        return _no_effect(comparison)
    label = _leading_variant(comparison, family, shown)
    action = _action(comparison, label)
    effect = family[label]
    finding = comparison.finding(outcome, label)
    strength = f", {ONE_SEED}" if finding and finding.one_seed else ""
    if is_logits(outcome):
        return _headline_in_logits(action, effect, strength)
    p = format_p_value(effect.p_adjusted)
    conclusion = conclude(comparison, outcome, label)
    return {
        "sentence": f"{action} {_consequence(comparison, effect)}{strength}",
        "tone": conclusion.tone if conclusion else "same",
        "change": format_points(effect.value),
        "interval": format_outcome_interval(effect, outcome),
        "p": p.replace("<", "below"),
    }


def _no_effect(comparison: Comparison) -> View:
    sentence = f"No variant measurably changed {name_of(comparison.outcome)}"
    if counts_labels(comparison.level, comparison.outcome):
        sentence = "No variant is shown to change more of the labels than the margin"
    return {"sentence": sentence, "tone": "same", "change": None}


def _headline_in_logits(action: str, effect: Effect, strength: str) -> View:
    towards = "towards" if effect.value > 0 else "away from"
    size = format_number(abs(effect.value))
    sentence = (
        f"{action} moves the judge's support by {size} logits, {towards} the full set's choices"
        f"{strength}"
    )
    return {"sentence": sentence, "tone": "other", "change": None}


def _leading_variant(
    comparison: Comparison, family: Mapping[str, Effect], shown: Sequence[str]
) -> str:
    """The variant with the largest effect, of the kind that comes first in HEADLINE_ORDER."""
    kinds = {label: comparison.runs[label].kind for label in shown}
    kind = min(kinds.values(), key=HEADLINE_ORDER.index)
    of_kind = [label for label in shown if kinds[label] == kind]
    return max(of_kind, key=lambda label: abs(family[label].value))


def _action(comparison: Comparison, label: str) -> str:
    """What the variant does, as the subject of a sentence; with its group, if there are several."""
    run = comparison.runs[label]
    group = group_of(label)
    action = ACTIONS[run.kind].format(
        run.target or group,
        reference=group_of(run.reference) or "the full set",
        factor=label.partition(" ")[0].rpartition(":")[2],
    )
    if run.kind == "sizes":
        action += " principle" if run.target == "1" else " principles"
    return f"{action} ({group})" if group and run.kind != "full" else action


def _consequence(comparison: Comparison, effect: Effect) -> str:
    outcome = comparison.outcome
    if counts_labels(comparison.level, outcome):
        verbs = LABEL_VERBS[outcome.partition(" (")[0]]
        return verbs.active.format(format_percent(abs(effect.value)))
    verb = "raises" if effect.value > 0 else "lowers"
    before = format_percent(effect.reference)
    after = format_percent(effect.mean)
    return f"{verb} {noun_of(outcome, comparison.level)} from {before} to {after} %"


def describe_method(comparison: Comparison) -> str:
    """The effect of the whole method, if the model before it was measured; otherwise ""."""
    outcome = comparison.outcome
    for run in comparison.runs.values():
        effect = comparison.effect(outcome, run.label)
        if run.kind == NONE and effect:
            doubt = comparison.doubt(outcome)
            before = mark(format_percent(effect.mean), doubt)
            after = mark(format_percent(effect.reference), doubt)
            group = group_of(run.label)
            method = f"the method ({group})" if group else "the method"
            return (
                f"Before {method} {noun_of(outcome, comparison.level)} were at {before} %, "
                f"with the full set {after} %."
            )
    return ""
