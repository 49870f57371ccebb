"""How fast a training was, and the share of the card's peak that its arithmetic reached.

In: a trainer, while it trains. Out: on a GPU `tokens_per_second`, of all processes, and `mfu`,
where the card's peak is known. Tokens are those that go through the network to be learnt from, with
padding; a beginning that two texts share counts once. A token costs 2 FLOPs for each weight that
multiplies it in the forward pass, 2 in the backward pass, and 2 more where the weight is trained:
6 N for N trained weights. Left out: attention's own products, and what gradient checkpointing
computes again. Rollouts, saves and evaluations are in the time.

Source: Chowdhery et al. 2022 (arXiv 2204.02311), appendix B, for the share of the peak.
Imported only when something is trained: torch comes with it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from stages.pretrained.hardware import find_peak


@dataclass
class Speed:
    """What a training computed, and how long it took."""

    flops_per_token: int
    processes: int = 1
    tokens: int = 0
    """Of this process."""
    seconds: float = 0.0

    def describe(self, card: str | None) -> dict[str, Any]:
        """The metrics on a card of this name; none where there is no card."""
        if card is None or not self.seconds:
            return {}
        rate = self.tokens / self.seconds
        tokens_per_second = round(rate * self.processes, 1)
        facts: dict[str, Any] = {"tokens_per_second": tokens_per_second, "card": card}
        peak = find_peak(card)
        if peak:
            facts["mfu"] = round(rate * self.flops_per_token / peak, 4)
        return {"speed": facts}


def flops_per_token(network: Any) -> int:
    """The FLOPs of a token in training; a table of embeddings counts only as a head."""
    head = network.get_output_embeddings()
    table = network.get_input_embeddings()
    is_lookup = head is None or head.weight is not table.weight
    total = trained = 0
    for weight in network.parameters():
        if not (is_lookup and weight is table.weight):
            total += weight.numel()
            trained += weight.numel() * weight.requires_grad
    return 4 * total + 2 * trained


def card_of(trainer: Any) -> str | None:
    """The name of the GPU that trains, if one does."""
    device = trainer.args.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


@contextmanager
def measure_speed(trainer: Any) -> Iterator[Speed]:
    """Count the tokens and the seconds of the block."""
    network = trainer.accelerator.unwrap_model(trainer.model)
    speed = Speed(flops_per_token(network), trainer.accelerator.num_processes)

    def count(table: Any, inputs: Any, _: Any) -> None:
        if table.training and torch.is_grad_enabled():
            speed.tokens += inputs[0].numel()

    hook = network.get_input_embeddings().register_forward_hook(count)
    started = time.monotonic()
    try:
        yield speed
    finally:
        speed.seconds = time.monotonic() - started
        hook.remove()
