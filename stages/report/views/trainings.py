"""What the report shows of trainings that learn from rows: curves, held-out rows, sources.

In: artifacts with a `history` among their metrics (`training/progress.py`). Out: plain data and SVG
for the template. A training whose history holds a reward is an online one (`online.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.report.views.curves import curve
from stages.runtime.artifacts import Artifact
from stages.statistics.formatting import format_count, format_percent, format_percent_range

CURVES = {"loss": "loss", "accuracy": "accuracy of preferences", "margin": "reward margin"}
SAFE_SIDE = "responses on the right side of 0: costs above it, safe ones below"
Fact = tuple[str, str, str]  # name, value, remark


def is_online(artifact: Artifact) -> bool:
    """Whether a training sampled and rewarded its own answers."""
    return any("reward" in point for point in artifact.metrics.get("history") or [])


def offline(artifacts: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Each training that learns from rows: its curves, and facts about its data."""
    trainings = []
    for artifact in artifacts:
        if is_online(artifact):
            continue
        history = artifact.metrics.get("history") or []
        drawings = [curve(history, key, label) for key, label in CURVES.items()]
        if any(drawings):
            trainings.append(
                {
                    "step": artifact.step,
                    "drawings": [drawing for drawing in drawings if drawing],
                    "facts": _facts(artifact.metrics),
                    "mix": artifact.metrics.get("mix") or {},
                }
            )
    return trainings


def _facts(metrics: Mapping[str, Any]) -> list[Fact]:
    facts = []
    if held_out := metrics.get("held_out"):
        accuracy = f"{format_percent(held_out['accuracy'])} %"
        pairs = f"{format_count(held_out['n'])} pairs"
        interval = f"{format_percent_range(*held_out['interval'])}, {pairs}"
        facts.append(("held-out preferences right", accuracy, interval))
        if "sign_accuracy" in held_out:
            signs = f"{format_percent(held_out['sign_accuracy'])} %"
            facts.append(("signs right", signs, SAFE_SIDE))
    if metrics.get("padding_wasted") is not None:
        padding = f"{format_percent(metrics['padding_wasted'])} %"
        facts.append(("padding", padding, "of the places in the training batches"))
    return facts
