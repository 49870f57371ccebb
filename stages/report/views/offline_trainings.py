"""What the report shows of offline trainings, which learn from rows: curves and metrics.

In: artifacts with a `history` among their metrics (`training/progress.py`). Out: plain data and SVG
for the template. A training whose history holds a reward is an online one (`online_trainings.py`).
"""

from collections.abc import Sequence

from stages.evaluation.instrument.doubt import doubt_about_preferences, explain_mark
from stages.report.views.curves import curve
from stages.report.views.marks import View
from stages.runtime.artifacts import Artifact

CURVES = {"loss": "loss", "accuracy": "accuracy of preferences", "margin": "reward margin"}


def is_online(artifact: Artifact) -> bool:
    """Whether a training samples and rewards its own answers."""
    return any("reward" in point for point in artifact.metrics.get("history") or [])


def offline_views(artifacts: Sequence[Artifact]) -> list[View]:
    """Each training that learns from rows: its curves, and facts about its data."""
    trainings = []
    for artifact in artifacts:
        if is_online(artifact):
            continue
        history = artifact.metrics.get("history") or []
        doubt = doubt_about_preferences([artifact])
        drawings = [curve(history, key, label) for key, label in CURVES.items()]
        if any(drawings):
            trainings.append(
                {
                    "step": artifact.step,
                    "drawings": [drawing for drawing in drawings if drawing],
                    "metrics": artifact.metrics,
                    "doubt": doubt,
                    "explanation": explain_mark([doubt]),
                }
            )
    return trainings
