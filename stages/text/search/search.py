"""Search for an answer: look ahead, score what comes, and go back where it is bad.

Inner loop: down the tree to a beginning that was not looked at, write the rest of the answer behind
it, score that, and draw sets that may follow. Outer loop: once a set has proved good, or all visits
are spent, it is kept with the tree behind it; the others are given up.

Source: RAIN (Li et al. 2023, arXiv 2309.07124, algorithm 1), and its code (HH/main.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stages.runtime.generation import Completion
from stages.text.search.tree import Node, Options, best_child, select, update

Draw = Callable[[str, int, str], Awaitable[Completion]]
"""(the beginning of an answer, tokens, what the draw is for) -> what follows."""


@dataclass
class Search:
    """One search.

    Args:
        draw: continues an answer.
        rate: scores an answer, in [-1, 1].
        encode: texts to vectors; None: no set is similar to another.
        max_tokens: of the answer.

    Attributes:
        visits: how many answers were written and scored.
    """

    options: Options
    draw: Draw
    rate: Callable[[str], Awaitable[float]]
    encode: Callable[[Sequence[str]], Sequence[Any]] | None
    max_tokens: int
    visits: int = 0

    async def run(self) -> Node:
        """Return the end of an answer."""
        root = Node()
        while not root.ended:
            root = await self._next_set(root)
        return root

    async def _next_set(self, root: Node) -> Node:
        options = self.options
        for _ in range(max(options.most - root.visits, options.more)):
            await self._visit(root)
            best = best_child(root)
            if best.visits > options.least and best.value > options.good:
                break
        return best_child(root)

    async def _visit(self, root: Node) -> None:
        """Write one answer behind the most promising beginning, and score it."""
        self.visits += 1
        path = [root]
        while path[-1].children:
            node = path[-1]
            if node.drawn < self.options.most_draws and node.disappoints():
                await self._grow(node, 1)
            path.append(select(node, self.options.exploration, is_root=node is root))
        leaf = path[-1]
        end = leaf
        if not leaf.ended:
            end = await self._next(leaf, self.max_tokens, "rest")
        score = await self.rate(end.text)
        if not leaf.ended:
            await self._grow(leaf, self.options.draws)
            if not leaf.children:  # only tokens without a text were drawn
                leaf.adopt(end)
        vectors: Sequence[Any] = ()
        if self.encode and leaf is not root:
            vectors = self.encode([end.text.removeprefix(node.text) for node in path[:-1]])
        update(path, score, vectors, self.options)

    async def _grow(self, node: Node, draws: int) -> None:
        """Draw sets that may follow."""
        size = self.options.sizes[: node.depth + 1][-1]
        numbers = range(node.drawn, node.drawn + draws)
        node.drawn += draws
        for child in await asyncio.gather(*(self._next(node, size, str(n)) for n in numbers)):
            if child.ended or child.text != node.text:
                node.adopt(child)

    async def _next(self, node: Node, size: int, purpose: str) -> Node:
        """Draw a set of at most `size` tokens that follows a node."""
        room = min(size, self.max_tokens - node.tokens)
        completion = await self.draw(node.text, room, purpose)
        tokens = node.tokens + completion.completion_tokens
        is_full = completion.completion_tokens < room or tokens >= self.max_tokens
        return Node(
            text=node.text + completion.text,
            tokens=tokens,
            ended=completion.finish_reason if completion.finish_reason == "stop" or is_full else "",
            depth=node.depth + 1,
        )
