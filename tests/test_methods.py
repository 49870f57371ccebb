"""Every method's pipeline on the embedded model, in small: it runs to its end, and what comes out
is what the method makes.
"""

from collections import Counter
from functools import partial

import pytest

from stages.runtime.rows import Pair, Proposal, Response
from stages.training.reward_models.format import read_format
from tests.embedded import ROOT, TINY, run_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / "stages/world/checkpoint/model.safetensors").exists(),
        reason="no embedded model",
    ),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Run a pipeline; all share one folder, so what they have in common is made once."""
    return partial(finished, tmp_path_factory.mktemp("methods"))


def finished(root, name, *more):
    _, done = run_config(
        root, name if "=" in name else f"pipeline={name}", "generator=transformers", *TINY, *more
    )
    assert (done["report"].directory / "report.html").read_text().startswith("<!doctype html>")
    policies = done["evaluation"].metrics["policies"]
    assert all(
        policies[policy]["responses"] + policies[policy]["dropped"] >= 16 for policy in policies
    )
    return done


@pytest.mark.long
def test_salmon(done):
    made = done("salmon", "constitution.drop=[harm-2]")
    pairs = made["pairs"].rows(Pair)
    assert all(
        pair.deciding in pair.principles and "harm-2" not in pair.principles for pair in pairs
    )
    assert any(any(pair.negated) for pair in pairs) and {pair.label for pair in pairs} == {1.0}
    assert (
        read_format(made["principle_reward_model"].model()).principles
        and not read_format(made["plain_reward_model"].model()).principles
    )
    assert (
        made["reward_model_test"].metrics["held_out"] == ["harm-2"]
        and list(made["reward_model_test"].metrics["models"])[1] == "plain_reward_model"
    )
    assert {"term principles", "term length", "term finished"} <= made["policy"].metrics[
        "last"
    ].keys()


@pytest.mark.long
def test_salmon_with_the_papers_constants(done):
    """As for models from the Hub: labels are flipped, and of a token's KL only what is above 0
    counts, so no completion's is below 0.
    """
    made = done("salmon", "scale=paper", "data.red_team.arguments.count=24")
    pairs = made["pairs"].rows(Pair)
    assert 0 < sum(pair.noise for pair in pairs) < len(pairs) / 3
    assert len({pair.id.split("#")[1] for pair in pairs}) == 4
    assert {"term principles", "term length"} <= made["policy"].metrics["last"].keys()


@pytest.mark.long
def test_cai_open(done):
    made = done("cai_open")
    assert list(made["evaluation"].metrics["policies"]) == ["base", "sft", "dpo"]
    sft = {row.prompt_id for row in made["sft_revisions"].rows()}
    dpo = {row.prompt_id for row in made["dpo_revisions"].rows()}
    assert sft and dpo and not sft & dpo
    assert all(pair.chosen != pair.rejected for pair in made["pairs"].rows())


@pytest.mark.long
def test_cai_ppo(done):
    made = done("cai_ppo")
    assert list(made["evaluation"].metrics["policies"]) == ["base", "sl_cai", "rl_cai"]
    assert made["rl_cai"].metrics["last"].keys() >= {
        "term preference_model",
        "kl_per_completion",
        "value_loss",
    }


@pytest.mark.parametrize("stage", ["ppo", "grpo"])
def test_rlhf(done, stage):
    """People alone decide in training: no judge is asked before the evaluation."""
    made = done(
        "rlhf",
        "data.people_helpful.arguments.count=16",
        "data.people_harmless.arguments.count=32",
        f"pipeline.steps.policy.stage={stage}",
        f"pipeline.steps.policy.args=${{model.{stage}}}",
    )
    assert "judgements" not in made and "pairs" not in made
    assert list(made["evaluation"].metrics["policies"]) == ["base", "sft", "aligned"]
    assert made["reward"].metrics["mix"].keys() == {"pairs", "harmless"}
    assert not read_format(made["reward"].model()).principles
    assert "term people" in made["policy"].metrics["last"]


@pytest.mark.long
def test_rlaif(done):
    assert "term reward" in done("rlaif")["policy"].metrics["last"]


@pytest.mark.long
def test_d_rlaif(done):
    made = done("d_rlaif")
    assert (
        -1 <= made["policy"].metrics["last"]["term rating"] <= 1
        and made["policy"].manifest.calls.sent > 0
    )


@pytest.mark.long
def test_rubrics(done):
    made = done("rubrics")
    assert -1 <= made["policy"].metrics["last"]["term rubric"] <= 1
    criteria = made["rubrics"].metrics
    assert criteria["criteria"] == 16 and 0 < criteria["gates"] < 16 * criteria["requests"]
    assert made["policy"].manifest.calls.sent > 0


@pytest.mark.long
def test_safe_rlhf(done):
    made = done("safe_rlhf")
    assert read_format(made["cost"].model()).objective == "cost"
    assert {pair.chosen_safe for pair in made["safe_pairs"].rows(Pair)} <= {True, False}
    assert (
        made["policy"].metrics["last"]["lambda"] > 0
        and "term harm" in made["policy"].metrics["last"]
    )


@pytest.mark.long
def test_raft(done):
    made = done("raft")
    for number in (1, 2):
        best = Counter(row.prompt_id for row in made[f"best_answers_{number}"].rows())
        assert set(best.values()) == {1} and len(made[f"candidates_{number}"].rows()) > len(best)
    again = done("raft", "scale.iterations=1")
    assert again["tuned_1"].directory == made["tuned_1"].directory, (
        "a shorter loop finds its rounds"
    )


@pytest.mark.long
@pytest.mark.parametrize("name", ["rrhf", "stable_alignment"])
def test_groups(done, name):
    metrics = done(name)["policy"].metrics
    assert metrics["n"] > 0 and metrics["steps"] > 0


@pytest.mark.long
def test_chain_of_hindsight(done):
    assert done("chain_of_hindsight")["policy"].metrics["held_out"] is not None


@pytest.mark.long
def test_almost(done):
    made = done("almost")
    assert set(made["pairs"].metrics["ranks"]) == {
        "guided>alone",
        "guided>hot",
        "alone>hot",
    }
    assert list(made["evaluation"].metrics["policies"]) == ["base", "tuned", "aligned"]


@pytest.mark.long
def test_four_optimisers_of_one_reward(done):
    policies = done("optimisers")["optimiser_comparison"].metrics["policies"]
    assert list(policies) == ["base", "ppo", "grpo", "rloo", "dpo"]
    for name, found in policies.items():
        assert found["violations"] and (name == "base") == (found["kl"] is None) == (
            found["seconds"] is None
        )


@pytest.mark.long
def test_rewind(done):
    small = "{sizes: [4, 12], draws: 2, most_draws: 3, least: 1, most: 3, more: 2}"
    made = done("rewind", "data.held_out.arguments.count=12", f"scale.search={small}")
    rows = made["searched_held_out"].rows(Response)
    assert len(rows) == 16 and all(len(row.context) == 16 for row in rows)
    assert {"base", "informed", "searched"} == made["evaluation"].metrics["policies"].keys()
    assert made["searched_held_out"].metrics["visits"] > 3


@pytest.mark.long
def test_optimise_prompt(done):
    made = done("optimise_prompt", "scale.optimise_prompt.depth=2", "scale.optimise_prompt.batch=6")
    texts = [row.text for row in made["instructions"].rows(Proposal)]
    assert len(made["instructions"].metrics["ratings"]) == 3 and len(texts) <= 2
    assert all(text.startswith("The response should not be ") for text in texts)
    shown = {tuple(row.context) for row in made["instructed_held_out"].rows(Response)}
    assert {len(ids) for ids in shown} == {len(texts)}
    assert {"base", "informed", "instructed"} == made["evaluation"].metrics["policies"].keys()


@pytest.mark.long
def test_an_intervention_shows_its_principles_first(done):
    made = done("experiment=intervention")
    assert list(made["evaluation"].metrics["policies"]) == ["base", "hacked", "intervened"]
    assert made["policy"].fingerprint != made["intervened"].fingerprint
    assert made["intervened"].metrics["last"].keys() >= {"term principles", "term flaw"}


@pytest.mark.long
def test_sparrow(done):
    made = done(
        "sparrow",
        *("data.probes.arguments.count=16", "scale.sparrow.candidates=2"),
        *("scale.sparrow.labelled=[0,1]", "constitution.only=[harm-1,kindness-1,helpfulness-1]"),
    )
    assert read_format(made["rules"].model()).objective == "compliance"
    assert list(made["evaluation"].metrics["policies"]) == [
        *("base", "base_best", "trained", "trained_best")
    ]
    last = made["policy"].metrics["last"]
    assert {"term preference", "term rules", "term finished"} <= last.keys()
    assert 0 <= last["term rules"] <= 1, "a mean of probabilities"
    rows = made["base_scores"].rows()
    assert all(row.principles == ["harm-1", "kindness-1"] for row in rows)
    best = {row.prompt_id: row.id for row in made["base_best"].rows()}
    for row in rows:
        rivals = [other.score for other in rows if other.prompt_id == row.prompt_id]
        assert (best[row.prompt_id] == row.response_id) == (row.score == max(rivals))


@pytest.mark.long
def test_palms(done):
    made = done("palms")
    assert list(made["evaluation"].metrics["policies"]) == ["base", "control", "values"]
    sets = [made[name].rows() for name in ("values_set", "control_set")]
    assert len(sets[0]) == len(sets[1]) == 80
    assert {row.kind for row in sets[1]} == {"neutral"} and len({r.kind for r in sets[0]}) == 8


@pytest.mark.long
def test_beavertails(done):
    made = done("beavertails", "data.harm_labels.arguments.count=40")
    assert made["classifier"].metrics["texts"] == 4 * 40
    flagged = made["harmless"].metrics["flagged"]
    assert len(flagged["principles"]) == 14 and flagged["any"] >= max(
        flagged["principles"].values()
    )
    assert list(made["evaluation"].metrics["policies"]) == ["base", "most_harmless"]


@pytest.mark.long
def test_beavertails_without_people(done):
    """Constitutional Classifiers: the command of docs/methods.md, in small."""
    kept = "{name: world, only: [harm-1, kindness-1]}, scale: {Yes: 1, No: 0}"
    made = done(
        *("beavertails", "data.probes.arguments.count=16", "constitution.only=[harm-1,kindness-1]"),
        *("~data.harm_labels", "+pipeline.steps.probes=${data.probes}"),
        "+pipeline.steps.labelled={stage: respond, "
        "inputs: {prompts: probes, helpful: helpful, model: base}}",
        "+data.harm_labels={stage: rate, inputs: {responses: labelled, model: judge}, "
        f"constitution: {kept}}}",
    )
    assert made["classifier"].metrics["principles"].keys() == {"harm-1", "kindness-1"}
    assert list(made["evaluation"].metrics["policies"]) == ["base", "most_harmless"]


@pytest.mark.long
def test_the_reward_is_a_yes_or_no(done):
    """Kwon et al. 2023: the other command there."""
    rating = "pipeline.steps.policy.rewards.rating"
    made = done("d_rlaif", f"{rating}.scale={{Yes: 1, No: 0}}", f"++{rating}.rescale=false")
    assert 0 <= made["policy"].metrics["last"]["term rating"] <= 1
