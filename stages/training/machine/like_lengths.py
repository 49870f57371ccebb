"""Rows of like length are read together, and no batch is wider than its longest row.

In: rollouts as TRL's GRPO trainer makes them, one tensor as wide as the longest prompt and the
longest completion. Out: the same rows and results, up to rounding, of fewer tokens. Left out:
networks to which padding before a text makes a difference, such as those with learnt positions.

Imported only when something is trained: torch comes with it.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

Batch = dict[str, Any]
Read = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
"""Of token ids, attention and the width of completions: a number for each token of those."""
TOLERANCE = 1e-3
"""Between float32 hidden states of the trial, as a part of the largest one."""
TRIAL = (1, 2, 3, 4, 5)
"""Token ids of a text."""
PADDING = 3
"""Tokens before it."""


def ignores_padding(network: Any) -> bool:
    """Whether a text has the same hidden states with padding before it."""
    device = next(network.parameters()).device
    ids = torch.tensor([TRIAL], device=device)
    wide = torch.nn.functional.pad(ids, (PADDING, 0))
    mask = torch.nn.functional.pad(torch.ones_like(ids), (PADDING, 0))
    was_training = network.training
    network.eval()
    with torch.no_grad():
        plain = network(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        padded = network(input_ids=wide, attention_mask=mask).last_hidden_state[:, PADDING:]
    network.train(was_training)
    tolerance = TOLERANCE if plain.dtype == torch.float32 else 30 * TOLERANCE
    return bool((plain - padded).abs().max() <= tolerance * plain.abs().max())


def group_by_length(lengths: list[int]) -> list[list[int]]:
    """Row numbers in groups of like length: as many as the tokens with padding are times those
    without, so that less than half of padding makes no second one.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    groups = max(1, max(lengths) * len(lengths) // max(1, sum(lengths)))
    size = math.ceil(len(lengths) / groups)
    return [order[start : start + size] for start in range(0, len(order), size)]


def read_by_length(
    read: Read, ids: torch.Tensor, attention: torch.Tensor, completion: int, size: int
) -> torch.Tensor:
    """What `read` gives for each token of the completions, `size` rows of like length at a time.

    Args:
        ids: shape (rows, tokens); prompts are padded on the left, completions on the right.
        completion: the width of the completions.

    Returns:
        Shape (rows, completion), 0 where a group of rows has no token.
    """
    results = torch.zeros(len(ids), completion, device=ids.device)
    for rows in attention.sum(dim=1).argsort().split(size):
        start, end = _span(attention[rows])
        width = max(1, completion - (ids.size(1) - end))
        end = ids.size(1) - completion + width
        results[rows, :width] = read(ids[rows, start:end], attention[rows, start:end], width)
    return results


def sort_rollout(batches: list[Batch], window: int) -> list[Batch]:
    """Exchange rows among each `window` batches in turn, so that rows of a batch are of like
    length, and cut off what is only padding.
    """
    sorted_batches = []
    for first in range(0, len(batches), window):
        exchanged = batches[first : first + window]
        rows = _join(exchanged)
        lengths = rows["prompt_mask"].sum(dim=1) + rows["completion_mask"].sum(dim=1)
        for chosen in lengths.argsort().chunk(len(exchanged)):
            batch = {name: _take(value, chosen) for name, value in rows.items()}
            sorted_batches.append(_trim(batch))
    return sorted_batches


def _join(batches: list[Batch]) -> Batch:
    rows = {}
    for name, value in batches[0].items():
        has_rows = isinstance(value, torch.Tensor) and value.ndim > 0
        rows[name] = torch.cat([batch[name] for batch in batches]) if has_rows else value
    return rows


def _take(value: Any, rows: torch.Tensor) -> Any:
    has_rows = isinstance(value, torch.Tensor) and value.ndim > 0
    return value[rows] if has_rows else value


def _trim(batch: Batch) -> Batch:
    """Cut prompts on the left, and on the right all that is as wide as the completions."""
    start, _ = _span(batch["prompt_mask"])
    width = batch["completion_mask"].size(1)
    _, end = _span(batch["completion_mask"])
    trimmed = {}
    for name, value in batch.items():
        if name.startswith("prompt_"):
            value = value[:, start:]
        elif isinstance(value, torch.Tensor) and value.shape[1:] == (width,):
            value = value[:, :end]
        trimmed[name] = value
    return trimmed


def _span(mask: torch.Tensor) -> tuple[int, int]:
    """The first column with a token, and the one after the last; at least one column."""
    columns = mask.any(dim=0).nonzero().flatten().tolist() or [0]
    return columns[0], columns[-1] + 1
