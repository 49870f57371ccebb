"""Places for the drawing of a pipeline: levels from the top down, and lanes beside the boxes.

In: for each step the numbers of its inputs, without circles. Out: where its box stands, and where
its line goes down to steps that are not on the next level.

A step's level is the number of steps on the longest way to it from a source. The steps of a level
stand side by side in the pipeline's order, so boxes form columns. All users of a step share one
line. It goes straight down below its box while the column is free there, and otherwise in a lane
to the right of the column, which is as wide as its lanes need.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

AIR = 12.0
"""Pixels between two boxes, and beside each lane."""


@dataclass(frozen=True)
class Layout:
    """Places along x in pixels; everything is listed by the number of the step."""

    levels: list[int]
    """0 is the top."""
    middles: list[float]
    """The middle of each box."""
    trunks: dict[int, float]
    """The line of each step with a user below the next level."""
    width: float


def arrange(inputs: Sequence[Collection[int]], box: float) -> Layout:
    """Place steps whose boxes are `box` wide."""
    levels = levels_of(inputs)
    columns = columns_of(levels)
    lanes = _lanes(inputs, levels, columns)
    lefts = []
    width = 0.0
    for column in range(max(columns) + 1):
        used = [lane for step, lane in lanes.items() if columns[step] == column and lane]
        lefts.append(width)
        width += box + AIR + AIR * max(used, default=0)
    trunks = {}
    for step, lane in lanes.items():
        left = lefts[columns[step]]
        trunks[step] = left + box + AIR * lane if lane else left + box / 2
    middles = [lefts[column] + box / 2 for column in columns]
    right = max(max(lefts) + box, *trunks.values(), 0.0)
    return Layout(levels, middles, trunks, right)


def levels_of(inputs: Sequence[Collection[int]]) -> list[int]:
    """Each step's level: one below the lowest of its inputs, and 0 without any."""
    levels = [0] * len(inputs)
    for step in TopologicalSorter(dict(enumerate(inputs))).static_order():
        levels[step] = 1 + max((levels[source] for source in inputs[step]), default=-1)
    return levels


def columns_of(levels: Sequence[int]) -> list[int]:
    """Each step's place on its level, counted from the left."""
    filled: Counter[int] = Counter()
    columns = []
    for level in levels:
        columns.append(filled[level])
        filled[level] += 1
    return columns


def _lanes(
    inputs: Sequence[Collection[int]], levels: Sequence[int], columns: Sequence[int]
) -> dict[int, int]:
    """By step, the lane of its line, counted from 1; 0 is straight below its box.

    A lane serves several steps, one below the other.
    """
    sizes = Counter(levels)
    ends: dict[int, list[int]] = {}
    lanes = {}
    for step in sorted(range(len(levels)), key=levels.__getitem__):
        users = [levels[user] for user, sources in enumerate(inputs) if step in sources]
        passed = range(levels[step] + 1, max(users, default=0))
        if not passed:
            continue
        if all(sizes[level] <= columns[step] for level in passed):
            lanes[step] = 0
            continue
        of_column = ends.setdefault(columns[step], [])
        free = [lane for lane, end in enumerate(of_column) if end <= levels[step]]
        if not free:
            free = [len(of_column)]
            of_column.append(0)
        of_column[free[0]] = passed.stop
        lanes[step] = free[0] + 1
    return lanes
