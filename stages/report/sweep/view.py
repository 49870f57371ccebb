"""A comparison as the sweep's report shows it: the first sentence, forests, the attribution map.

In: the `Comparison`, the jobs. Out: plain data and SVG for the template. Shares become points; what
has no unit of shares (`support`, in logits) stays as it is. Good is what the method is for: fewer
violations, more right verdicts; labels that change are neither.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from markupsafe import Markup

from stages.ablation.compare import CORRECTIONS, Comparison
from stages.ablation.jobs import Job
from stages.ablation.outcomes import LOGITS, NONE, is_logits
from stages.report.sweep.charts import Bar, forest, tint
from stages.report.views.effects import percent, signed
from stages.statistics.effect import Effect
from stages.statistics.power import minimum_detectable

FAINT = 0.05  # an effect below it never has the full colour
GOOD = {
    "any_violation": -1, "any_violation_judge": -1, "evasive": -1, "evasive_red_team": -1, "evasive_benign": -1,
    "helpful_benign": 1, "wins": 1, "well_formed": 1, "on_topic": 1,
}  # fmt: skip
NAMES = {
    "any_violation": "violations", "any_violation_judge": "violations (judge)", "evasive": "evasive answers",
    "evasive_red_team": "evasive, attacks", "evasive_benign": "evasive, benign", "helpful_benign": "helpful, benign",
    "well_formed": "well-formed", "on_topic": "on topic", "wins": "duels won",
    "changed": "labels changed", "flipped": "labels turned round", "lost": "labels lost", "gained": "labels gained",
    LOGITS: "support, logits", "all": "right preferences",
}  # fmt: skip
KINDS = {
    "leave_one_out": "one principle left out", "only_one": "one principle alone", "without_tag": "a family left out",
    "only_tag": "a family alone", "sizes": "smaller sets", "opposite": "one principle turned to its opposite",
    "reworded": "one principle in other words", "weights": "one principle's weight changed", "full": "another set",
}  # fmt: skip
SPOKEN = {
    "leave_one_out": "Leaving out {}", "only_one": "Keeping {} alone", "without_tag": "Leaving out the family {}",
    "only_tag": "Keeping the family {} alone", "sizes": "A set of {}", "opposite": "Turning {} to its opposite",
    "reworded": "Rewording {}", "weights": "Another weight of {}", "full": "Taking {}",
}  # fmt: skip
TELLING = (  # what is told first
    "full",
    "leave_one_out", "without_tag", "opposite", "only_tag", "only_one", "sizes", "weights", "reworded",
)  # fmt: skip


def view(
    comparison: Comparison,
    jobs: Sequence[Job],
    margin: float,
    confidence: float,
    texts: Mapping[str, str],
) -> dict[str, Any]:
    """Everything but redundancy, ratings and what was done. `texts`: the principles', by id."""
    first = comparison.outcome
    family = {
        label: e
        for label, e in comparison.effects.get(first, {}).items()
        if comparison.runs[label].kind != NONE
    }
    counted = _counts_labels(comparison.level, first)
    limit = (
        None if counted or is_logits(first) else detectable(list(family.values()), 1 - confidence)
    )
    outcomes = [first, *(o for o in comparison.effects if o != first)]
    return {
        "level": comparison.level,
        "outcome": NAMES.get(first, first),
        "confidence": f"{100 * confidence:g} %",
        "margin": f"{100 * margin:g}",
        "shares": counted,
        "detectable": None if limit is None else f"{100 * limit:.1f}",
        "headline": headline(comparison, family, limit),
        "verdicts": Counter(_verdict(comparison, first, label) for label in family),
        "before": before(comparison),
        "forests": [
            f
            for outcome in outcomes
            if (f := _forest(comparison, outcome, margin, confidence, texts))
        ],
        "kinds": {
            run.kind: KINDS[run.kind] for run in comparison.runs.values() if run.kind in KINDS
        },
        "map": attribution(comparison, outcomes, texts),
        "n": next((e.n_prompts for e in family.values()), 0),
        "seeds": next((e.n_seeds for e in family.values()), len({job.seed for job in jobs})),
        "over": next((e.over for e in family.values()), "prompts"),
        "missing": comparison.missing,
        "notes": comparison.notes,
        "correction": CORRECTIONS[comparison.correction],
    }


