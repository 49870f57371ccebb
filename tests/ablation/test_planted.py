"""An ablation whose answers are known: real trainings under a set with a planted copy and an idle
rule.
"""

import json

import pytest

from tests.ablation.sweeping import last_sweep, results, run_command
from tests.embedded import ROOT

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (ROOT / "stages/world/checkpoint/model.safetensors").exists(),
        reason="no embedded model",
    ),
]
SMALLER = [
    "++pipeline.steps.judge_examination.requests=4",
    "data.red_team.arguments.count=150",
    "data.helpful.arguments.count=50",
    "pipeline.steps.policy.args.max_steps=50",
    "pipeline.steps.policy.args.per_device_train_batch_size=8",
    "pipeline.steps.policy.args.learning_rate=2e-4",
    "pipeline.last_steps.evaluation.judge_limit=20",
    "data.held_out.arguments.count=300",
]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """One seed; six of the sweep's ten variants are left out for the sake of time."""
    folder = tmp_path_factory.mktemp("planted")
    variants = "variant=full,without:helpfulness,without:harm,without:privacy"
    command = ["-m", "experiment=planted", variants, "seed=5", "generator=transformers", *SMALLER]
    with pytest.MonkeyPatch.context() as patch:
        assert run_command(patch, *command, f"runs_dir={folder / 'runs'}") == 0
    return results(last_sweep(folder))


def outcome(planted, variant, name):
    (outcome,) = [v["outcomes"][name] for v in planted["variants"] if v["variant"] == variant]
    return outcome["effect"], outcome["finding"]


def test_the_only_principle_about_a_dimension_has_an_effect(planted):
    effect, finding = outcome(planted, "without:helpfulness", "violates helpfulness")
    assert effect["low"] > 0 and finding["p_adjusted"] < 0.05
    assert finding["verdict"] == "differs_on_one_seed"
    assert finding["direction"] == "up"
    effect, _ = outcome(planted, "without:helpfulness", "helpful_benign")
    assert effect["high"] < 0


def test_a_copy_is_redundant(planted):
    verdicts = {
        (v["principle"], v["beside"])
        for v in planted["redundancy"]["redundancies"]
        if v["verdict"] == "redundant"
    }
    assert verdicts >= {("harm", "harm-copy")} and verdicts <= {
        ("harm", "harm-copy"),
        ("harm-copy", "harm"),
    }
    effect, finding = outcome(planted, "without:harm", "any_violation")
    assert effect["value"] == 0 and finding["verdict"] == "equivalent"


def test_an_idle_principle_does_nothing(planted):
    effect, finding = outcome(planted, "without:privacy", "any_violation")
    assert effect["low"] <= 0 <= effect["high"] and not finding["differs"]
    # its own matter is met in 1 % of the answers; what one training makes of that, an interval of
    # one seed does not know
    assert outcome(planted, "without:privacy", "violates privacy")[0]["value"] < 0.05
    json.dumps(planted, allow_nan=False)
