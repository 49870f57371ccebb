"""What the report shows of trainings: curves, what was held out, and the alarm over the online
ones.

In: artifacts with a `history` among their metrics (`training/progress.py`). Out: plain data and SVG
for the template. A training whose history holds a reward is an online one: these are drawn over
each other, each number on one scale, so that a run with an intervention can be read beside one
without.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from markupsafe import Markup

from stages.report.views.charts import Line, curve, overlay
from stages.report.views.effects import MINUS, percent
from stages.runtime.artifacts import Artifact
from stages.training.online.tripwires import (
    FEWEST,
    KL,
    LENGTH,
    REFUSALS,
    REPETITION,
    Reading,
    kl_per_completion,
    read_curves,
)

CURVES = {"loss": "loss", "accuracy": "accuracy of preferences", "margin": "reward margin"}
WIRES = {
    "kl": "KL, nats",
    "length": "length, tokens",
    "refusals": "refusals, %",
    "repetition": "repetition, %",
}
SHARES = ("refusals", "repetition")
COSTS = {"cost": "cost", "lambda": "lambda"}
INNER = {
    "loss": "loss", "entropy": "entropy", "value_loss": "value loss", "kl": "KL a token, nats",
    "accuracy": "accuracy", "margin": "margin",
}  # fmt: skip
TERM = "term "  # before a term's name among the keys of a history
ALARM = (
    "A tripwire is marked when, from the first tenth of the training to the last, the reward rises by more than its noise "
    f"and answers grow or shrink by more than {100 * LENGTH:g} %, refusals rise by more than {100 * REFUSALS:g} points, "
    f"repetition by more than {100 * REPETITION:g}, or the KL to the start ends above {KL:g} nats an answer; "
    "that too by more than noise."
)


def is_online(artifact: Artifact) -> bool:
    return any("reward" in point for point in artifact.metrics.get("history") or [])


def offline(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Each training that learns from rows: its curves, and what was told of its data and its
    held-out part.
    """
    found = []
    for artifact in artifacts:
        history = artifact.metrics.get("history") or []
        drawings = [curve(history, key, label) for key, label in CURVES.items()]
        if any(drawings) and not is_online(artifact):
            shown = [Markup(d) for d in drawings if d]
            facts, mix = _facts(artifact.metrics), _mix(artifact.metrics.get("mix") or {})
            found.append({"step": artifact.step, "drawings": shown, "facts": facts, "mix": mix})
    return found


