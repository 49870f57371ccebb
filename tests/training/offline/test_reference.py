"""The memory for reference log-probabilities, which DPO and KTO share."""

import pytest

from stages.training.offline import dpo, kto
from tests.training.conftest import pair
from tests.training.offline.test_kto import ARGS, pairs


def forward_passes(monkeypatch, trainer_class):
    calls = []
    inner = trainer_class.compute_ref_log_probs

    def counted(self, model, inputs):
        calls.append(len(inputs["input_ids"]))
        return inner(self, model, inputs)

    monkeypatch.setattr(trainer_class, "compute_ref_log_probs", counted)
    return calls


def test_a_second_beta_finds_the_references_log_probabilities_and_loses_nothing(
    artifact, context, monkeypatch
):
    import trl

    calls = forward_passes(monkeypatch, trl.DPOTrainer)
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", pairs(10, 0.9))}

    def run(name, **args):
        calls.clear()
        return dpo.run(
            dpo.Config(args=ARGS | args, eval_fraction=0.3), inputs, context(name)
        ).metrics

    first = run("first", beta=0.1)
    assert first["reference"] == {"stored": 0, "computed": 20} and calls
    second = run("second", beta=0.5)
    assert second["reference"] == {"stored": 20, "computed": 0} and not calls
    uncached = run("uncached", beta=0.5, precompute_ref_log_probs=False)
    assert uncached["reference"] is None and calls
    for ours, plain in zip(second["history"], uncached["history"], strict=True):
        assert ours["loss"] == pytest.approx(plain["loss"], abs=1e-5)
    assert second["history"][-1]["loss"] != pytest.approx(first["history"][-1]["loss"], abs=1e-3)


@pytest.mark.slow
def test_more_pairs_another_order_or_lora_compute_only_what_is_new(artifact, context, monkeypatch):
    import trl

    calls = forward_passes(monkeypatch, trl.DPOTrainer)
    rows = pairs(8)
    args = ARGS | {"max_steps": 1}

    def run(name, rows, **options):
        calls.clear()
        inputs = {"model": artifact(f"base {name}"), "pairs": artifact(f"pairs {name}", rows)}
        config = dpo.Config(args=args | options.pop("args", {}), eval_fraction=0, **options)
        return dpo.run(config, inputs, context(name)).metrics["reference"]

    assert run("some", rows[:6]) == {"stored": 0, "computed": 12}
    assert run("more", rows[::-1]) == {"stored": 12, "computed": 4} and sum(calls) == 4
    assert run("adapter", rows, lora={"r": 2}) == {"stored": 16, "computed": 0} and not calls
    # what weighs the tokens, or rounds them, has values of its own
    assert run("weighed", rows, args={"ld_alpha": 0.5})["computed"] == 16
    assert run("half", rows, dtype="bfloat16")["computed"] == 16


def test_kto_shares_dpos_memory_for_the_same_answers(artifact, context):
    rows = [pair(i, f"kind answer {i}", f"harm the dog {i}") for i in range(4)]
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", rows)}
    dpo.run(dpo.Config(args=ARGS | {"max_steps": 1}, eval_fraction=0), inputs, context("first"))
    args = ARGS | {"max_steps": 1, "loss_type": "apo_zero_unpaired"}
    metrics = kto.run(kto.Config(args=args, eval_fraction=0), inputs, context("second")).metrics
    assert metrics["reference"] == {"stored": 8, "computed": 0}
