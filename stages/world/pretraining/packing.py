"""Lessons as rows of tokens: shared openings stored once, branches that do not see one another."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from stages.world.pretraining.lessons import Curriculum, Lesson, Turn, draw_lesson

PROMPT_WEIGHT = 0.05
"""A little language modelling on some prompt tokens gives a signal before the labels do."""


@dataclass(frozen=True)
class Packed:
    """One lesson as flat lists; branch 0 is the shared opening. `targets` are -1 where nothing
    follows.
    """

    tokens: list[int]
    targets: list[int]
    weights: list[float]
    positions: list[int]
    branches: list[int]


@dataclass(frozen=True)
class Batch:
    """Rows of packed lessons, with a mask that says which token may see which."""

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor
    mask: Tensor
    filled: int


def encode_turns(
    tokenizer: PreTrainedTokenizerFast, turns: list[Turn]
) -> tuple[list[int], list[float]]:
    """Token ids of a conversation and the training weight of each token."""
    tokens: list[int] = []
    weights: list[float] = []
    for turn in turns:
        content = [*_encode(tokenizer, turn.content), tokenizer.eos_token_id]
        tokens += [_marker(tokenizer, turn.role), *content]
        inner = [turn.weight] * len(content)
        if turn.first_weight is not None:
            inner[0] = turn.first_weight
        weights += [0.0, *inner]
    return tokens, weights


def _encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer._tokenizer.encode(text, add_special_tokens=False).ids


def _marker(tokenizer: PreTrainedTokenizerFast, role: str) -> int:
    return tokenizer._tokenizer.token_to_id(f"<|{role}|>")


def pack_lesson(rng: random.Random, tokenizer: PreTrainedTokenizerFast, lesson: Lesson) -> Packed:
    """Lay a lesson out flat, its common opening first and then each conversation's own rest."""
    encoded = [encode_turns(tokenizer, turns) for turns in lesson]
    shared = 0
    if len(encoded) > 1:
        for column in zip(*(tokens for tokens, _ in encoded), strict=False):
            if len(set(column)) > 1:
                break
            shared += 1
    packed = Packed([], [], [], [], [])
    if shared:
        _append(rng, packed, *encoded[0], 0, shared, 0)
    for number, (tokens, weights) in enumerate(encoded, start=1):
        _append(rng, packed, tokens, weights, shared, len(tokens), number if shared else 0)
    return packed


def _append(rng: random.Random, packed: Packed, tokens: list[int], weights: list[float], start: int, end: int,
            branch: int) -> None:  # fmt: skip
    following = tokens[start + 1 : end]
    kept = weights[start + 1 : end]
    packed.tokens.extend(tokens[start:end])
    packed.targets.extend([*following, -1])
    packed.weights.extend(
        [w or (PROMPT_WEIGHT if rng.random() < 0.2 else 0.0) for w in kept] + [0.0]
    )
    packed.positions.extend(range(start, end))
    packed.branches.extend([branch] * (end - start))


def make_batch(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, plan: Curriculum, rows: int, length: int
) -> Batch:
    """Draw lessons until the rows are full; the result depends on the generator's state alone."""
    contents: list[list[Packed]] = [[] for _ in range(rows)]
    room = [length] * rows
    misses = 0
    while misses < 12:
        lesson = draw_lesson(rng, plan)[1]
        packed = pack_lesson(rng, tokenizer, lesson)
        while len(packed.tokens) > length and len(lesson) > 1:
            lesson = lesson[:-1]
            packed = pack_lesson(rng, tokenizer, lesson)
        size = len(packed.tokens)
        row = min(
            (number for number in range(rows) if room[number] >= size),
            key=room.__getitem__,
            default=None,
        )
        if row is None:
            misses += 1
            continue
        contents[row].append(packed)
        room[row] -= size
    return _stack(contents, length)


def _stack(contents: list[list[Packed]], length: int) -> Batch:
    rows = len(contents)
    tokens, targets, positions = (torch.zeros(rows, length, dtype=torch.long) for _ in range(3))
    weights = torch.zeros(rows, length)
    lessons = torch.full((rows, length), -1, dtype=torch.long)
    branches = torch.zeros(rows, length, dtype=torch.long)
    filled = 0
    for row, lessons_of_row in enumerate(contents):
        start = 0
        for number, packed in enumerate(lessons_of_row):
            end = start + len(packed.tokens)
            tokens[row, start:end] = torch.tensor(packed.tokens)
            targets[row, start:end] = torch.tensor(packed.targets)
            weights[row, start:end] = torch.tensor(packed.weights)
            positions[row, start:end] = torch.tensor(packed.positions)
            lessons[row, start:end] = number
            branches[row, start:end] = torch.tensor(packed.branches)
            start = end
        filled += start
    order = torch.arange(length)
    earlier = order[:, None] >= order[None, :]
    same_lesson = lessons[:, :, None] == lessons[:, None, :]
    visible = (branches[:, None, :] == 0) | (branches[:, :, None] == branches[:, None, :])
    return Batch(tokens, targets, weights, positions, earlier & same_lesson & visible, filled)
