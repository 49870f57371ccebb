"""Places for a drawing of steps in layers: every step below its inputs, long edges beside the
boxes, few crossings.

In: for each step the numbers of its inputs, without circles. Out: for each step its level (0 is the
top) and the middle of its box along x, and where each edge passes the levels between its ends. All
edges of a step share one trunk that goes down
to its last user: a model that eight steps read is one line with eight branches.

The method is Sugiyama's: levels that keep trunks short, barycentres and swaps of neighbours against
crossings, then the least sideways moves under the distances that boxes and trunks keep (reweighted
least squares, row by row).
"""

from bisect import bisect_right, insort
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from itertools import pairwise
from math import inf
from random import Random

Cell = tuple[int, int]  # (step, level): the step's box on its own level, its trunk on a lower one
Rows = list[list[Cell]]
Near = dict[Cell, list[Cell]]

STARTS, SWEEPS, MOVES = 6, 12, 60
AIR = 10.0  # between two trunks; twice that between boxes
# up to moves of about this size squares are counted, beyond it distances: few bends, if larger ones
FIRM = 4.0


@dataclass(frozen=True)
class Layout:
    """`x` is the middle of each step's box; `routes`, for each edge (input, user), its x on every
    level in between.
    """

    levels: list[int]
    x: list[float]
    routes: dict[tuple[int, int], list[float]]
    width: float


def arrange(inputs: Sequence[Collection[int]], box: float) -> Layout:
    """Place steps whose boxes are `box` wide."""
    users: list[list[int]] = [
        [user for user, given in enumerate(inputs) if step in given] for step in range(len(inputs))
    ]
    level = levels(inputs, users)
    rows: Rows = [[] for _ in range(max(level) + 1)]
    above: Near = {}
    below: Near = {}

    def join(upper: Cell, lower: Cell) -> None:
        below.setdefault(upper, []).append(lower)
        above.setdefault(lower, []).append(upper)

    for step, at in enumerate(level):
        end = max((level[user] for user in users[step]), default=at + 1)
        for height in range(at, end):
            rows[height].append((step, height))
            if height > at:
                join((step, height - 1), (step, height))
    for user, given in enumerate(inputs):
        for step in sorted(given):
            join((step, level[user] - 1), (user, level[user]))
    rows = _order(rows, above, below)
    x = _places(rows, above, below, level, box)
    half = {(step, height): box / 2 if level[step] == height else 0.0 for step, height in x}
    left = min(x[cell] - half[cell] for cell in x)
    x = {cell: at - left for cell, at in x.items()}
    routes = {
        (step, user): [x[step, height] for height in range(level[step] + 1, level[user])]
        for user, given in enumerate(inputs)
        for step in sorted(given)
    }
    return Layout(
        level,
        [x[cell] for cell in enumerate(level)],
        routes,
        max(x[cell] + half[cell] for cell in x),
    )


def levels(inputs: Sequence[Collection[int]], users: Sequence[Sequence[int]]) -> list[int]:
    """As many levels as the longest chain has steps; each step where the trunks are shortest.

    Where that leaves a choice, a step stands right below its inputs, and one without inputs right
    above its users.
    """
    order = list(
        TopologicalSorter({step: list(given) for step, given in enumerate(inputs)}).static_order()
    )
    level = [0] * len(inputs)
    for step in order:
        level[step] = 1 + max((level[source] for source in inputs[step]), default=-1)
    deepest = max(level)
    for step in reversed(order):
        level[step] = min((level[user] for user in users[step]), default=deepest + 1) - 1

    def length(step: int, at: int) -> int:
        """Of the trunks that change when the step moves."""
        found = max((level[user] for user in users[step]), default=at) - at
        for source in inputs[step]:
            found += (
                max(at if user == step else level[user] for user in users[source]) - level[source]
            )
        return found

    for _ in inputs:
        before = list(level)
        for step in order:
            first = 1 + max((level[source] for source in inputs[step]), default=-1)
            last = min((level[user] for user in users[step]), default=deepest + 1) - 1
            choice = range(first, last + 1) if inputs[step] else range(last, first - 1, -1)
            level[step] = min(choice, key=partial(length, step))
        if level == before:
            break
    return level


def crossings(rows: Rows, below: Near) -> int:
    """How many pairs of edges cross."""
    found = 0
    for upper, lower in pairwise(rows):
        place = {cell: i for i, cell in enumerate(lower)}
        seen: list[int] = []
        for cell in upper:
            ends = sorted(place[end] for end in below.get(cell, []))
            found += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return found


def _order(rows: Rows, above: Near, below: Near) -> Rows:
    """The cells of each row, from left to right, with few crossings and, where these are equal,
    short edges.

    Sweeps find the best order near the one they begin with; so they begin with several, shuffled
    alike every time.
    """
    best, least = rows, (crossings(rows, below), inf)
    for sweep in range(STARTS * SWEEPS):
        if sweep % SWEEPS == 0:
            shuffle = Random(sweep).sample
            rows = [shuffle(row, len(row)) if sweep else list(row) for row in rows]
        downwards = sweep % 2 == 0
        near = above if downwards else below
        for at in range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1):
            other = {cell: i for i, cell in enumerate(rows[at - 1 if downwards else at + 1])}
            own = {cell: i for i, cell in enumerate(rows[at])}
            rows[at].sort(key=lambda cell: _mean([other[n] for n in near.get(cell, [])], own[cell]))
        for at in range(len(rows)):
            _swap(rows, at, above, below)
        if (found := (crossings(rows, below), _length(rows, below))) < least:
            best, least = [list(row) for row in rows], found
    return best


