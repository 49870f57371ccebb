"""A tree of the beginnings of an answer: which one to look at next, and what a score changes.

A node adds a set of tokens to its parent's text. Its value is the mean score of the answers that
were seen behind it, in [-1, 1]; an answer counts a little for siblings behind which similar texts
stand. Pure: nothing here asks a model.

Source: RAIN (Li et al. 2023, arXiv 2309.07124, section 3), and its code (HH/nodes.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from stages.runtime.typed_config import Count, Few, NotNegative, Portion

SPREAD = 0.25
"""Of the chances of the sets that may come next, the part that is equal for all."""


@dataclass(frozen=True)
class Options:
    """How to search; the defaults are those of RAIN's code."""

    sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 4, 10)
    """Tokens of the first set, the second one, ...; all further sets are as long as the last."""
    draws: Few = 10
    """How often a set is drawn where the tree grows; equal ones are one node."""
    most_draws: Few = 20
    """Where all that was drawn is worth less than 0, one more is drawn at each visit, up to this.
    """
    least: Count = 6
    """A set is kept early if it was visited more often than this and is worth more than `good`."""
    good: Annotated[float, Field(ge=-1, le=1)] = 0.8
    most: Count = 50
    """Visits until a set is kept in any case; those that its parent had when it was kept count."""
    more: Count = 15
    """But there are at least so many new ones."""
    exploration: NotNegative = 2.0
    """The weight of likely sets that were seldom visited, against sets of high value."""
    similar: Portion = 0.95
    """Siblings are similar from this cosine on."""
    share: NotNegative = 0.2
    """What a score counts for a similar sibling, times their cosine; 0: nothing."""


@dataclass(eq=False)
class Node:
    """The beginning of an answer."""

    text: str = ""
    """All of it."""
    tokens: int = 0
    ended: str = ""
    """Why the answer ends here: `stop` or `length`; "" if it goes on."""
    depth: int = 0
    """The sets that it consists of."""
    chosen: int = 1
    """How often the model drew its last set."""
    drawn: int = 0
    """Sets that were drawn behind it."""
    children: list["Node"] = field(default_factory=list)
    value: float = 0.0
    weight: float = 0.0
    """The scores in `value`: its visits, and its shares in those of similar siblings."""
    visits: int = 0
    vector: Any = None
    """The mean vector of what followed its parent's text."""

    def add(self, score: float, weight: float = 1.0) -> None:
        """Take a score into the mean."""
        self.weight += weight
        self.value += weight * (score - self.value) / self.weight

    def adopt(self, child: "Node") -> None:
        """Add a set that was drawn; one that is there already becomes more likely."""
        for other in self.children:
            if (other.text, other.ended) == (child.text, child.ended):
                other.chosen += 1
                return
        self.children.append(child)

    def disappoints(self) -> bool:
        """Return whether all sets behind it were looked at, and are worth less than 0."""
        return all(child.weight and child.value < 0 for child in self.children)


def select(parent: Node, exploration: float, is_root: bool) -> Node:
    """Return the child to look at next: of high value, or likely and seldom visited (PUCT)."""
    total = sum(child.chosen for child in parent.children)
    spread = SPREAD if is_root else 0.0

    def rank(child: Node) -> float:
        chance = (1 - spread) * child.chosen / total + spread / len(parent.children)
        worth = (child.value + 1) / 2 if child.weight else 0.0
        return worth + exploration * chance * math.sqrt(parent.weight) / (1 + child.weight)

    return max(parent.children, key=rank)


def best_child(parent: Node) -> Node:
    """Return the child that was visited most; of several the one of the highest value."""
    return max(parent.children, key=lambda child: (child.weight, child.value, child.chosen))


def update(path: Sequence[Node], score: float, vectors: Sequence[Any], options: Options) -> None:
    """Take the score of an answer into the values of the nodes that led to it.

    Args:
        path: from the root to the node behind which the answer was written.
        vectors: of what followed each of these nodes in the answer, but for the last one; empty: no
            sibling is similar.
    """
    for node in path:
        node.visits += 1
        node.add(score)
    for parent, node, vector in zip(path, path[1:], vectors, strict=False):
        mean = vector if node.vector is None else node.vector
        node.vector = mean + (vector - mean) / node.visits
        for sibling in parent.children:
            if sibling is not node and sibling.vector is not None:
                cosine = _cosine(node.vector, sibling.vector)
                if cosine >= options.similar and options.share:
                    sibling.add(score, options.share * cosine)


def _cosine(one: Any, other: Any) -> float:
    return float(one @ other) / math.sqrt(float(one @ one) * float(other @ other))
