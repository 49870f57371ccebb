"""The pipelines that train from rollouts, on a real model in small."""

import pytest

from tests.smollm2 import (
    FEW_REQUESTS,
    done,  # noqa: F401  (a fixture)
    needs_smollm2,
    preferences,
)

pytestmark = [*needs_smollm2, pytest.mark.long]


def test_constitutional_ai_with_a_preference_model(done, tmp_path_factory):
    file = preferences(tmp_path_factory.mktemp("preferences"))
    human = f"{{stage: human_pairs, source: {file}, kind: helpful}}"
    made = done("cai_ppo", f"data.human_pairs={human}")
    assert "term preference_model" in made["rl_cai"].metrics["last"]


def test_salmon(done):
    """Where the judge contradicts itself on every pair, the test of rewards only warns."""
    made = done("salmon")
    assert {"term principles", "term finished"} <= made["policy"].metrics["last"].keys()
    test = made["reward_model_test"]
    assert bool(test.metrics["cells"]) != bool(test.manifest.warnings)
    assert made["held_out_judgements"].rows()


def test_rlhf(done, tmp_path_factory):
    file = preferences(tmp_path_factory.mktemp("preferences"))
    human = [
        f"data.people_{name}={{stage: human_pairs, source: {file}, kind: {kind}}}"
        for name, kind in (("helpful", "helpful"), ("harmless", "red_team"))
    ]
    made = done("rlhf", *human)
    assert "term people" in made["policy"].metrics["last"]
    assert list(made["evaluation"].metrics["policies"]) == ["base", "sft", "aligned"]
    assert not list(made["sft"].directory.rglob("adapter*"))


@pytest.mark.parametrize("name, term", [("rlaif", "reward"), ("d_rlaif", "rating")])
def test_rlaif(done, name, term):
    assert f"term {term}" in done(name)["policy"].metrics["last"]


def test_safe_rlhf(done):
    """Its choices are a coin, so the seed is one that prefers the safer answer in some pair."""
    assert "term harm" in done("safe_rlhf", "seed=1")["policy"].metrics["last"]


def test_almost(done):
    shorter_prompts = "constitution.only=[on-point, no-danger]"
    made = done("almost", shorter_prompts, *FEW_REQUESTS)
    assert made["pairs"].metrics["ranks"]


def test_four_optimisers_of_one_reward(done):
    made = done("optimisers", *FEW_REQUESTS)
    policies = made["optimiser_comparison"].metrics["policies"]
    assert list(policies) == ["base", "ppo", "grpo", "rloo", "dpo"]
