"""The share of a card's peak, by arithmetic with a card that is not here."""

from types import SimpleNamespace

import pytest

from stages.training.machine.speed import Speed, card_of, flops_per_token, measure_speed


def test_the_share_is_that_of_the_cards_peak():
    speed = Speed(flops_per_token=6 * 10**9, processes=2, tokens=330_000, seconds=10.0)
    facts = speed.describe("NVIDIA H100 80GB HBM3")["speed"]
    assert facts["tokens_per_second"] == 66_000
    assert facts["mfu"] == pytest.approx(6e9 * 33_000 / 989e12, abs=1e-4)
    assert "mfu" not in speed.describe("Tesla V100-SXM2-16GB")["speed"]
    assert speed.describe(None) == {}


def test_tokens_are_counted_where_they_are_learnt_from(artifact):
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(artifact("base").model().path)
    for weight in network.model.layers[0].parameters():
        weight.requires_grad = False
    table, head = network.model.embed_tokens.weight, network.lm_head.weight
    frozen = sum(weight.numel() for weight in network.model.layers[0].parameters())
    size = sum(weight.numel() for weight in network.parameters())
    size -= 0 if table is head else table.numel()
    assert flops_per_token(network) == 6 * size - 2 * frozen
    accelerator = SimpleNamespace(unwrap_model=lambda model: model, num_processes=1)
    args = SimpleNamespace(device=torch.device("cpu"))
    trainer = SimpleNamespace(model=network, accelerator=accelerator, args=args)
    texts = torch.ones(3, 5, dtype=torch.long)
    with measure_speed(trainer) as speed:
        network.train()
        network(texts)
        with torch.no_grad():
            network(texts)
        network.eval()
        network(texts)
    network.train()
    network(texts)
    assert speed.tokens == 15 and speed.seconds > 0 and card_of(trainer) is None
