"""Chain of Hindsight: what is learnt, what is hidden, and that the phrase steers."""

import pytest

from stages.runtime.errors import UserError
from stages.runtime.typed_config import parse_config
from stages.training.offline import chain_of_hindsight as coh
from stages.training.pair_data import read_pairs
from stages.training.spans import IGNORED, learnt_tokens
from tests.training.conftest import pair

ARGS = {
    "per_device_train_batch_size": 4,
    "max_steps": 3,
    "learning_rate": 1e-3,
    "max_length": 160,
    "save_strategy": "no",
}


def built(artifact, context, rows, **options):
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", rows)}
    pairs, _ = read_pairs(inputs["pairs"])
    base = inputs["model"].model()
    config = coh.Config(args=ARGS, **options)
    chains = [chain for one in pairs for chain in coh.chains_of(one, config, 7)]
    return coh.build_trainer(config, base, chains, pairs, context()), chains


def test_only_the_answers_are_learnt_and_never_a_phrase_or_the_request(artifact, context):
    trainer, chains = built(artifact, context, [pair(0, "kind answer", "harm the dog")])
    assert [c["prompt"][-1]["content"].endswith(coh.BETTER) for c in chains] == [True, False]
    decode = trainer.processing_class.decode
    for row, answers in zip(
        trainer.train_dataset,
        (["kind answer", "harm the dog"], ["harm the dog", "kind answer"]),
        strict=True,
    ):
        learnt_ids = [
            i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORED
        ]
        assert [label for label in row["labels"] if label != IGNORED] == learnt_ids
        assert decode(learnt_ids) == "".join(f"{answer}<|im_end|>\n" for answer in answers)
        whole = decode(row["input_ids"])
        assert whole.index(answers[0]) < whole.index(answers[1])
        assert (
            sum(phrase in whole for phrase in coh.BETTER)
            == sum(phrase in whole for phrase in coh.WORSE)
            == 1
        )


def test_the_loss_is_that_of_the_answers_tokens(artifact, context):
    import torch

    trainer, _ = built(artifact, context, [pair(0, "kind answer", "harm the dog")], forget=0.0)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, dict(batch)).item()
    logits = trainer.model.double()(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    ).logits
    labels = batch["labels"]
    by_hand = torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.size(-1)), labels[:, 1:].reshape(-1)
    )
    assert loss == pytest.approx(by_hand.item(), abs=1e-5)


def test_hidden_tokens_change_nothing_but_what_is_seen_and_only_in_training(artifact, context):
    import torch

    from stages.training.offline.hindsight_trainer import hide

    mask = torch.ones(400, 50, dtype=torch.long)
    mask[:, 40:] = 0
    hidden = hide(mask, 0.15)
    assert hidden[:, 0].all() and not hidden[:, 40:].any()
    assert 1 - hidden[:, 1:40].float().mean().item() == pytest.approx(0.15, abs=0.01)
    trainer, _ = built(artifact, context, [pair(0, "kind answer", "harm the dog")], forget=0.5)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    losses = {}
    for mode in (True, False):
        trainer.model.train(mode)
        losses[mode] = {trainer.compute_loss(trainer.model, dict(batch)).item() for _ in range(3)}
    assert len(losses[True]) == 3 and len(losses[False]) == 1


def test_a_hidden_token_is_without_effect_on_all_that_follow(tiny):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    seen = torch.tensor([[1, 1, 0, 1, 1]])
    other = ids.clone()
    other[0, 2] = 11
    left, right = (model(input_ids=x, attention_mask=seen).logits[0] for x in (ids, other))
    assert torch.equal(left[3:], right[3:])
    assert not torch.equal(left[4], model(input_ids=ids).logits[0, 4])


@pytest.mark.parametrize("lora", [None, {"r": 4}])
def test_the_phrase_steers_the_trained_model(artifact, context, lora):
    rows = [pair(i, "kind answer", "harm the dog") for i in range(24)]
    inputs = {
        "model": artifact("base"),
        "pairs": artifact("pairs", [*rows, pair(99, "a", "b", 0.5)]),
    }
    args = ARGS | {
        "max_steps": 30,
        "learning_rate": 2e-2 if lora else 5e-3,
        "lr_scheduler_type": "constant",
    }
    here = context()
    result = coh.run(coh.Config(args=args, lora=lora, eval_fraction=0.3), inputs, here)
    held = result.metrics["held_out"]
    assert held["n"] + result.metrics["n"] / 2 == 24
    assert held["accuracy"] == 1.0 and held["margin"] > 0
    assert [(d.id, d.reason) for d in result.dropped] == [("q99", "no preference")]
    assert (here.directory / "model" / "model.safetensors").exists()


def test_one_order_is_drawn_for_each_pair_and_stays(artifact):
    pairs, _ = read_pairs(artifact("pairs", [pair(i, "kind", "harm") for i in range(40)]))
    config = coh.Config(orders="drawn")
    drawn = [coh.chains_of(one, config, 7) for one in pairs]
    assert {len(chains) for chains in drawn} == {1}
    good_first = sum(chains[0]["id"].endswith("good first") for chains in drawn)
    assert 8 < good_first < 32
    assert drawn == [coh.chains_of(one, config, 7) for one in pairs]
    phrases = {
        chain["prompt"][-1]["content"]
        for one in pairs
        for chain in coh.chains_of(one, coh.Config(), 7)
    }
    assert all(
        any(text.endswith(phrase) for text in phrases) for phrase in (*coh.BETTER, *coh.WORSE)
    )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"better": ()}, "each needs a phrase"),
        ({"worse": (" ",)}, "each needs a phrase"),
        ({"worse": coh.BETTER}, "none in both"),
        (
            {"args": {"model_init_kwargs": {"attn_implementation": "flash_attention_2"}}},
            "cannot hide single tokens",
        ),
        ({"args": {"packing": True}}, "makes its tokens itself"),
    ],
)
def test_bad_options_are_reported_when_the_plan_is_made(options, message):
    with pytest.raises(UserError, match=rf"(?s){message}.*Fix:"):
        coh.check(coh.Config(**options))


def test_a_share_of_hidden_tokens_lies_below_one():
    with pytest.raises(UserError, match="forget"):
        parse_config(coh.Config, {"forget": 1.0}, "step 'it'")


def test_pairs_without_a_preference_and_templates_that_rewrite_turns_are_reported(
    artifact, context, tiny
):
    from transformers import AutoTokenizer

    inputs = {"model": artifact("base"), "pairs": artifact("pairs", [pair(0, "a", "b", 0.5)])}
    with pytest.raises(UserError, match=r"(?s)every label is 0.5.*Fix:"):
        coh.run(coh.Config(args=ARGS), inputs, context())
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if loop.last %}last {% endif %}{{ m.content }}\n{% endfor %}"
    )
    turns = [
        {"role": role, "content": "kind"} for role in ("user", "assistant", "user", "assistant")
    ]
    with pytest.raises(UserError, match="writes an earlier answer differently"):
        learnt_tokens(tokenizer, turns[:1], turns[1:])
