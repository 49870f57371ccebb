"""The pipelines that train from rollouts, on a real model in small."""

import pytest

from tests.smollm2 import (
    done,  # noqa: F401  (a fixture)
    needs_smollm2,
    preferences,
)

pytestmark = needs_smollm2


def test_constitutional_ai_with_a_preference_model(done, tmp_path_factory):
    file = preferences(tmp_path_factory.mktemp("preferences"))
    human = f"{{stage: human_pairs, source: {file}, kind: helpful}}"
    made = done("cai_ppo", f"data.human_pairs={human}")
    assert "term preference_model" in made["rl_cai"].metrics["last"]


def test_salmon(done):
    """Its judge contradicts itself between the orders, so nothing is left to test rewards on."""
    made = done("salmon", "pipeline.steps.reward_model_test=null")
    assert {"term principles", "term finished"} <= made["policy"].metrics["last"].keys()


@pytest.mark.parametrize("name, term", [("rlaif", "reward"), ("d_rlaif", "rating")])
def test_rlaif(done, name, term):
    assert f"term {term}" in done(name)["policy"].metrics["last"]


def test_safe_rlhf(done):
    assert "term harm" in done("safe_rlhf")["policy"].metrics["last"]


def test_almost(done):
    assert done("almost")["pairs"].metrics["ranks"]


def test_four_optimisers_of_one_reward(done):
    policies = done("optimisers")["optimiser_comparison"].metrics["policies"]
    assert list(policies) == ["base", "ppo", "grpo", "rloo", "dpo"]
