"""What the report shows of online trainings: their curves in one drawing, and their tripwires.

In: artifacts with a reward in their `history` (`training/progress.py`). Out: plain data and SVG for
the template. Each number has one scale, so that a run with an intervention can be compared with one
without.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import fmean

from stages.report.views.charts import Point
from stages.report.views.curves import Line, overlay
from stages.report.views.marks import View
from stages.report.views.offline_trainings import is_online
from stages.report.views.tripwire_readings import WIRES, describe_alarm, describe_reading
from stages.runtime.artifacts import Artifact
from stages.statistics.formatting import PER_CENT, format_short
from stages.training.online.hacking.tripwires import (
    KL,
    Reading,
    kl_per_completion,
    noise_of,
    read_curves,
)

SHARES = ("refusals", "repetition", "silent", "missing")
COSTS = {"cost": "cost", "lambda": "lambda"}
INNER = {
    "loss": "loss",
    "entropy": "entropy",
    "value_loss": "value loss",
    "kl": "KL a token, nats",
    "accuracy": "accuracy",
    "margin": "margin",
}
TERM = "term "
"""The prefix of a term's name in the keys of a history."""


def online_view(
    artifacts: Sequence[Artifact],
    colours: Mapping[str, int],
) -> View | None:
    """The online trainings in common drawings; None if there are none.

    Args:
        colours: by fingerprint, for trainings whose policy has a colour elsewhere on the page.
    """
    runs = [artifact for artifact in artifacts if is_online(artifact)]
    if not runs:
        return None
    shades = _shades(runs, colours)
    readings = {run.fingerprint: read_curves(run.metrics["history"]) for run in runs}
    overlays = _Overlays(runs, shades, readings)
    watched = overlays.draw("reward", "reward")
    for wire, label in WIRES.items():
        watched += overlays.draw(wire, label, wire=True)
    terms = []
    for key in overlays.logged():
        if key.startswith(TERM):
            terms += overlays.draw(key, _term_label(key, runs))
    for key, label in COSTS.items():
        terms += overlays.draw(key, label)
    inner = []
    for key, label in INNER.items():
        inner += overlays.draw(key, label)
    descriptions = []
    for run in runs:
        reading = readings[run.fingerprint]
        descriptions.append(
            {
                "step": run.step,
                "stage": run.stage,
                "index": shades[run.fingerprint],
                "steps": int(run.metrics["history"][-1]["step"]),
                "tripped": bool(reading and reading.tripped),
                "sentence": describe_reading(reading),
            }
        )
    return {
        "runs": descriptions,
        "watched": watched,
        "gold": [_gold_picture(run) for run in runs if _gold_of(run)],
        "gold_lines": [{"step": name, "index": number + 1} for number, name in enumerate(GOLD)],
        "terms": terms,
        "inner": inner,
        "alarm": describe_alarm(),
    }


@dataclass(frozen=True)
class _Overlays:
    """Drawings, each of one number over all trainings."""

    runs: Sequence[Artifact]
    shades: Mapping[str, int]
    """Colours by fingerprint, like the readings."""
    readings: Mapping[str, Reading | None]

    def logged(self) -> list[str]:
        """The keys that the histories log, in order."""
        keys: dict[str, None] = {}
        for run in self.runs:
            for point in run.metrics["history"]:
                keys |= dict.fromkeys(point)
        return list(keys)

    def draw(
        self,
        key: str,
        label: str,
        wire: bool = False,
    ) -> list[str]:
        """One drawing; none where nothing was logged.

        Args:
            wire: a tripwire watches `key`; mark where it tripped.
        """
        lines = [self._line(run, key, wire) for run in self.runs]
        least = 20.0 if key in SHARES else 0.0
        limit = KL if wire and key == "kl" else math.inf
        drawing = overlay(
            lines,
            label,
            "runs away",
            from_zero=wire,
            least=least,
            limit=limit,
        )
        return [drawing] if drawing else []

    def _line(
        self,
        run: Artifact,
        key: str,
        wire: bool,
    ) -> Line:
        reading = self.readings[run.fingerprint]
        marked = bool(wire and reading and key in reading.tripped)
        points = _points(run.metrics["history"], key, wire)
        return Line(run.step, self.shades[run.fingerprint], points, marked)


GOLD = ("reward", "gold")
"""The lines of a picture of reward and gold, which have the colours 1 and 2."""


def _gold_of(run: Artifact) -> str | None:
    """The term that the stop rule of a training watches, if there is one."""
    rule = run.config.get("stop")
    gold = rule.get("gold") if isinstance(rule, Mapping) else None
    return gold if gold and f"{TERM}{gold}" in _keys(run) else None


def _keys(run: Artifact) -> set[str]:
    return {key for point in run.metrics["history"] for key in point}


def _gold_picture(run: Artifact) -> str:
    """The trained reward and the watched gold of one training, both in units of their own noise
    from the mean of their first tenth; the step of an event is marked.
    """
    history = run.metrics["history"]
    lines = []
    keys = ("reward", f"{TERM}{_gold_of(run)}")
    for number, (name, key) in enumerate(zip(GOLD, keys, strict=True)):
        points = standardise(_points(history, key, False))
        lines.append(Line(name, number + 1, points))
    event = (run.metrics.get("stop") or {}).get("event")
    step = event["step"] if event else None
    label = f"{run.step}: alarm at step {step}" if event else f"{run.step}: no alarm"
    return overlay(lines, label, event=step)


def standardise(points: Sequence[Point]) -> list[Point]:
    """A curve less the mean of its first tenth, in units of its noise from point to point; as it is
    where it has no noise.
    """
    if not points:
        return []
    values = [value for _, value in points]
    start = fmean(values[: math.ceil(len(values) / 10)])
    unit = noise_of(values) or 1.0
    return [(step, (value - start) / unit) for step, value in points]


def _points(
    history: Sequence[Mapping[str, float]],
    key: str,
    wire: bool,
) -> list[Point]:
    """A curve; among the tripwires the KL is that of a completion, and shares are per cent."""
    scale = PER_CENT if key in SHARES else 1.0
    points = []
    for point in history:
        value = kl_per_completion(point) if wire and key == "kl" else point.get(key)
        if value is not None and math.isfinite(value):
            points.append((point["step"], scale * value))
    return points


def _shades(
    runs: Sequence[Artifact],
    colours: Mapping[str, int],
) -> dict[str, int]:
    """A colour for each training: that of its policy, or an unused one.

    0 is the grey of a baseline.
    """
    free = (index for index in count(1) if index not in colours.values())
    shades = {}
    for run in runs:
        policy_colour = colours.get(run.fingerprint)
        shades[run.fingerprint] = next(free) if policy_colour is None else policy_colour
    return shades


def _term_label(
    key: str,
    runs: Sequence[Artifact],
) -> str:
    """A term's name, and its weight if all trainings with the term agree on it."""
    name = key.removeprefix(TERM)
    weights = set()
    for run in runs:
        options = run.config
        for kind in ("rewards", "costs"):
            term = (options.get(kind) or {}).get(name)
            if isinstance(term, Mapping):
                remark = ", a cost" if kind == "costs" else ""
                weights.add((term.get("weight", 1.0), remark))
    if len(weights) != 1:
        return name
    weight, cost = weights.pop()
    return f"{name} \u00d7 {format_short(weight)}{cost}"
