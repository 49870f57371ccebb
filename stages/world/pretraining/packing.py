"""Lessons as rows of tokens; a shared opening is stored once, its branches are independent."""

import random
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from stages.world.pretraining.lessons.catalogue import draw_lesson
from stages.world.pretraining.lessons.plan import Curriculum, Lesson, Turn

PROMPT_WEIGHT = 0.05
"""A little language modelling on some prompt tokens gives a signal before the labels do."""

PROMPT_RATE = 0.2
"""The chance that a prompt token is one of those."""

MOST_MISSES = 12
"""How many lessons may fit no row before a batch counts as full."""


@dataclass(frozen=True)
class Packed:
    """One lesson as flat lists, with one item for each token."""

    tokens: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    """The next token, or -1 at the end."""
    weights: list[float] = field(default_factory=list)
    """The training weight of the target."""
    positions: list[int] = field(default_factory=list)
    """The token's place in its conversation."""
    branches: list[int] = field(default_factory=list)
    """The number of the token's conversation, from 1; 0 is the shared opening."""
    lessons: list[int] = field(default_factory=list)
    """The number of the lesson in its row, once it was put there."""


@dataclass(frozen=True)
class Batch:
    """Rows of packed lessons; all tensors but the mask have the shape (rows, length)."""

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor
    mask: Tensor
    """Whether a token may attend to another; shape (rows, length, length)."""
    filled: int
    """The number of tokens that are not padding."""


def encode_turns(
    tokenizer: PreTrainedTokenizerFast, turns: list[Turn]
) -> tuple[list[int], list[float]]:
    """Token ids of a conversation and the training weight of each token."""
    bpe = tokenizer._tokenizer
    tokens: list[int] = []
    weights: list[float] = []
    for turn in turns:
        marker = bpe.token_to_id(f"<|{turn.role}|>")
        content = bpe.encode(turn.content, add_special_tokens=False).ids
        tokens += [marker, *content, tokenizer.eos_token_id]
        inner = [turn.weight] * (len(content) + 1)
        if turn.first_weight is not None:
            inner[0] = turn.first_weight
        weights += [0.0, *inner]
    return tokens, weights


def pack_lesson(rng: random.Random, tokenizer: PreTrainedTokenizerFast, lesson: Lesson) -> Packed:
    """Pack a lesson: first the shared opening, then the rest of each conversation."""
    encoded = [encode_turns(tokenizer, turns) for turns in lesson]
    shared = _shared_length([tokens for tokens, _ in encoded])
    packed = Packed()
    if shared:
        tokens, weights = encoded[0]
        _append(rng, packed, tokens[:shared], weights[:shared], start=0, branch=0)
    for number, (tokens, weights) in enumerate(encoded, start=1):
        branch = number if shared else 0
        _append(rng, packed, tokens[shared:], weights[shared:], start=shared, branch=branch)
    return packed


def _shared_length(conversations: list[list[int]]) -> int:
    """The number of first tokens that all conversations share; 0 for a single conversation."""
    if len(conversations) == 1:
        return 0
    length = 0
    for tokens in zip(*conversations, strict=False):
        if len(set(tokens)) > 1:
            break
        length += 1
    return length


def _append(
    rng: random.Random,
    packed: Packed,
    tokens: list[int],
    weights: list[float],
    start: int,
    branch: int,
) -> None:
    """Add a piece of a conversation; its last token has no target."""
    packed.tokens.extend(tokens)
    packed.targets.extend([*tokens[1:], -1])
    for weight in weights[1:]:
        if not weight and rng.random() < PROMPT_RATE:
            weight = PROMPT_WEIGHT
        packed.weights.append(weight)
    packed.weights.append(0.0)
    packed.positions.extend(range(start, start + len(tokens)))
    packed.branches.extend([branch] * len(tokens))


def make_batch(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, plan: Curriculum, rows: int, length: int
) -> Batch:
    """Draw lessons until the rows are full; the result depends only on the state of `rng`."""
    contents: list[list[Packed]] = [[] for _ in range(rows)]
    room = [length] * rows
    misses = 0
    while misses < MOST_MISSES:
        _, lesson = draw_lesson(rng, plan)
        packed = pack_lesson(rng, tokenizer, lesson)
        while len(packed.tokens) > length and len(lesson) > 1:
            lesson = lesson[:-1]
            packed = pack_lesson(rng, tokenizer, lesson)
        size = len(packed.tokens)
        fitting = [row for row in range(rows) if room[row] >= size]
        if not fitting:
            misses += 1
            continue
        fullest = min(fitting, key=room.__getitem__)
        packed.lessons.extend([len(contents[fullest])] * size)
        contents[fullest].append(packed)
        room[fullest] -= size
    return _stack(contents, length)


def _stack(contents: list[list[Packed]], length: int) -> Batch:
    def column(name: str, padding: int = 0) -> Tensor:
        rows = []
        for lessons in contents:
            values = [value for packed in lessons for value in getattr(packed, name)]
            rows.append(values + [padding] * (length - len(values)))
        return torch.tensor(rows)

    lessons = column("lessons", -1)
    branches = column("branches")
    order = torch.arange(length)
    earlier = order[:, None] >= order[None, :]
    same_lesson = lessons[:, :, None] == lessons[:, None, :]
    in_opening = branches[:, None, :] == 0
    same_branch = branches[:, :, None] == branches[:, None, :]
    return Batch(
        tokens=column("tokens"),
        targets=column("targets"),
        weights=column("weights"),
        positions=column("positions"),
        mask=earlier & same_lesson & (in_opening | same_branch),
        filled=int((lessons >= 0).sum()),
    )