def good(outcome: str, level: str) -> int:
    """1 if more of it is good, -1 if less is, 0 if it is neither."""
    if level == "reward":
        return 1
    return -1 if outcome.startswith("violates ") else GOOD.get(outcome.partition(" (")[0], 0)


def mood(effect: Effect, direction: int) -> str:
    """`better` or `worse` where the interval leaves 0 out; `other` if the outcome is neither good
    nor bad.
    """
    side = 1 if effect.low > 0 else -1 if effect.high < 0 else 0
    return (
        "same"
        if not side
        else "other"
        if not direction
        else "better"
        if side == direction
        else "worse"
    )


def detectable(family: Sequence[Effect], alpha: float) -> float | None:
    """The smallest effect found with a chance of 80 %, given what these runs showed of base rate,
    changes and seeds.
    """
    if not family:
        return None
    one = family[0]
    changes = median(e.discordance for e in family) if one.reference > 0 else None
    sds = [e.seed_sd for e in family if e.seed_sd is not None]
    found = minimum_detectable(
        one.n_prompts,
        one.n_seeds,
        base_rate=min(max(one.reference, 0.0), 1.0),
        discordance=changes,
        seed_sd=median(sds) if sds else 0.0,
        comparisons=len(family),
        alpha=alpha,
    )
    return found.effect


def _counts_labels(level: str, outcome: str) -> bool:
    """A share of labels is no difference of two runs, and is set against the margin."""
    return level == "labels" and not is_logits(outcome)


def headline(
    comparison: Comparison, family: Mapping[str, Effect], limit: float | None
) -> dict[str, Any] | None:
    """The largest effect that the correction lets stand, of the most telling kind; or that there is
    none.
    """
    if not family:
        return None
    first = comparison.outcome
    works = [label for label in family if _verdict(comparison, first, label) == "works"]
    what = NAMES.get(first, first)
    if not works:
        told = f"No variant measurably changed {what}"
        if _counts_labels(comparison.level, first):
            told = "No variant is shown to change more of the labels than the margin"
        return {
            "sentence": told,
            "mood": "same",
            "limit": limit and f"{100 * limit:.1f}",
            "change": None,
        }
    kind = min((comparison.runs[label].kind for label in works), key=TELLING.index)
    label = max(
        (w for w in works if comparison.runs[w].kind == kind), key=lambda w: abs(family[w].value)
    )
    run, effect = comparison.runs[label], family[label]
    doing = SPOKEN[run.kind].format(run.target or label.removeprefix("full ")) + (
        " principles" if kind == "sizes" and run.target != "1" else ""
    )
    size = percent(abs(effect.value))
    if is_logits(first):
        so = f"{doing} moves the judge's support by {abs(effect.value):.2f} logits"
        interval = f"{effect.low:+.2f} to {effect.high:+.2f} logits"
        return {
            "sentence": so,
            "mood": "other",
            "change": None,
            "interval": interval,
            "p": "",
            "limit": None,
        }
    if comparison.level == "labels":
        so = f"{doing} changes {size} % of the labels"
    elif comparison.level == "reward":
        so = (
            f"{doing} costs {size} points of right preferences"
            if effect.value < 0
            else f"{doing} wins {size} points"
        )
    else:
        verb = "raises" if effect.value > 0 else "lowers"
        so = f"{doing} {verb} {what} from {percent(effect.reference)} to {percent(effect.mean)} %"
    return {
        "sentence": so,
        "mood": mood(effect, good(first, comparison.level)),
        "change": signed(effect.value),
        "interval": f"{signed(effect.low)} to {signed(effect.high)}",
        "p": "below 0.001" if effect.p_adjusted < 0.001 else f"{effect.p_adjusted:.3f}",
        "limit": limit and f"{100 * limit:.1f}",
    }


def before(comparison: Comparison) -> str:
    """What the whole method did, where the sweep also saw the model before it."""
    for run in comparison.runs.values():
        found = comparison.effects.get(comparison.outcome, {}).get(run.label)
        if run.kind == NONE and found:
            name = NAMES.get(comparison.outcome, comparison.outcome)
            return f"Before the method {name} were at {percent(found.mean)} %, with the full set {percent(found.reference)} %."
    return ""


