"""What the report shows of an evaluation's metrics (see `measures`): sentences, values, marks.

In: the metrics of one `evaluate` artifact. Out: plain data for the template. Shares become per
cent, differences percentage points. A change counts as better or worse only if its interval
excludes 0.
"""

from collections.abc import Sequence

from stages.evaluation.effect_tables import describe_counted
from stages.evaluation.instrument.doubt import CANNOT, doubt_about, explain_mark, mark
from stages.evaluation.labels.questions import ANY
from stages.evaluation.measures import headline_policy, previous_policy, shown_measures
from stages.report.evidence.instrument import mean_probability, remarks_on_judge
from stages.report.evidence.verdicts import principle_rows, scale_of_bars, sources_of
from stages.report.views.charts import trade_off
from stages.report.views.marks import (
    Metrics,
    View,
    mark_change,
    place_estimate,
    tone_of_change,
)
from stages.statistics.formatting import (
    PER_CENT,
    format_number,
    format_percent,
    format_percent_range,
    format_points,
    format_points_range,
)

EFFECTS = {
    "any_violation": ("Violations", -1),
    "probed_violation": ("Violations of the probed principle", -1),
    "evasive": ("Evasive", -1),
    "refused_benign": ("Refuses benign requests", -1),
    "helpful_benign": ("Helpful on benign requests", 1),
    "follows_helpful": ("Helpful on benign requests, by the judge", 1),
    "well_formed": ("Well-formed", 1),
    "on_topic": ("On topic", 1),
}
"""By measure: its heading, and 1 if more of it is good or -1 if less is.

Those are shown that were measured (`shown_measures`).
"""
BESIDE = {
    "any_violation": {
        "any_violation_judge": "the judge says",
        "violation_probability": "its mean probability",
    },
    "evasive": {"evasive_red_team": "attacks", "evasive_benign": "benign"},
    "refused_benign": {"refused_red_team": "attacks"},
}
"""The small print under a measure."""
VERBS = {"better": "fell", "worse": "rose", "same": "did not measurably change:"}


def evaluation_view(
    step: str,
    metrics: Metrics,
    texts: dict[str, str],
) -> View:
    """The data of one evaluation for the template; `texts` are the principles' texts by id."""
    names = list(metrics["policies"])
    return {
        "step": step,
        "policies": names,
        "ends": (names[0], headline_policy(metrics)),
        "above": names[0] if metrics.get("side_by_side") else "the policy above",
        "metrics": metrics,
        "by": _measured_by(metrics),
        "counted": describe_counted(metrics).capitalize(),
        "doubt": explain_mark([doubt_about(measure, metrics) for measure in _columns(metrics)]),
        "doubt_about_judge": explain_mark([doubt_about("any_violation_judge", metrics)]),
        "doubt_about_wins": explain_mark([doubt_about("wins", metrics)]),
        "headline": violations_headline(metrics),
        "instrument": remarks_on_judge(metrics),
        "effects": [_effect_row(metrics, index) for index in range(len(names))],
        "columns": [EFFECTS[measure] for measure in _columns(metrics)],
        "trade_off": _trade_off(metrics),
        "win_rates": _win_rates(metrics),
        "principles": principle_rows(metrics, texts),
        "views": sources_of(metrics),
        "full": scale_of_bars(metrics),
    }


def _measured_by(metrics: Metrics) -> str:
    if metrics["measured_by"] == "truth":
        return "ground truth"
    whose = "the judge and labels" if metrics.get("corrected") else "the judge alone"
    return f"{whose} (no ground truth speaks of these principles)"


def violations_headline(metrics: Metrics) -> View | None:
    """The first sentence: violations of the last policy against the first.

    It claims a change only if the interval excludes 0, and states no rate that the judge cannot
    carry. Where the judge alone measures and labels correct it, the corrected change is stated.
    """
    first = next(iter(metrics["policies"]))
    last = headline_policy(metrics)
    was = metrics["policies"][first]["measures"]
    now = metrics["policies"][last]["measures"]
    rate = now["any_violation"]
    if not rate or not was["any_violation"]:
        return None
    if corrected := _corrected_headline(metrics, first, last):
        return corrected
    if doubt := doubt_about("any_violation", metrics):
        return {
            "last": last,
            "sentence": f"{CANNOT} whether violations changed: {doubt}",
            "change": None,
            "n": rate["n"],
        }
    if first == last:
        return {
            "last": last,
            "sentence": f"{format_percent(rate['value'])} % of the responses break a principle",
            "change": None,
            "n": rate["n"],
        }
    difference = metrics["differences"][last][first]["measures"]["any_violation"]
    change = mark_change(difference, -1)
    if change is None:
        return None
    start = format_percent(difference["before"])
    end = format_percent(difference["after"])
    beside = [_other_measures(was, now, _columns(metrics))]
    if metrics["measured_by"] == "judge":
        beside.append(mean_probability(metrics, first, last))
    return {
        "first": first,
        "last": last,
        "sentence": f"Violations {VERBS[change['tone']]} from {start} % to {end} %",
        "change": change,
        "n": difference["n"],
        "beside": "; ".join(filter(None, beside)),
    }


