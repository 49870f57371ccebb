"""What the report shows of values: profiles beside a target, drift, and what moved unasked.

In: the metrics of one `value_profile` artifact. Out: plain data for the template.
"""

from stages.report.evidence.circumplex import axis_of, circumplex, drift
from stages.report.views.charts import colour
from stages.report.views.marks import Metrics, View
from stages.statistics.formatting import format_number, format_p_value

TONES = {
    "as asked": "better",
    "against": "worse",
    "moved": "other",
    "not moved": "same",
}
BETWEEN = "var(--soft)"
"""The colour of a snapshot, which stands between two models."""
SIGNS = {
    0: "",
    1: "more",
    -1: "less",
}


def value_profile_view(
    step: str,
    metrics: Metrics,
) -> View:
    """The data of one value profile for the template."""
    theory = metrics["theory"]
    dimensions = theory["dimensions"]
    profiles = metrics["profile"]["models"]
    target = metrics["target"]
    wanted = target["values"] if target and not metrics["is_survey"] else None
    models = list(profiles)
    drawn = [*profiles.values(), *metrics["drift"].get("models", {}).values()]
    numbers = [number for profile in drawn for number in _numbers(profile)]
    ends = axis_of([*numbers, *(wanted or {}).values()])
    training = metrics["drift"] or {"models": profiles, "steps": {}}
    moving = list(training["steps"] or profiles)
    drifts = []
    if len(moving) > 1:
        for name in dimensions:
            scores = [training["models"][model][name] for model in moving]
            drawing = drift(
                name,
                moving,
                scores,
                wanted[name] if wanted else None,
                ends,
                list(training["steps"].values()),
                [colour(models.index(one)) if one in models else BETWEEN for one in moving],
            )
            drifts.append({"name": name, "drawing": drawing})
    return {
        "step": step,
        "theory": theory["name"],
        "target": target["name"] if target else "",
        "is_drawn": bool(wanted),
        "is_circle": bool(theory["angles"]),
        "is_nominal": theory["is_nominal"],
        "is_survey": metrics["is_survey"],
        "confidence": metrics["confidence"],
        "models": [_model(name, metrics) for name in models],
        "circle": circumplex(
            dimensions,
            theory["angles"],
            profiles,
            wanted,
        ),
        "drifts": drifts,
        "by_step": bool(training["steps"]),
        "columns": list(metrics["effects"]),
        "lines": _lines(metrics),
    }


def _numbers(profile: Metrics) -> list[float]:
    """The scores and the ends of their intervals."""
    return [score[key] for score in profile.values() for key in ("value", "low", "high")]


def _model(
    name: str,
    metrics: Metrics,
) -> View:
    fit = metrics["fit"][name]
    parts = []
    if fit["correlation"] is not None:
        parts.append(f"correlation with the target {format_number(fit['correlation'])}")
    if fit["distance"] is not None:
        parts.append(f"mean distance {format_number(fit['distance'])}")
    if fit["direction"] is not None:
        parts.append(f"highest at {fit['direction']:.0f}°")
    effects = metrics["effects"].get(name, {})
    verdicts = [effect["verdict"] for effect in effects.values()]
    asked = sum(effect["asked"] != 0 for effect in effects.values())
    if asked:
        parts.append(f"{verdicts.count('as asked')} of {asked} moved as asked")
    if effects:
        unasked = f"{verdicts.count('moved')} of {len(effects) - asked} others moved"
        parts.append(unasked)
    return {"name": name, "how": "; ".join(parts)}


def _lines(metrics: Metrics) -> list[View]:
    """A line for each dimension and side effect, with a cell for each model but the first."""
    effects = metrics["effects"]
    names = dict.fromkeys(name for each in effects.values() for name in each)
    lines = []
    for name in names:
        cells = [_cell(each.get(name)) for each in effects.values()]
        is_value = name in metrics["theory"]["dimensions"]
        lines.append(
            {
                "name": name,
                "is_value": is_value,
                "cells": cells,
            }
        )
    return lines


def _cell(effect: Metrics | None) -> View | None:
    if effect is None:
        return None
    low, high = (
        format_number(
            effect[key],
            2,
            "+",
        )
        for key in ("low", "high")
    )
    return {
        "text": format_number(
            effect["value"],
            2,
            "+",
        ),
        "interval": f"{low} to {high}",
        "p": format_p_value(effect["p_adjusted"]),
        "asked": SIGNS[effect["asked"]],
        "verdict": effect["verdict"],
        "tone": TONES.get(effect["verdict"], "same"),
    }
