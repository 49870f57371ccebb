"""The soft-label loss, DPO and the reward model."""

import math

import pytest

from stages.guards.errors import UserError
from stages.training.held_out import split_held_out
from stages.training.offline import dpo
from stages.training.pair_data import read_pairs
from stages.training.reward_models import reward_model
from tests.training.conftest import pair

ARGS = {
    "per_device_train_batch_size": 4,
    "max_steps": 3,
    "learning_rate": 1e-3,
    "max_length": 96,
    "save_strategy": "no",
}


def reference_loss(d: float, q: float) -> float:
    return -(q * math.log(1 / (1 + math.exp(-d))) + (1 - q) * math.log(1 / (1 + math.exp(d))))


@pytest.mark.parametrize("q", [0.5, 0.7, 0.9, 1.0])
def test_soft_label_loss_is_the_cross_entropy_and_rests_at_the_labels_logit(q):
    import torch

    from stages.training.soft_labels import soft_term

    label = torch.tensor([q], dtype=torch.float64)
    for d in (-3.0, -0.2, 0.0, 1.7):
        difference = torch.tensor([d], dtype=torch.float64, requires_grad=True)
        loss = -torch.nn.functional.logsigmoid(difference).mean() + soft_term(difference, label)
        assert loss.item() == pytest.approx(reference_loss(d, q), abs=1e-12)
        swapped = -torch.nn.functional.logsigmoid(-difference).mean() + soft_term(
            -difference, 1 - label
        )
        assert loss.item() == pytest.approx(swapped.item(), abs=1e-12)
    if q < 1:
        rest = torch.tensor([math.log(q / (1 - q))], dtype=torch.float64, requires_grad=True)
        (-torch.nn.functional.logsigmoid(rest).mean() + soft_term(rest, label)).backward()
        assert abs(rest.grad.item()) < 1e-12


def trained_pairs(labels):
    return [pair(i, f"kind answer {i}", f"harm {i}", label) for i, label in enumerate(labels)]


def dpo_trainer(artifact, context, labels, name, **args):
    inputs = {
        "model": artifact(f"base {name}"),
        "pairs": artifact(f"pairs {name}", trained_pairs(labels)),
    }
    examples, _ = read_pairs(inputs["pairs"])
    config = dpo.Config(args=ARGS | args, eval_fraction=0)
    return dpo.build_trainer(config, inputs["model"].model(), examples, context(name))


def nudge(trainer):
    """Move the policy away from the reference."""
    import torch

    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter += 0.02 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(1)
            )


def batch_of(trainer):
    return trainer.data_collator([trainer.train_dataset[i] for i in range(4)])