def _length(rows: Rows, below: Near) -> float:
    """How far the edges go sideways, if all cells were equally wide and the rows centred."""
    place = {cell: i - (len(row) - 1) / 2 for row in rows for i, cell in enumerate(row)}
    return sum(abs(place[cell] - place[end]) for cell, ends in below.items() for end in ends)


def _mean(values: Sequence[int], otherwise: int) -> float:
    return sum(values) / len(values) if values else otherwise


def _swap(rows: Rows, at: int, above: Near, below: Near) -> None:
    """Change neighbours in a row wherever their edges then cross less."""
    place = {cell: i for row in rows[max(0, at - 1) : at + 2] for i, cell in enumerate(row)}
    row = rows[at]

    def crossed(left: Cell, right: Cell) -> int:
        pairs = (
            (place[a], place[b])
            for near in (above, below)
            for a in near.get(left, [])
            for b in near.get(right, [])
        )
        return sum(a > b for a, b in pairs)

    for i in range(len(row) - 1):
        if crossed(row[i + 1], row[i]) < crossed(row[i], row[i + 1]):
            row[i], row[i + 1] = row[i + 1], row[i]


def _places(
    rows: Rows, above: Near, below: Near, level: Sequence[int], box: float
) -> dict[Cell, float]:
    """The middle of every cell along x. Bends of a trunk weigh more than those of a branch."""

    def trunk(cell: Cell) -> bool:
        return level[cell[0]] != cell[1]

    def apart(left: Cell, right: Cell) -> float:
        return sum(AIR / 2 if trunk(cell) else AIR + box / 2 for cell in (left, right))

    near = {
        cell: [
            (other, (1.0, 2.0, 8.0)[trunk(cell) + trunk(other)])
            for other in (*above.get(cell, []), *below.get(cell, []))
        ]
        for row in rows
        for cell in row
    }
    distances = [[apart(*pair) for pair in pairwise(row)] for row in rows]
    x: dict[Cell, float] = {}
    for row, distance in zip(rows, distances, strict=True):
        x |= dict(zip(row, spread([0.0] * len(row), [1.0] * len(row), distance), strict=True))
    for move in range(MOVES):
        for at in range(len(rows)) if move % 2 == 0 else reversed(range(len(rows))):
            pulls = [
                [(x[n], weight / (FIRM + abs(x[n] - x[cell]))) for n, weight in near[cell]]
                or [(x[cell], 1.0)]
                for cell in rows[at]
            ]
            weights = [sum(weight for _, weight in pull) for pull in pulls]
            wanted = [
                sum(place * weight for place, weight in pull) / whole
                for pull, whole in zip(pulls, weights, strict=True)
            ]
            x |= dict(zip(rows[at], spread(wanted, weights, distances[at]), strict=True))
    _straighten(x, rows, distances, level)
    return x


def spread(
    wanted: Sequence[float], weights: Sequence[float], apart: Sequence[float]
) -> list[float]:
    """The places nearest to the wanted ones, in least squares, that keep their order and distances
    (isotonic regression).
    """
    offsets = [0.0]
    for distance in apart:
        offsets.append(offsets[-1] + distance)
    blocks: list[tuple[float, float, int]] = []  # (mean, weight, how many)
    for place, weight, offset in zip(wanted, weights, offsets, strict=False):
        mean, count = place - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, more, many = blocks.pop()
            mean, weight, count = (
                (mean * weight + other * more) / (weight + more),
                weight + more,
                count + many,
            )
        blocks.append((mean, weight, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=False)]


def _straighten(
    x: dict[Cell, float], rows: Rows, distances: Sequence[Sequence[float]], level: Sequence[int]
) -> None:
    """Make each trunk vertical, for as many levels at a time as its neighbours leave room for."""
    trunks: dict[int, list[tuple[int, int]]] = {}
    for at, row in enumerate(rows):
        for i, (step, _) in enumerate(row):
            if level[step] != at:
                trunks.setdefault(step, []).append((at, i))

    def settle(run: Sequence[Cell], low: float, high: float) -> None:
        if run:
            middle = sum(x[cell] for cell in run) / len(run)
            x.update(dict.fromkeys(run, min(max(middle, low), high)))

    for places in trunks.values():
        run: list[Cell] = []
        low, high = -inf, inf
        for at, i in places:
            row, apart = rows[at], distances[at]
            left = x[row[i - 1]] + apart[i - 1] if i else -inf
            right = x[row[i + 1]] - apart[i] if i + 1 < len(row) else inf
            if max(low, left) > min(high, right):
                settle(run, low, high)
                run, low, high = [], -inf, inf
            run.append(row[i])
            low, high = max(low, left), min(high, right)
        settle(run, low, high)