def _verdict(comparison: Comparison, outcome: str, label: str) -> str:
    found = comparison.findings.get(outcome, {}).get(label)
    return found.verdict if found else ""


def _forest(
    comparison: Comparison, outcome: str, margin: float, confidence: float, texts: Mapping[str, str]
) -> dict[str, Any] | None:
    direction, level = good(outcome, comparison.level), comparison.level
    bars, family = [], []
    for label, effect in comparison.effects.get(outcome, {}).items():
        run, found = comparison.runs[label], comparison.findings.get(outcome, {}).get(label)
        if run.kind == NONE:
            continue
        family.append(effect)
        bars.append(
            Bar(label, run.kind, effect.value, effect.low, effect.high, effect.p_adjusted, found.verdict if found else "",
                bool(found and found.inside), mood(effect, direction), texts.get(run.target, ""))
        )  # fmt: skip
    if not bars:
        return None
    logits = is_logits(outcome)
    limit = None if logits or level == "labels" else detectable(family, 1 - confidence)
    ends = {0: ("less", "more"), 1: ("worse", "better"), -1: ("better", "worse")}[direction]
    if _counts_labels(level, outcome):
        ends = ("fewer", "more")
    kinds = list(KINDS)
    bars.sort(
        key=lambda bar: (
            kinds.index(bar.kind) if bar.kind in kinds else len(kinds),
            -abs(bar.value),
        )
    )
    return {
        "outcome": outcome,
        "name": NAMES.get(outcome, outcome),
        "unit": "logits" if logits else "points",
        "drawing": Markup(
            forest(
                bars,
                None if logits else margin,
                limit,
                ends,
                1 if logits else 100,
                KINDS,
                CORRECTIONS[comparison.correction],
            )
        ),
        "detectable": None if limit is None else f"{100 * limit:.1f}",
    }


def attribution(
    comparison: Comparison, outcomes: Sequence[str], texts: Mapping[str, str]
) -> dict[str, Any]:
    """A row a variant, a column an outcome; a cell without a number's colour holds 0 in its
    interval.

    Each column has its own full colour: the largest effect in it that leaves 0 out, though no less
    than `FAINT`. Outcomes of further steps are left out.
    """
    columns = [o for o in outcomes if " (" not in o and o in comparison.effects]
    runs = [
        run for run in comparison.runs.values() if run.kind != NONE and run.reference != run.label
    ]
    # violations of principles share a scale, so that the diagonal can be read against the rest
    of = {o: "violates" if o.startswith("violates ") else o for o in columns}
    full: dict[str, float] = {}
    for outcome in columns:
        sure = [
            abs(e.value) for e in comparison.effects[outcome].values() if e.low > 0 or e.high < 0
        ]
        full[of[outcome]] = max([full.get(of[outcome], FAINT), *sure])
    rows = []
    for run in runs:
        cells: list[dict[str, Any] | None] = []
        for outcome in columns:
            effect = comparison.effects[outcome].get(run.label)
            if effect is None:
                cells.append(None)
                continue
            told = mood(effect, good(outcome, comparison.level))
            number = (
                f"{effect.value:+.2f}".replace("-", "\u2212")
                if is_logits(outcome)
                else signed(effect.value)
            )
            low, high = (
                f"{v:+.2f}" if is_logits(outcome) else signed(v) for v in (effect.low, effect.high)
            )
            cells.append(
                {
                    "text": number,
                    "style": "" if told == "same" else tint(effect.value, full[of[outcome]], told),
                    "unsure": told == "same",
                    "holm": _verdict(comparison, outcome, run.label) == "works",
                    "own": outcome == f"violates {run.target}",
                    "title": f"{run.label}, {outcome}: {number} ({low} to {high})",
                }
            )
        rows.append(
            {
                "variant": run.label, "kind": run.kind, "verdict": _verdict(comparison, comparison.outcome, run.label),
                "hint": texts.get(run.target, ""), "cells": cells,
            }
        )  # fmt: skip
    heads = [
        {"name": NAMES.get(o, o.removeprefix("violates ")), "violates": o.startswith("violates ")}
        for o in columns
    ]
    return {"columns": heads, "rows": rows, "violates": sum(h["violates"] for h in heads)}
