"""KTO on pairs and on ratings."""

import pytest

from stages.guards.errors import UserError
from stages.training.offline import kto
from tests.training.conftest import pair
from tests.training.offline.test_groups import rating

ARGS = {
    "per_device_train_batch_size": 4,
    "max_steps": 3,
    "learning_rate": 1e-3,
    "max_length": 96,
    "save_strategy": "no",
}


def pairs(n, label=1.0):
    return [pair(i, f"kind answer {i % 3}", f"harm the dog {i % 2}", label) for i in range(n)]


def inputs_of(artifact, rows, name="rows"):
    return {"model": artifact(f"base {name}"), "rows": artifact(name, rows)}


def test_pairs_and_ratings_become_desirable_and_undesirable_answers(artifact):
    examples, dropped = kto.read_examples(
        inputs_of(artifact, [*pairs(2), pair(9, "a", "b", 0.5)]), None
    )
    assert [(e["completion"][0]["content"], e["label"]) for e in examples[:2]] == [
        ("kind answer 0", True),
        ("harm the dog 0", False),
    ]
    assert len(examples) == 4 and [(d.id, d.reason) for d in dropped] == [("q9", "no preference")]
    rows = [
        rating(0, 0, "a", 5.0),
        rating(0, 1, "b", 3.0),
        rating(0, 2, "c", 1.0),
        rating(1, 0, "d", 9.0),
        rating(1, 1, "e", 8.0),
    ]
    inputs = inputs_of(artifact, rows, "ratings")
    by_mean, dropped = kto.read_examples(inputs, None)  # compared with the mean of their group
    assert {e["id"]: e["label"] for e in by_mean} == {
        "g0-0": True,
        "g0-2": False,
        "g1-0": True,
        "g1-1": False,
    }
    assert [(d.id, d.reason) for d in dropped] == [("g0-1", "score at the threshold")]
    fixed, _ = kto.read_examples(inputs, 4.0)
    assert {e["id"] for e in fixed if e["label"]} == {"g0-0", "g1-0", "g1-1"}
    both, _ = kto.read_examples(inputs | {"pairs": artifact("pairs", pairs(2))}, None)
    assert len(both) == 8
    with pytest.raises(UserError, match="has no effect where there are only pairs"):
        kto.read_examples(inputs_of(artifact, pairs(2), "alone"), 4.0)


def test_labels_of_0_and_1_need_no_threshold(artifact):
    rows = [rating(0, 0, "a", 1.0), rating(1, 0, "b", 0.0), rating(2, 0, "c", 1.0)]
    examples, dropped = kto.read_examples(inputs_of(artifact, rows, "ratings"), None)
    assert [example["label"] for example in examples] == [True, False, True] and not dropped


@pytest.mark.parametrize("threshold, kind", [(0.0, "desirable"), (10.0, "undesirable")])
def test_answers_of_one_kind_are_reported(artifact, threshold, kind):
    inputs = inputs_of(artifact, [rating(0, 0, "a", 5.0), rating(0, 1, "b", 3.0)])
    with pytest.raises(UserError, match=rf"(?s)all 2 answers are {kind}.*Fix: set `threshold`"):
        kto.read_examples(inputs, threshold)


def test_a_batch_of_one_which_has_no_neighbour_is_reported(artifact, context):
    with pytest.raises(UserError, match="batch size must be > 1"):
        kto.run(
            kto.Config(args=ARGS | {"per_device_train_batch_size": 1}),
            inputs_of(artifact, pairs(4)),
            context(),
        )


def test_the_loss_is_the_papers_and_half_of_the_weights_at_the_reference(artifact, context):
    import torch

    rows = [pair(i, f"kind answer {i}", f"harm the dog {i}") for i in range(4)] + [
        pair(9, "the kind cat", "harm the dog 0")
    ]
    inputs = inputs_of(artifact, rows)
    examples, _ = kto.read_examples(inputs, None)
    config, base = kto.Config(args=ARGS, eval_fraction=0), inputs["model"].model()
    trainer = kto.build_trainer(config, base, examples[:-1], context())
    assert (trainer.desirable_weight, trainer.undesirable_weight) == (1.0, 5 / 4)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    weights = torch.where(batch["label"], 1.0, 5 / 4).double()
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(
        0.5 * weights.mean().item(), abs=1e-5
    )
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter += 0.02 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(1)
            )
    loss = trainer.compute_loss(trainer.model, batch).item()

    def log_ratio(kind):
        ids, mask = batch[f"{kind}input_ids"], batch[f"{kind}completion_mask"][:, 1:]
        logits = trainer.model(
            input_ids=ids, attention_mask=batch[f"{kind}attention_mask"]
        ).logits.double()
        tokens = torch.log_softmax(logits[:, :-1], -1).gather(-1, ids[:, 1:, None]).squeeze(-1)
        return (tokens * mask).sum(1) - batch["ref_KL_logps" if kind else "ref_logps"]

    z = log_ratio("KL_").mean().clamp(min=0)
    signed = torch.where(batch["label"], 1.0, -1.0) * 0.1 * (log_ratio("") - z)
    assert loss == pytest.approx((weights * (1 - torch.sigmoid(signed))).mean().item(), abs=1e-5)
    assert signed.abs().max() > 0.05


@pytest.mark.parametrize("lora", [None, {"r": 4}])
def test_what_is_desirable_becomes_likelier(artifact, context, lora):
    rows = [pair(i, "kind answer", "harm the dog") for i in range(24)]
    args = ARGS | {"max_steps": 16, "learning_rate": 5e-3, "lr_scheduler_type": "constant"}
    here = context()
    result = kto.run(
        kto.Config(args=args, lora=lora, eval_fraction=0.3), inputs_of(artifact, rows), here
    )
    metrics = result.metrics
    assert metrics["held_out"]["n"] * 2 + metrics["n"] == 48
    assert metrics["held_out"]["accuracy"] == 1.0 and metrics["held_out"]["margin"] > 0
    assert metrics["desirable"] == metrics["undesirable"] == 24
    assert metrics["history"][-1]["loss"] < metrics["history"][0]["loss"]
    assert (here.directory / "model" / "model.safetensors").exists()