def test_dpo_loss_is_log_2_at_the_reference_and_soft_elsewhere(artifact, context):
    import torch

    labels = [0.5, 0.7, 0.9, 1.0]
    trainer = dpo_trainer(artifact, context, labels, "ahead")
    batch = batch_of(trainer)
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(math.log(2), abs=1e-5)
    nudge(trainer)
    loss = trainer.compute_loss(trainer.model, batch).item()
    ids, mask = batch["input_ids"], batch["completion_mask"][:, 1:]
    logits = trainer.model(input_ids=ids, attention_mask=batch["attention_mask"]).logits.double()
    tokens = torch.log_softmax(logits[:, :-1], -1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    chosen, rejected = (tokens * mask).sum(1).chunk(2)
    d = 0.1 * (chosen - rejected - batch["ref_chosen_logps"] + batch["ref_rejected_logps"])
    expected = sum(reference_loss(x, q) for x, q in zip(d.tolist(), labels, strict=True)) / 4
    assert loss == pytest.approx(expected, abs=1e-5)
    assert max(abs(d)).item() > 0.05
    kept = dpo_trainer(artifact, context, labels, "beside", precompute_ref_log_probs=False)
    assert "ref_chosen_logps" not in batch_of(kept)
    nudge(kept)
    assert kept.compute_loss(kept.model, batch_of(kept)).item() == pytest.approx(loss, abs=1e-5)


def test_hard_labels_give_trls_own_losses_and_soft_ones_are_refused_by_them(artifact, context):
    import trl

    trainer = dpo_trainer(artifact, context, [1.0] * 4, "hinge", loss_type=["hinge"])
    batch = batch_of(trainer)
    nudge(trainer)
    plain = {name: value for name, value in batch.items() if name != "soft_label"}
    theirs = trl.DPOTrainer._compute_loss(trainer, trainer.model, plain, False)
    assert trainer.compute_loss(trainer.model, batch).item() == theirs.item()
    with pytest.raises(UserError, match="soft labels need the sigmoid loss"):
        dpo_trainer(artifact, context, [0.8] * 4, "ipo", loss_type=["ipo"])


@pytest.mark.long
def test_every_loss_of_trl_trains(artifact, context):
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", trained_pairs([1.0] * 4))}
    examples, _ = read_pairs(inputs["pairs"])
    losses = (
        "sigmoid",
        "hinge",
        "ipo",
        "exo_pair",
        "nca_pair",
        "robust",
        "bco_pair",
        "sppo_hard",
        "aot",
        "aot_unpaired",
    )
    losses += ("discopop", "apo_zero", "apo_down", "sft", "sigmoid_norm")
    for loss in losses:
        options = {"label_smoothing": 0.1} if loss in ("exo_pair", "robust") else {}
        config = dpo.Config(args=ARGS | {"loss_type": [loss], **options}, eval_fraction=0)
        trainer = dpo.build_trainer(config, inputs["model"].model(), examples, context(loss))
        value = trainer.compute_loss(
            trainer.model, trainer.data_collator([trainer.train_dataset[0]])
        ).item()
        assert math.isfinite(value), loss
        if loss in ("sigmoid", "sigmoid_norm"):
            assert value == pytest.approx(math.log(2), abs=1e-5)


def test_unusable_pairs_are_dropped_with_reasons_and_nothing_left_is_reported(artifact):
    rows = [
        pair(0, "a", "a "),
        pair(1, "", "b"),
        pair(2, "a", "b", request="same"),
        pair(3, "a", "b", request="same"),
    ]
    examples, dropped = read_pairs(artifact("pairs", rows))
    assert [e["id"] for e in examples] == ["q2"]
    assert [(d.id, d.reason) for d in dropped] == [
        ("q0", "both sides are equal"),
        ("q1", "empty completion"),
        ("q3", "duplicate"),
    ]
    with pytest.raises(UserError, match=r"(?s)input 'pairs' \(step 'equal'\).*Fix:"):
        read_pairs(artifact("equal", rows[:1]))
    with pytest.raises(UserError, match="not a probability"):
        read_pairs(artifact("odd", [pair(0, "a", "b", 1.5)]))


def test_held_out_prompts_are_never_trained_on(artifact, context):
    rows = [pair(i, f"a{i}", "b", request=f"request {i % 20}") for i in range(60)]
    examples, _ = read_pairs(artifact("pairs", rows))
    train, held = split_held_out(examples, 0.3, context())
    prompts = [{e["prompt"][0]["content"] for e in part} for part in (train, held)]
    assert held and not prompts[0] & prompts[1]
    assert split_held_out(examples[::2], 0.3, context())[1] == [
        e for e in held if e in examples[::2]
    ]
    assert split_held_out(examples, 1.0, context()) == (examples, [])


@pytest.mark.parametrize(
    "stage, lora", [(dpo, None), (dpo, {"r": 2}), (reward_model, None), (reward_model, {"r": 2})]
)
def test_a_preference_is_learnt(artifact, context, stage, lora):
    rows = [pair(i, "kind answer", "harm the dog", 0.9) for i in range(24)]
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", rows)}
    here = context()
    args = ARGS | {"max_steps": 12, "learning_rate": 5e-3, "lr_scheduler_type": "constant"}
    result = stage.run(stage.Config(args=args, lora=lora, eval_fraction=0.3), inputs, here)
    held = result.metrics["held_out"]
    assert held["n"] + result.metrics["n"] == 24
    assert held["accuracy"] == 1.0 and held["margin"] > 0 and held["interval"][0] < 1.0
    assert result.metrics["history"][-1]["loss"] < result.metrics["history"][0]["loss"]
    assert (here.directory / "model" / "model.safetensors").exists()
    assert not list((here.directory / "model").glob("adapter*"))


def test_a_saved_reward_model_scores_as_it_did_in_training(artifact, context):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    rows = [pair(i, "kind answer", "harm the dog") for i in range(8)]
    here = context()
    config = reward_model.Config(
        args=ARGS | {"max_steps": 12, "learning_rate": 3e-3}, eval_fraction=0
    )
    reward_model.run(config, {"model": artifact("base"), "pairs": artifact("pairs", rows)}, here)
    model = AutoModelForSequenceClassification.from_pretrained(here.directory / "model")
    tokenizer = AutoTokenizer.from_pretrained(here.directory / "model")
    scores = []
    for answer in ("kind answer", "harm the dog"):
        talk = [*rows[0].prompt, {"role": "assistant", "content": answer}]
        ids = tokenizer.apply_chat_template(talk, return_tensors="pt", return_dict=True)
        scores.append(model(**ids).logits.item())
    assert scores[0] > scores[1]
