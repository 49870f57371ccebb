"""Pipelines on a real model in small that CI has no time for: `CREDO_ALL_METHODS=1` runs them."""

from tests.embedded import in_full
from tests.smollm2 import (
    done,  # noqa: F401  (a fixture)
    needs_smollm2,
)

pytestmark = [*needs_smollm2, in_full]
FEW = ["data.red_team.limit=4", "data.helpful.limit=2", "data.held_out.limit=2"]
FEW += ["scale.judge_limit=1"]
TWO_PRINCIPLES = "constitution.only=[on-point, no-danger]"


def test_sparrow(done):
    made = done(
        *("sparrow", *FEW, TWO_PRINCIPLES, "scale.sparrow.candidates=2"),
        "scale.synthesis.probe_calls=1",
    )
    assert {"term preference", "term rules"} <= made["policy"].metrics["last"].keys()
    assert list(made["evaluation"].metrics["policies"]) == [
        *("base", "base_best", "trained", "trained_best")
    ]


def test_self_rewarding(done):
    made = done("self_rewarding", *FEW, TWO_PRINCIPLES, "scale.iterations=2")
    assert made["tuned_2"].metrics["n"]


def test_spec_midtraining(done):
    made = done("spec_midtraining", *FEW, TWO_PRINCIPLES, "scale.texts=1", "data.documents.limit=2")
    assert made["midtrained"].metrics["n"] and made["policy"].metrics["n"]


def test_palms(done, tmp_path):
    made = done(
        "palms", *FEW, TWO_PRINCIPLES, "scale.palms.rows=4", "scale.synthesis.probe_calls=1"
    )
    assert list(made["evaluation"].metrics["policies"]) == ["base", "control", "values"]


def test_rubrics(done):
    made = done("rubrics", *FEW, TWO_PRINCIPLES)
    assert -1 <= made["policy"].metrics["last"]["term rubric"] <= 1


def test_rewind(done):
    small = "{sizes: [4, 12], draws: 2, most_draws: 3, least: 1, most: 3, more: 2}"
    made = done("rewind", *FEW, TWO_PRINCIPLES, f"scale.search={small}")
    assert list(made["evaluation"].metrics["policies"]) == ["base", "informed", "searched"]


def test_optimise_prompt(done):
    steps = ["depth=1", "batch=2", "actions=1"]
    made = done(
        *("optimise_prompt", *FEW, TWO_PRINCIPLES),
        *(f"scale.optimise_prompt.{step}" for step in steps),
    )
    assert list(made["evaluation"].metrics["policies"]) == ["base", "informed", "instructed"]
