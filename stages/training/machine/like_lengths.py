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
from torch.nn.functional import pad

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
    weight = next(network.parameters())
    ids = torch.tensor([TRIAL], device=weight.device)
    mask = torch.ones_like(ids)
    was_training = network.training
    network.eval()
    with torch.no_grad():
        plain = network(input_ids=ids, attention_mask=mask)
        padded = network(
            input_ids=pad(ids, (PADDING, 0)),
            attention_mask=pad(mask, (PADDING, 0)),
        )
    network.train(was_training)
    states = plain.last_hidden_state
    difference = states - padded.last_hidden_state[:, PADDING:]
    tolerance = TOLERANCE
    if states.dtype != torch.float32:
        tolerance *= 30
    largest = tolerance * states.abs().max()
    return bool(difference.abs().max() <= largest)


def group_by_length(lengths: list[int]) -> list[list[int]]:
    """Row numbers in groups of like length: as many as the tokens with padding are times those
    without, so that less than half of padding makes no second one.
    """
    rows = len(lengths)
    order = sorted(range(rows), key=lengths.__getitem__)
    padded = rows * max(lengths)
    groups = padded // max(1, sum(lengths))
    size = math.ceil(rows / max(1, groups))
    return [
        order[start : start + size]  # the last may be smaller
        for start in range(0, rows, size)
    ]


def read_by_length(
    read: Read,
    ids: torch.Tensor,
    attention: torch.Tensor,
    completion: int,
    size: int,
) -> torch.Tensor:
    """What `read` gives for each token of the completions, `size` rows of like length at a time.

    Args:
        ids: shape (rows, tokens); prompts are padded on the left, completions on the right.
        completion: the width of the completions.

    Returns:
        Shape (rows, completion), 0 where a group of rows has no token.
    """
    results = torch.zeros(len(ids), completion, device=ids.device)
    prompt = ids.size(1) - completion
    order = attention.sum(dim=1).argsort()
    for rows in order.split(size):
        start, end = _span(attention[rows])
        end = max(end, prompt + 1)
        width = end - prompt
        results[rows, :width] = read(
            ids[rows, start:end],
            attention[rows, start:end],
            width,
        )
    return results


def sort_rollout(batches: list[Batch], window: int) -> list[Batch]:
    """Exchange rows among each `window` batches in turn, so that rows of a batch are of like
    length, and cut off what is only padding.
    """
    sorted_batches = []
    for first in range(0, len(batches), window):
        exchanged = batches[first : first + window]
        rows = _join(exchanged)
        lengths = rows["prompt_mask"].sum(dim=1)
        lengths = lengths + rows["completion_mask"].sum(dim=1)
        order = lengths.argsort()
        for chosen in order.chunk(len(exchanged)):
            batch = _take(rows, chosen)
            sorted_batches.append(_trim(batch))
    return sorted_batches


def _join(batches: list[Batch]) -> Batch:
    """The rows of all batches; what has none is the same in each."""
    rows = dict(batches[0])
    for name, value in rows.items():
        if _has_rows(value):
            parts = [batch[name] for batch in batches]
            rows[name] = torch.cat(parts)
    return rows


def _take(batch: Batch, rows: torch.Tensor) -> Batch:
    some = dict(batch)
    for name, value in batch.items():
        if _has_rows(value):
            some[name] = value[rows]
    return some


def _has_rows(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 0


def _trim(batch: Batch) -> Batch:
    """Cut prompts on the left, and on the right all that is as wide as the completions."""
    start, _ = _span(batch["prompt_mask"])
    width = batch["completion_mask"].size(1)
    _, end = _span(batch["completion_mask"])
    trimmed = {}
    for name, value in batch.items():
        if name.startswith("prompt_"):
            value = value[:, start:]
        elif _has_rows(value) and value.shape[1:] == (width,):
            value = value[:, :end]
        trimmed[name] = value
    return trimmed


def _span(mask: torch.Tensor) -> tuple[int, int]:
    """The first column with a token, and the one after the last; at least one column."""
    is_used = mask.any(dim=0)
    columns = is_used.nonzero().flatten().tolist()
    if not columns:
        return 0, 1
    return columns[0], columns[-1] + 1
