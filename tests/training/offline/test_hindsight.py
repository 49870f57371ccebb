"""Chain of Hindsight: what is learnt, what is hidden, and that the phrase steers."""

from itertools import pairwise

import pytest

from stages.guards.errors import UserError
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
        assert decode(learnt_ids) == "".join(f"{answer}<|im_end|>" for answer in answers)
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


def masks_seen(model, forward):
    """What each layer's attention is allowed to see, as 1 and 0, shape (texts, queries, keys)."""
    seen = []

    def look(layer, args, kwargs):
        mask = kwargs["attention_mask"]
        allowed = mask if mask.dtype.is_floating_point is False else mask == 0
        seen.append(allowed[:, 0].int().numpy())

    hooks = [
        layer.self_attn.register_forward_pre_hook(look, with_kwargs=True)
        for layer in model.model.layers
    ]
    forward()
    for hook in hooks:
        hook.remove()
    return seen


def hidden_shares(seen, lengths):
    """By text: the fraction of past keys, without the first, that its queries do not see."""
    shares = []
    for mask, length in zip(seen, lengths, strict=True):
        past = [(q, k) for q in range(length) for k in range(1, q)]
        shares.append(1 - sum(mask[q, k] for q, k in past) / len(past))
    return shares


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_each_conversation_hides_its_share_and_each_query_its_own_keys(
    artifact, context, attention
):
    """0 to 5 % as in the paper, on the masks that the layers really get."""
    import numpy as np

    rows = [pair(i, f"kind answer {i} the dog asks how", "harm the dog") for i in range(2)]
    args = ARGS | {"model_init_kwargs": {"attn_implementation": attention}}
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", rows)}
    pairs, _ = read_pairs(inputs["pairs"])
    config = coh.Config(args=args)
    assert config.forget == 0.05
    chains = [chain for one in pairs for chain in coh.chains_of(one, config, 7)]
    trainer = coh.build_trainer(config, inputs["model"].model(), chains, [], context())
    trainer.model.train()
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    lengths = batch["attention_mask"].sum(1).tolist()
    shares, first_masks = [], []
    for _ in range(60):
        layers = masks_seen(trainer.model, lambda: trainer.compute_loss(trainer.model, dict(batch)))
        assert all((layer == layers[0]).all() for layer in layers), "one draw for all layers"
        first_masks.append(layers[0])
        shares += hidden_shares(layers[0], lengths)
    masks = np.stack(first_masks)
    width = masks.shape[-1]
    assert not np.triu(masks, 1).any(), "no query sees what follows"
    for text, length in enumerate(lengths):
        own = masks[:, text, :length, :length]
        assert own[:, :, 0].all(), "every query sees the first token"
        assert own[:, range(length), range(length)].all(), "and itself"
        assert not masks[:, text, :length, length:].any(), "padding stays hidden"
    assert max(lengths) == width
    # uniform between 0 and 5 %: mean 2.5 %, a standard deviation of 1.44 points between texts
    assert np.mean(shares) == pytest.approx(0.025, abs=0.003)
    assert np.std(shares) == pytest.approx(0.05 / 12**0.5, abs=0.003)
    assert max(shares) < 0.05 + 0.02 and min(shares) < 0.006
    hidden = [set(np.flatnonzero(masks[0, 0, q, 1:q] == 0)) for q in range(lengths[0])]
    assert any(earlier - later for earlier, later in pairwise(hidden)), (
        "a key that is hidden from one query is seen by the next"
    )


def test_hidden_tokens_change_the_loss_only_in_training(artifact, context):
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

    trainer, _ = built(artifact, context, [pair(0, "kind answer", "harm the dog")], forget=0.5)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    losses = {}
    for mode in (True, False):
        trainer.model.train(mode)
        losses[mode] = {trainer.compute_loss(trainer.model, dict(batch)).item() for _ in range(3)}
    assert len(losses[True]) == 3 and len(losses[False]) == 1
    assert ALL_MASK_ATTENTION_FUNCTIONS["sdpa"] is sdpa_mask, "other models are as they were"


def test_a_sliding_window_still_hides_what_lies_before_it():
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    from stages.training.offline.hindsight_trainer import forgetting

    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    model = MistralForCausalLM(MistralConfig(vocab_size=20, sliding_window=4, **sizes, **heads))
    ids = torch.ones(3, 12, dtype=torch.long)

    def forward():
        with forgetting(model, 0.4):
            model(input_ids=ids)

    seen = masks_seen(model, forward)[0]
    queries, keys = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    assert not seen[:, (queries - keys >= 4).numpy()].any()
    assert 1 - seen[:, ((queries - keys < 4) & (queries > keys) & (keys > 0)).numpy()].mean() > 0


def test_a_model_whose_masks_cannot_be_changed_is_refused(tiny):
    from transformers import AutoModelForCausalLM

    from stages.training.offline.hindsight_trainer import forgetting

    model = AutoModelForCausalLM.from_pretrained(tiny)
    with pytest.raises(UserError, match=r"(?s)cannot be hidden from LlamaForCausalLM.*Fix:"):  # noqa: SIM117
        with forgetting(model, 0.05):
            pass


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
