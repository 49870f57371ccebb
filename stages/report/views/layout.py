"""Places for the drawing of a pipeline: levels from the top down, and lanes beside the boxes.

In: for each step the numbers of its inputs, without cycles. Out: the place of its box, and of the
line that goes down to steps below the next level.

A step's level is the number of steps on the longest path to it from a source. The steps of a level
are side by side in the pipeline's order, so boxes form columns. All users of a step share one
line. It goes straight down below its box if the column is free there, and otherwise in a lane to
the right of the column. A column is as wide as its lanes need.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter

AIR = 12.0
"""Pixels between two boxes, and beside each lane."""
GAP = 26.0
"""Pixels between two levels; up to twice as many where lines go far sideways."""


@dataclass(frozen=True)
class Layout:
    """Places in pixels; lists are by the number of the step."""

    levels: list[int]
    """0 is the top."""
    middles: list[float]
    """The middle of each box along x."""
    trunks: dict[int, float]
    """Along x, the line of each step with a user below the next level."""
    tops: list[float]
    """By level: the upper edge of its boxes along y."""
    width: float

    def top(self, step: int) -> float:
        """The upper edge of a step's box along y."""
        return self.tops[self.levels[step]]

    def arrival(self, source: int, user: int) -> float:
        """The x at which the line of an input reaches the level above its user."""
        if self.levels[source] + 1 == self.levels[user]:
            return self.middles[source]
        return self.trunks[source]


def arrange(
    inputs: Sequence[Collection[int]],
    box: float,
    high: float,
) -> Layout:
    """Place steps whose boxes are `box` wide and `high` high."""
    levels = levels_of(inputs)
    columns = columns_of(levels)
    lanes = _lanes(inputs, levels, columns)
    lefts = []
    width = 0.0
    for column in range(max(columns) + 1):
        used = [lane for step, lane in lanes.items() if columns[step] == column]
        lefts.append(width)
        width += box + AIR + AIR * max(used, default=0)
    middles = [lefts[column] + box / 2 for column in columns]
    trunks = {}
    for step, lane in lanes.items():
        trunks[step] = middles[step]
        if lane:
            trunks[step] += box / 2 + AIR * lane
    right = max(lefts[-1] + box, *trunks.values(), 0.0)
    layout = Layout(levels, middles, trunks, [], right)
    return replace(layout, tops=_tops(inputs, layout, high))


def _tops(
    inputs: Sequence[Collection[int]],
    layout: Layout,
    high: float,
) -> list[float]:
    """The top of each level: the further lines go sideways, the more room they get."""
    sideways = [0.0] * (max(layout.levels) + 1)

    def widen(
        level: int,
        start: float,
        end: float,
    ) -> None:
        sideways[level] = max(sideways[level], abs(start - end))

    for user, sources in enumerate(inputs):
        for source in sources:
            arrival = layout.arrival(source, user)
            widen(layout.levels[source] + 1, layout.middles[source], arrival)
            widen(layout.levels[user], arrival, layout.middles[user])
    tops = [0.0]
    for distance in sideways[1:]:
        gap = GAP + min(GAP, distance / 16)
        tops.append(tops[-1] + high + gap)
    return tops


def levels_of(inputs: Sequence[Collection[int]]) -> list[int]:
    """Each step's level: one below the lowest of its inputs, and 0 without any."""
    levels = [0] * len(inputs)
    for step in TopologicalSorter(dict(enumerate(inputs))).static_order():
        above = [levels[source] for source in inputs[step]]
        levels[step] = max(above, default=-1) + 1
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
