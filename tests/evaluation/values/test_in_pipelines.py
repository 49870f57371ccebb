"""The methods of basic values on the embedded world, in small: each runs to its end."""

import pytest

from stages.runtime.rows import Pair, Response
from stages.training.reward_models.format import read_format
from tests.embedded import ROOT, TINY, run_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(
        not (ROOT / "stages/world/checkpoint/model.safetensors").exists(),
        reason="no embedded model",
    ),
]
WITHOUT_JUDGE = [each for each in TINY if "judge_examination" not in each]
SMALL = [*WITHOUT_JUDGE, "data.labelled_values.arguments.count=40", "generator=transformers"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Run a pipeline; all share one folder, and so an evaluator."""
    root = tmp_path_factory.mktemp("values")
    return lambda *more: run_config(root, *more, *SMALL)[1]


def test_basealign_by_ppo_on_the_published_distance(done):
    made = done(
        "pipeline=basealign",
        "pipeline.optimiser=ppo",
        "pipeline.mask=published",
        "pipeline.against=[transcendence]",
    )
    history = made["policy"].metrics["history"]
    assert {"silent", "value security", "term values"} <= history[0].keys()
    assert any("says nothing of any value" in each for each in made["policy"].metrics["warnings"])
    distances = made["distance"].metrics["distances"]
    assert distances["models"]["policy"].keys() == {"openness", "transcendence"}
    assert read_format(made["evaluator"].model()).objective == "value"


def test_the_filter_and_a_reader_of_profiles_share_what_was_rated(done):
    chosen = done("pipeline=value_filter")
    ratings = {row.id: row.score for row in chosen["ratings"].rows()}
    nearest = [row.id for row in chosen["nearest"].rows(Response)]
    assert max(ratings.values()) in [ratings[name] for name in nearest]
    read = done("pipeline=value_profiles", "pipeline.target={security: 1}")
    assert read["values"].fingerprint == chosen["values"].fingerprint
    assert all(pair.principles[0].startswith("Values: ") for pair in read["pairs"].rows(Pair))
    assert "value security" not in read["policy"].metrics["history"][0]


def test_value_injection_in_two_phases(done):
    made = done("pipeline=value_injection")
    assert made["texts"].metrics["counts"].keys() <= {"to say", "never to say"}
    assert made["distance"].metrics["distances"]["models"].keys() == {"base", "argued", "injected"}


def test_the_drift_of_a_training_is_measured_at_its_snapshots(done):
    made = done(
        "pipeline=value_filter",
        "+pipeline/parts@pipeline=snapshots",
        "pipeline.snapshots=2",
        "data.held_out.limit=6",
        "+model.sft.max_steps=3",
    )
    profile = made["profile"].metrics
    assert profile["drift"]["steps"] == {"base": 0, "snapshot_1": 1, "snapshot_2": 2, "policy": 3}
    scores = profile["drift"]["models"]
    assert scores["policy"] == profile["profile"]["models"]["policy"]
    assert list(profile["profile"]["models"]) == ["base", "policy"]
    contents = {
        made[name].model().content for name in ("base", "snapshot_1", "snapshot_2", "policy")
    }
    assert len(contents) == 4
    page = (made["report"].directory / "report.html").read_text()
    assert "snapshots of the training in grey" in page
