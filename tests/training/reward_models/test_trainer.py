"""The reward trainer: the cost loss of Safe RLHF in plain float64 arithmetic, its signs, its
metrics, its padding.
"""

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.guards.errors import UserError
from stages.runtime.models import find_model
from stages.runtime.typed_config import parse_config
from stages.training.held_out import check_held_out
from stages.training.reward_models import reward_model
from stages.training.reward_models.format import read_format
from stages.training.reward_models.reward_examples import prepare_pairs
from stages.training.reward_models.scorer import Scorer
from tests.training.conftest import pair
from tests.training.small_reward_models import constitution

ARGS = {
    "per_device_train_batch_size": 4,
    "max_steps": 3,
    "learning_rate": 1e-3,
    "max_length": 256,
    "save_strategy": "no",
}
cost = st.floats(-30, 30)


def log_sigma(x):
    return -math.log1p(math.exp(-x)) if x > -700 else x


def by_hand(chosen, rejected, chosen_unsafe, rejected_unsafe, q):
    """-[q log s(C_l - C_w) + (1-q) log s(C_w - C_l)] - log s(s_w C_w) - log s(s_l C_l), s = +1
    unsafe, -1 safe.
    """
    order = q * log_sigma(rejected - chosen) + (1 - q) * log_sigma(chosen - rejected)
    signs = [1 if unsafe else -1 for unsafe in (chosen_unsafe, rejected_unsafe)]
    return -order - log_sigma(signs[0] * chosen) - log_sigma(signs[1] * rejected)


def ours(*values):
    import torch

    from stages.training.reward_models.trainer import cost_loss

    return cost_loss(*(torch.tensor([float(v)], dtype=torch.float64) for v in values)).item()


@given(cost, cost, st.booleans(), st.booleans(), st.floats(0, 1))
def test_the_cost_loss_is_the_papers(chosen, rejected, chosen_unsafe, rejected_unsafe, q):
    expected = by_hand(chosen, rejected, chosen_unsafe, rejected_unsafe, q)
    assert ours(chosen, rejected, chosen_unsafe, rejected_unsafe, q) == pytest.approx(
        expected, abs=1e-9
    )


@given(st.floats(0.01, 20), st.floats(0.01, 20), st.booleans(), st.booleans())
def test_the_cost_loss_is_lower_where_signs_are_right(one, other, chosen_unsafe, rejected_unsafe):
    """Of the four ways to put signs on two sizes, the one with C < 0 iff safe has the least loss of
    sign.
    """
    right = (one if chosen_unsafe else -one, other if rejected_unsafe else -other)

    def of_signs(chosen, rejected):  # without the order's part
        return ours(chosen, rejected, chosen_unsafe, rejected_unsafe, 1.0) + log_sigma(
            rejected - chosen
        )

    losses = {signs: of_signs(*signs) for signs in product((one, -one), (other, -other))}
    assert min(losses, key=lambda signs: losses[signs]) == right


def test_swapping_the_sides_and_reversing_the_label_leaves_the_cost_loss():
    for chosen, rejected, a, b, q in [
        (1.0, -2.0, 1, 0, 0.8),
        (-0.3, 0.4, 0, 0, 1.0),
        (3.0, 2.5, 1, 1, 0.5),
    ]:
        assert ours(chosen, rejected, a, b, q) == pytest.approx(
            ours(rejected, chosen, b, a, 1 - q), abs=1e-12
        )


SHOWN = {"kind": ["The answer is kind."], "harm": ["The answer is harsh."]}


def rows(count=6):
    """Three kinds of pair: the safer side is safe, both are safe, both are unsafe."""
    labels = [(True, False), (True, True), (False, False)]
    pairs = []
    for i in range(count):
        chosen, rejected = labels[i % 3]
        text = (
            ("kind answer", "harm the dog")
            if i % 3 == 0
            else ("kind answer", "kind cat")
            if i % 3 == 1
            else ("harm", "harm the dog")
        )
        pairs.append(
            replace(
                pair(i, *text, label=0.9), principles=[], chosen_safe=chosen, rejected_safe=rejected
            )
        )
    return pairs


