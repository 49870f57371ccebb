"""The steps of a pipeline hold the warnings, a run shows them, and a healthy pipeline has none."""

import io
from math import log

import pytest

from stages.guards.console import open_console
from tests.running import Seeded, run_steps, text_pipeline
from tests.scripted import ScriptedGenerator


@pytest.fixture
def shown():
    return io.StringIO()


def run(tmp_path, generator, shown, until=None):
    steps = text_pipeline(tmp_path, prompts=12, rounds=1)
    if until:
        names = list(steps)
        steps = {name: steps[name] for name in names[: names.index(until) + 1]}
    _, done = run_steps(steps, tmp_path, generator, console=open_console(file=shown, width=300))
    return {name: artifact.manifest.warnings for name, artifact in done.items()}


def test_a_model_that_only_repeats_itself(tmp_path, shown):
    parrot = ScriptedGenerator(text=lambda messages: "The same words.")
    warnings = run(tmp_path, parrot, shown, until="revisions")
    assert "24 of 24 revisions repeat the answer unchanged" in warnings["revisions"]
    assert "24 of 24 critiques are the same: 'the same words.'" in warnings["revisions"]
    assert "warning: revisions: 24 of 24 revisions" in shown.getvalue()


def test_a_healthy_pipeline_has_none(tmp_path, shown):
    warnings = run(tmp_path, Seeded(), shown)
    assert warnings["revisions"] == warnings["answers"] == []


def test_a_judge_that_prefers_a_place(tmp_path, shown):
    generator = Seeded(scores=lambda messages, options: [log(0.9), log(0.1)])
    warnings = run(tmp_path, generator, shown)
    places, dropped = warnings["pairs"]
    assert "verdict turns with the order, most often for the answer shown first" in places
    assert dropped == "it dropped 12 of 12 (100%): 12 x the judge abstains"