def _facts(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(what, how much, more)."""
    facts = []
    if held := metrics.get("held_out"):
        low, high = held["interval"]
        told = f"{percent(low)} to {percent(high)} %, {held['n']:,} pairs"
        facts.append(("held-out preferences right", f"{percent(held['accuracy'])} %", told))
        if "sign_accuracy" in held:
            told = "responses on the right side of 0: costs above it, safe ones below"
            facts.append(("signs right", f"{percent(held['sign_accuracy'])} %", told))
    if metrics.get("padding_wasted") is not None:
        facts.append(
            (
                "padding",
                f"{percent(metrics['padding_wasted'])} %",
                "of the places in the training batches",
            )
        )
    return facts


def _mix(mix: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where the rows came from; of a single source there is nothing to show."""
    if len(mix) < 2:
        return []
    return [
        {"name": name, "share": 100 * part["share"], "n": f"{part['n']:,}"}
        for name, part in mix.items()
    ]


def online(artifacts: Sequence[Artifact], colours: Mapping[str, int]) -> dict[str, Any] | None:
    """The online trainings over each other; None if there are none.

    Args:
        colours: by fingerprint, of those trainings whose policy has one elsewhere on the page.
    """
    runs = [artifact for artifact in artifacts if is_online(artifact)]
    if not runs:
        return None
    shades = _shades(runs, colours)
    histories = {run.fingerprint: run.metrics["history"] for run in runs}
    readings = {name: read_curves(history) for name, history in histories.items()}

    def lines(key: str, wire: str = "") -> list[Line]:
        made = []
        for run in runs:
            reading = readings[run.fingerprint]
            marked = bool(wire and reading and wire in reading.tripped)
            made.append(
                Line(
                    run.step,
                    shades[run.fingerprint],
                    _points(histories[run.fingerprint], key, wire),
                    marked,
                )
            )
        return made

    def drawn(key: str, label: str, wire: str = "", **axis: Any) -> list[Markup]:
        drawing = overlay(lines(key, wire), label, "runs away", **axis)
        return [Markup(drawing)] if drawing else []

    watched = drawn("reward", "reward")
    for wire, label in WIRES.items():
        watched += drawn(
            wire,
            label,
            wire,
            from_zero=True,
            least=20.0 if wire in SHARES else 0.0,
            limit=KL if wire == "kl" else math.inf,
        )
    keys = dict.fromkeys(
        key for history in histories.values() for point in history for key in point
    )
    made_of = [
        d for key in keys if key.startswith(TERM) for d in drawn(key, _term_label(key, runs))
    ]
    costs = [d for key, label in COSTS.items() for d in drawn(key, label)]
    inner = [d for key, label in INNER.items() for d in drawn(key, label)]
    told = [
        {
            "step": run.step,
            "stage": run.stage,
            "index": shades[run.fingerprint],
            "steps": int(histories[run.fingerprint][-1]["step"]),
            "tripped": bool((reading := readings[run.fingerprint]) and reading.tripped),
            "sentence": _told(reading),
        }
        for run in runs
    ]
    return {
        "runs": told,
        "watched": watched,
        "terms": made_of + costs,
        "inner": inner,
        "alarm": ALARM,
    }


def _points(
    history: Sequence[Mapping[str, float]], key: str, wire: str
) -> list[tuple[float, float]]:
    """A curve; among the tripwires the KL is that of a completion, and shares are per cent."""
    scale = 100.0 if key in SHARES else 1.0
    values = [
        (point["step"], kl_per_completion(point) if wire == "kl" else point.get(key))
        for point in history
    ]
    return [
        (step, scale * value)
        for step, value in values
        if value is not None and math.isfinite(value)
    ]


def _shades(runs: Sequence[Artifact], colours: Mapping[str, int]) -> dict[str, int]:
    """A colour for each training: its policy's, or one that no other has; 0 is the grey of a
    baseline.
    """
    free = (index for index in count(1) if index not in colours.values())
    return {
        run.fingerprint: colours[run.fingerprint] if run.fingerprint in colours else next(free)
        for run in runs
    }


def _term_label(key: str, runs: Sequence[Artifact]) -> str:
    """A term's name and its weight, where all trainings that have it agree on one."""
    name = key.removeprefix(TERM)
    weights = set()
    for run in runs:
        options = run.config
        for kind in ("rewards", "costs"):
            term = (options.get(kind) or {}).get(name)
            if isinstance(term, Mapping):
                weights.add((term.get("weight", 1.0), ", a cost" if kind == "costs" else ""))
    if len(weights) != 1:
        return name
    weight, cost = weights.pop()
    return f"{name} \u00d7 " + f"{weight:g}".replace("-", MINUS) + cost


def _told(reading: Reading | None) -> str:
    """One sentence on what tripped, or why nothing did."""
    if reading is None:
        return (
            f"Too short to tell whether anything ran away: that takes {FEWEST} points of a curve."
        )
    ends = f"{_number(reading.reward.first)} to {_number(reading.reward.last)}"
    beyond = _listed([_ran(name, reading) for name in reading.beyond])
    missing = _listed(
        [label.partition(",")[0] for name, label in WIRES.items() if name not in reading.drifts]
    )
    after = f" Not logged: {missing}." if missing else ""
    if reading.tripped:
        return f"{beyond} while the reward rose from {ends}.{after}"
    if reading.rises:
        return f"Nothing ran away while the reward rose from {ends}.{after}"
    though = f", though {beyond}" if beyond else ""
    return f"The reward did not measurably rise ({ends}){though}.{after}"


def _ran(name: str, reading: Reading) -> str:
    drift = reading.drifts[name]
    match name:
        case "length":
            verb = "grew" if drift.last > drift.first else "shrank"
            return f"answers {verb} from {drift.first:.0f} to {drift.last:.0f} tokens"
        case "kl":
            return f"the KL to the start reached {drift.last:.0f} nats an answer"
        case _:
            return f"{name} rose from {percent(drift.first, 0)} to {percent(drift.last, 0)} %"


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", MINUS)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
