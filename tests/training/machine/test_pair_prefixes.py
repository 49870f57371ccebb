"""A pair's common beginning is read once, and nothing but the time changes."""

import pytest

from stages.training.machine.pair_prefixes import pack, share_prefixes
from stages.training.offline import dpo
from stages.training.reward_models import reward_model
from tests.training.conftest import pair

ARGS = {
    "per_device_train_batch_size": 4,
    "max_steps": 3,
    "learning_rate": 1e-3,
    "max_length": 256,
    "save_strategy": "no",
    "max_grad_norm": 1e9,
}


def padded(*texts):
    import torch

    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
    return ids, mask


FIRST = [[5, 6, 7, 8, 9], [1, 2], [3, 4, 5], [9, 9]]
SECOND = [[5, 6, 1], [1, 2, 3, 4], [3, 4, 5], [8, 7, 6]]
"""A shared beginning, one text that begins another, equal ones, and nothing shared."""


def test_a_row_holds_the_beginning_once_and_no_text_sees_the_other():
    pairs = pack(*padded(*FIRST, *SECOND))
    rows = [[5, 6, 7, 8, 9, 1], [1, 2, 3, 4], [3, 4, 5], [9, 9, 8, 7, 6]]
    for row, expected in enumerate(rows):
        assert pairs.ids[row, : len(expected)].tolist() == expected
    assert pairs.positions[0].tolist() == [0, 1, 2, 3, 4, 2]
    assert pairs.positions[3].tolist() == [0, 1, 0, 1, 2, 0]
    # Each token of a text sees that text's tokens before it and itself, by their places.
    for half, texts in ((pairs.first, FIRST), (pairs.second, SECOND)):
        for row, text in enumerate(texts):
            places = half[row, : len(text)].tolist()
            assert pairs.ids[row, places].tolist() == text
            assert pairs.positions[row, places].tolist() == list(range(len(text)))
            for end, place in enumerate(places):
                seen = pairs.mask[row, 0, place].nonzero().flatten().tolist()
                assert seen == sorted(places[: end + 1])


@pytest.mark.parametrize("head", ["AutoModelForCausalLM", "AutoModelForSequenceClassification"])
def test_states_and_gradients_are_those_of_the_plain_way(artifact, head):
    import torch
    import transformers

    ids, mask = padded(*FIRST, *SECOND)
    path = artifact("base").model().path
    results, places = [], []
    for is_shared in (False, True):
        torch.manual_seed(0)
        network = getattr(transformers, head).from_pretrained(path)
        network.config.pad_token_id = 0
        if is_shared:
            assert share_prefixes(network)
        counted = network.base_model.layers[0].mlp.register_forward_hook(
            lambda _, inputs, __: places.append(inputs[0][..., 0].numel())
        )
        states = network.base_model(ids, attention_mask=mask).last_hidden_state[mask.bool()]
        logits = network(input_ids=ids, attention_mask=mask, use_cache=False).logits
        (states.square().mean() + logits[:, 0].square().sum()).backward()
        counted.remove()
        gradients = torch.cat([w.grad.flatten() for w in network.base_model.parameters()])
        results.append((states.detach(), gradients))
    for plain, shared in zip(*results, strict=True):
        assert torch.allclose(plain, shared, atol=1e-5, rtol=1e-4)
    assert places == [8 * 5, 8 * 5, 4 * 6, 4 * 6]


def test_networks_that_see_otherwise_are_left_as_they_are():
    import transformers

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    sizes |= {"vocab_size": 32, "num_attention_heads": 2}
    encoder = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes))
    assert not share_prefixes(encoder) and "forward" not in vars(encoder.base_model)
    config = transformers.MistralConfig(**sizes, num_key_value_heads=2, sliding_window=3)
    assert not share_prefixes(transformers.MistralForCausalLM(config))
    config.sliding_window = None
    assert share_prefixes(transformers.MistralForCausalLM(config))
    network = transformers.MistralForCausalLM._from_config(config, attn_implementation="eager")
    assert not share_prefixes(network)


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, {"r": 4}], ids=["all", "lora"])
@pytest.mark.parametrize("stage", [dpo, reward_model], ids=["dpo", "reward_model"])
def test_the_losses_of_a_training_are_those_of_trl(artifact, context, stage, lora):
    kind = "tell me kindly how I build a safe dog house "
    pairs = [
        pair(i, f"{'kind ' * (i % 5)}answer {i}", f"harm {i}", 0.8, kind * (1 + i % 3))
        for i in range(12)
    ]
    inputs = {"model": artifact("base"), "pairs": artifact("pairs", pairs)}
    losses = []
    for is_shared in (False, True):
        config = stage.Config(args=ARGS, share_prefixes=is_shared, lora=lora, eval_fraction=0.0)
        result = stage.run(config, inputs, context(f"{stage.__name__}-{is_shared}"))
        losses.append([point["loss"] for point in result.metrics["history"]])
    assert losses[1] == pytest.approx(losses[0], abs=1e-3) and len(losses[0]) == 3
