"""Gradients of a batch in small parts, which worker threads compute as they become free.

Two OpenMP threads on one matrix product wait for the slower core, which costs much time on a
machine that others use. Here each worker computes its part alone, and the parts are summed in a
fixed order, so the result does not depend on which worker was faster.
"""

from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from stages.world.pretraining.packing import Batch

ROWS_PER_PART = 2


class Workers(ThreadPoolExecutor):
    """A few threads, each computing with one core."""

    def __init__(self, count: int) -> None:
        torch.set_num_threads(1)
        super().__init__(count, initializer=torch.set_num_threads, initargs=(1,))


def predict(
    body: nn.Module, batch: Batch, rows: slice, least_weight: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, targets and weights of the places whose weight exceeds `least_weight`.

    Only the selected rows are computed, in bfloat16.

    Returns:
        Logits of shape (places, vocabulary), targets and weights of shape (places,).
    """
    weights = batch.weights[rows].flatten()
    places = (weights > least_weight).nonzero()[:, 0]
    with torch.autocast("cpu", torch.bfloat16):
        states = body(batch.tokens[rows], batch.positions[rows], batch.mask[rows], places)
        logits = functional.linear(states, body.embedding.weight)
    return logits.float(), batch.targets[rows].flatten()[places], weights[places]


def set_gradients(workers: Workers, body: nn.Module, batch: Batch) -> float:
    """Put the gradients of the weighted mean loss into the parameters and return that loss."""
    parameters = list(body.parameters())
    total = batch.weights.sum()

    def part(start: int) -> tuple[float, tuple[Tensor, ...]]:
        rows = slice(start, start + ROWS_PER_PART)
        logits, targets, weights = predict(body, batch, rows)
        losses = functional.cross_entropy(logits, targets, reduction="none")
        loss = (losses * weights).sum() / total
        return loss.item(), torch.autograd.grad(loss, parameters)

    starts = range(0, len(batch.tokens), ROWS_PER_PART)
    parts = list(workers.map(part, starts))
    for number, parameter in enumerate(parameters):
        parameter.grad = torch.stack([gradients[number] for _, gradients in parts]).sum(0)
    return sum(loss for loss, _ in parts)