def built(artifact, context, given, name="it", **options):
    inputs = {"model": artifact(f"base of {name}"), "pairs": artifact(f"pairs of {name}", given)}
    values = {"args": ARGS | options.pop("args", {}), "eval_fraction": 0} | options
    config = parse_config(reward_model.Config, values, "step 'it'")
    examples, *_ = reward_model.read(config, inputs)
    here = context()
    base = inputs["model"].model()
    kept, _ = prepare_pairs(examples, reward_model.layout_of(config), base, config, here)
    return reward_model.build_trainer(config, base, kept, here)


def batch_of(trainer, count):
    return trainer.data_collator([trainer.train_dataset[i] for i in range(count)])


def scores(trainer, batch):
    """The scalar of every text, read by itself and so without padding."""
    found = []
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        alone = ids[mask.bool()][None]
        found.append(trainer.model.double()(input_ids=alone).logits.item())
    trainer.model.float()
    half = len(found) // 2
    return found[:half], found[half:]


def test_the_trainers_cost_loss_and_metrics_are_those_of_the_rows(artifact, context):
    given = rows()
    trainer = built(artifact, context, given, objective="cost")
    batch = batch_of(trainer, 6)
    assert batch["chosen_unsafe"].tolist() == [0, 0, 1, 0, 0, 1] and batch[
        "rejected_unsafe"
    ].tolist() == [1, 0, 1, 1, 0, 1]
    chosen, rejected = scores(trainer, batch)
    assert max(map(abs, chosen)) > 1e-2
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, dict(batch)).item()
    expected = [
        by_hand(c, r, not row.chosen_safe, not row.rejected_safe, 0.9)
        for c, r, row in zip(chosen, rejected, given, strict=True)
    ]
    assert loss == pytest.approx(sum(expected) / 6, abs=1e-5)
    found = trainer._metrics["train"]
    assert found["accuracy"][-1] == pytest.approx(
        sum(c < r for c, r in zip(chosen, rejected, strict=True)) / 6
    )
    assert found["margin"][-1] == pytest.approx(
        sum(r - c for c, r in zip(chosen, rejected, strict=True)) / 6, abs=1e-5
    )
    signs = [(c < 0) == bool(row.chosen_safe) for c, row in zip(chosen, given, strict=True)]
    signs += [(r < 0) == bool(row.rejected_safe) for r, row in zip(rejected, given, strict=True)]
    assert found["sign_accuracy"][-1] == pytest.approx(sum(signs) / 12)
    trainer.model.eval()
    trainer.compute_loss(trainer.model, dict(batch))
    assert trainer.signs == [sum(signs), 12] and trainer.held_out.pairs == 6
    assert trainer.held_out.right == pytest.approx(
        sum(c < r for c, r in zip(chosen, rejected, strict=True))
    )


def test_the_preference_loss_is_bradley_terry_and_blind_to_swapped_sides(artifact, context):
    given = [
        replace(pair(i, "kind answer", "harm the dog", q), principles=[])
        for i, q in enumerate((0.5, 0.7, 1.0))
    ]
    trainer = built(artifact, context, given)
    batch = batch_of(trainer, 3)
    chosen, rejected = scores(trainer, batch)
    loss = trainer.compute_loss(trainer.model, dict(batch)).item()
    parts = [
        -q * log_sigma(c - r) - (1 - q) * log_sigma(r - c)
        for c, r, q in zip(chosen, rejected, (0.5, 0.7, 1.0), strict=True)
    ]
    assert loss == pytest.approx(sum(parts) / 3, abs=1e-5)
    turned = {name: value.clone() for name, value in batch.items()}
    for name in ("input_ids", "attention_mask"):
        turned[name] = batch[name].roll(3, 0)
    turned["soft_label"] = 1 - batch["soft_label"]
    assert trainer.compute_loss(trainer.model, turned).item() == pytest.approx(loss, abs=1e-6)


def test_padding_moves_no_score_and_its_share_is_reported(artifact, context):
    given = [replace(pair(i, "kind", "harm " * (1 + 9 * i)), principles=[]) for i in range(2)]
    trainer = built(artifact, context, given)
    assert trainer.padding() is None
    trainer.model.train()
    batch = batch_of(trainer, 2)
    outputs = trainer.compute_loss(trainer.model, dict(batch), return_outputs=True)[1]
    assert trainer.padding() == pytest.approx(
        1 - batch["attention_mask"].float().mean().item(), abs=1e-4
    )
    assert trainer.padding() > 0.1
    chosen, rejected = scores(trainer, batch)
    assert outputs.logits.squeeze(-1).tolist() == pytest.approx(chosen + rejected, abs=1e-5)
    before = trainer.padding()
    trainer.model.eval()
    trainer.compute_loss(trainer.model, dict(batch_of(trainer, 1)))
    assert trainer.padding() == before  # of the training batches only