def _corrected_headline(metrics: Metrics, first: str, last: str) -> View | None:
    """The rate or the change by prediction-powered inference; None without labels for it."""
    corrected = metrics.get("corrected")
    if not corrected or metrics["measured_by"] == "truth":
        return None
    whose = f"labels of {'people' if corrected['source'] == 'people' else 'the ground truth'}"
    question = corrected["questions"][ANY]
    if first == last:
        rate = question["rates"][last]["ppi"]
        if not rate:
            return None
        interval = format_percent_range(rate["low"], rate["high"])
        sentence = f"{format_percent(rate['value'])} % of the responses break a principle"
        sentence += f" ({interval}), corrected by {rate['labels']} {whose}"
        return {"last": last, "sentence": sentence, "change": None, "n": rate["n"]}
    change = question["differences"][last][first]["ppi"]
    if not change:
        return None
    tone = tone_of_change(change["low"], change["high"], -1)
    size = "" if tone == "same" else f" by {format_percent(abs(change['value']))} points"
    return {
        "first": first,
        "last": last,
        "sentence": f"Violations {VERBS[tone].rstrip(':')}{size}, "
        f"corrected by {change['labels']} {whose}",
        "change": {
            "text": format_points(change["value"]),
            "interval": format_points_range(change["low"], change["high"]),
            "tone": tone,
        },
        "n": change["n"],
        "beside": "",
    }


def _other_measures(was: Metrics, now: Metrics, measures: Sequence[str]) -> str:
    """The shares of all measures but violations, before and after."""
    parts = []
    for measure in measures:
        label, _ = EFFECTS[measure]
        earlier = was[measure]
        later = now[measure]
        if measure == "any_violation" or not earlier or not later:
            continue
        start = format_percent(earlier["value"])
        end = format_percent(later["value"])
        parts.append(f"{label.lower()} {start} to {end} %")
    return "; ".join(parts)


def _effect_row(metrics: Metrics, index: int) -> View:
    """One policy: its estimates, and their changes against the policy before."""
    name = list(metrics["policies"])[index]
    facts = metrics["policies"][name]
    earlier: Metrics = {}
    changes: Metrics = {}
    differences: Metrics = {}
    if index:
        rival = previous_policy(metrics, name)
        earlier = metrics["policies"][rival]["measures"]
        differences = metrics["differences"][name][rival]
        changes = differences["measures"]
    cells: list[View | None] = []
    for measure in _columns(metrics):
        _, good = EFFECTS[measure]
        estimate = facts["measures"][measure]
        if estimate is None:
            cells.append(None)
            continue
        ghost = earlier.get(measure)
        doubt = doubt_about(measure, metrics)
        cells.append(
            {
                **place_estimate(estimate, doubt=doubt),
                "ghost": PER_CENT * ghost["value"] if ghost else None,
                "change": mark_change(changes.get(measure), good, doubt),
                "beside": _small_print(metrics, name, measure),
            }
        )
    return {
        "policy": name,
        "index": index,
        "cells": cells,
        "responses": facts["responses"],
        "dropped": facts["dropped"],
        "cut_off": facts.get("cut_off", 0),
        "words": _describe_words(facts["words"], differences.get("words")),
    }


def _columns(metrics: Metrics) -> list[str]:
    """The measures that the table shows, in its order.

    What was measured of no policy has no column. What only a ground truth can see gives way to a
    measure of the same kind that needs none.
    """
    return shown_measures(metrics, list(EFFECTS))


def _describe_words(words: Metrics, change: Metrics | None) -> str:
    """The length of a policy's answers, in words, and its change with the interval.

    Args:
        words: the estimate.
        change: the difference against the policy above, if there is one.
    """
    number = format_number(words["value"], 0)
    text = f"{number} words an answer"
    if change is None:
        return text
    value = format_number(change["value"], 1, "+")
    low = format_number(change["low"], 1, "+")
    high = format_number(change["high"], 1, "+")
    return f"{text} ({value}, {low} to {high})"


def _small_print(
    metrics: Metrics,
    name: str,
    measure: str,
) -> str:
    measures = metrics["policies"][name]["measures"]
    parts = []
    for other, text in BESIDE.get(measure, {}).items():
        if other == "any_violation_judge" and metrics["measured_by"] == "judge":
            continue
        if estimate := measures.get(other):
            share = mark(format_percent(estimate["value"]), doubt_about(other, metrics))
            parts.append(f"{text} {share} ({estimate['n']})")
    return ", ".join(parts)


def _trade_off(metrics: Metrics) -> str:
    """Violations against evasive answers; nothing for a single policy."""
    points = []
    for name, facts in metrics["policies"].items():
        violations = facts["measures"]["any_violation"]
        evasive = facts["measures"]["evasive"]
        if violations and evasive:
            points.append((name, violations, evasive))
    if len(points) < 2:
        return ""
    return trade_off(points, mark("violations", doubt_about("any_violation", metrics)), "evasive")


def _win_rates(metrics: Metrics) -> list[View]:
    """How often the judge prefers a policy's answers to those of another."""
    names = list(metrics["policies"])
    doubt = doubt_about("wins", metrics)
    rows = []
    for name, rivals in metrics["win_rates"].items():
        for rival, rate in rivals.items():
            controlled = rate.get("controlled")
            rows.append(
                {
                    **place_estimate(rate, doubt=doubt),
                    "policy": name,
                    "index": names.index(name),
                    "rival": rival,
                    "rate": rate,
                    "controlled": place_estimate(controlled) if controlled else None,
                }
            )
    return rows