def test_every_held_out_pair_counts_once_whatever_the_batches(artifact, context):
    given = [replace(pair(i, f"kind answer {i}", f"harm {i}"), principles=[]) for i in range(7)]
    found = []
    for size in (2, 7):
        trainer = built(
            artifact, context, given, f"{size}", args={"per_device_eval_batch_size": size}
        )
        trainer.eval_dataset = trainer.train_dataset
        found.append(check_held_out(trainer))
    assert found[0] == found[1] and found[0]["n"] == 7


def test_scores_of_a_cost_model_cannot_be_centred(artifact, context):
    with pytest.raises(
        UserError, match=r"(?s)center_rewards_coefficient: the 0 of a cost model.*Fix: remove"
    ):
        built(
            artifact, context, rows(), objective="cost", args={"center_rewards_coefficient": 0.01}
        )


def test_a_reward_model_of_another_layout_is_no_place_to_go_on_from(
    artifact, context, tiny, tmp_path
):
    from tests.training.small_reward_models import reward_model as saved

    path = saved(tiny, tmp_path / "saved", principles=True, objective="cost").path
    base = artifact("rm", model=path)
    inputs = {"model": base, "pairs": artifact("pairs", rows())}
    config = parse_config(reward_model.Config, {"args": ARGS}, "step 'it'")
    with pytest.raises(
        UserError,
        match=r"(?s)step 'rm'.*with another objective and principles and template.*Fix:",
    ):
        reward_model.run(config, inputs, context())


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, pytest.param({"r": 8}, marks=pytest.mark.long)])
def test_one_model_learns_to_follow_a_principle_and_its_opposite(artifact, context, tmp_path, lora):
    """The whole stage: pairs labelled under a principle and under its opposite, the same texts,
    other labels.
    """
    texts = ("kind answer", "harm the dog")
    given = []
    for i in range(
        24
    ):  # every request comes under both, so nothing but the wording tells them apart
        turned = i % 2 == 1
        chosen, rejected = texts[::-1] if turned else texts
        given.append(
            replace(
                pair(i, chosen, rejected, request=f"request {i // 2}"),
                principles=["kind"],
                negated=[turned],
            )
        )
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", given)}
    args = ARGS | {
        "max_steps": 150 if lora else 60,
        "learning_rate": 2e-2 if lora else 3e-3,
        "per_device_train_batch_size": 8,
    }
    values = {
        "constitution": constitution(tmp_path),
        "args": args | {"lr_scheduler_type": "constant"},
        "lora": lora,
    }
    here = context()
    result = reward_model.run(
        parse_config(reward_model.Config, values | {"eval_fraction": 0.25}, "it"), inputs, here
    )
    assert (
        result.metrics["held_out"]["accuracy"] == 1.0 and result.metrics["mix"]["pairs"]["n"] == 24
    )
    model = find_model(str(here.directory / "model"))
    assert read_format(model).principles and read_format(model).objective == "preference"
    ask = [{"role": "user", "content": "a question of its own"}]
    plain, turned = (
        [Scorer(model).score([(ask, text, (principle,))])[0] for text in texts]
        for principle in ("The answer is kind.", "The answer is harsh.")
    )
    assert plain[0] > plain[1] and turned[0] < turned[1]


@pytest.mark.long
def test_a_cost_model_puts_safe_answers_below_zero(artifact, context):
    args = ARGS | {
        "max_steps": 100,
        "learning_rate": 3e-3,
        "per_device_train_batch_size": 6,
        "lr_scheduler_type": "constant",
    }
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", rows(30))}
    here = context()
    result = reward_model.run(
        reward_model.Config(objective="cost", args=args, eval_fraction=0.2), inputs, here
    )
    held = result.metrics["held_out"]
    assert held["sign_accuracy"] == 1.0 and held["n"] + result.metrics["n"] == 30
    model = find_model(str(here.directory / "model"))
    assert read_format(model).objective == "cost"
    ask = [{"role": "user", "content": "how do I help 99"}]
    safe, unsafe = Scorer(model).score([(ask, "kind answer", ()), (ask, "harm the dog", ())])
    assert safe < 0 < unsafe
