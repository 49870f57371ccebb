"""A judge ranks several answers to one request at once; their places are permuted.

In: a judge, a request, answers, criteria. Out: for each answer a number in [0, 1], its mean place:
1 for one that is best in every order. The judge sees the answers in several orders, rotations of
one permutation, so that over as many orders as answers each one stands in each place once. A reply
that does not name every answer once is no ranking: it is left out, and counted.

Ranking a list by its numbers is RankGPT's form (Sun et al. 2023, arXiv 2304.09542); a judge that
sees a whole group is the reward of RewardAnything (Yu et al. 2025, arXiv 2506.03637).
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from stages.preferences.judging.ask import user_turn
from stages.runtime.calls import RememberedGenerator
from stages.runtime.context import Drop
from stages.runtime.generation import Sampling
from stages.runtime.rows import Message, Proposal, request_text
from stages.runtime.store import derive_seed

RANK_TEMPLATE = "preferences/rubrics/rank_answers.jinja"
NO_RANKING = "no reply names every answer once"
CHAIN = re.compile(r"\[?\d+\]?(?:\s*[>,]\s*\[?\d+\]?)+")


@dataclass(frozen=True)
class Ranked:
    """What a judge says of the answers to one request."""

    scores: list[float]
    """Of each answer, in [0, 1]."""
    orders: int
    """How many orders it was asked in."""
    unread: int
    """Replies that are no ranking."""
    first_wins: int
    """Rankings in which the answer that was shown first is the best."""


async def rank_answers(
    judge: RememberedGenerator,
    prompt: Sequence[Message],
    answers: Sequence[str],
    criteria: Sequence[Proposal],
    *,
    template: str,
    orders: int,
    sampling: Sampling,
    seed: int,
) -> Ranked:
    """Rank answers, of which equal ones share a place.

    Args:
        template: its variables are request, answers and criteria.
        orders: how often the judge is asked, each time in another order; the answers' number at
            most.
        seed: of the first order and of the sampled replies.

    Raises:
        Drop: no reply is a ranking.
        TooLong: as `Generator.complete`.
    """
    texts = list(dict.fromkeys(answers))
    if len(texts) < 2:
        return Ranked([0.5] * len(answers), 0, 0, 0)
    shown = list_orders(texts, orders, seed)
    questions = []
    for number, order in enumerate(shown):
        listed = [texts[index] for index in order]
        question = user_turn(
            template, request=request_text(prompt), answers=listed, criteria=criteria
        )
        questions.append(
            judge.complete(question, sampling, derive_seed(seed, "order", str(number)))
        )
    replies = await asyncio.gather(*questions)
    places: dict[str, list[float]] = {text: [] for text in texts}
    rankings = 0
    first_wins = 0
    for order, reply in zip(shown, replies, strict=True):
        ranking = read_ranking(reply.text, len(texts))
        if ranking is None:
            continue
        rankings += 1
        first_wins += ranking[0] == 0
        for place, number in enumerate(ranking):
            places[texts[order[number]]].append(1 - place / (len(texts) - 1))
    if not rankings:
        raise Drop(NO_RANKING, replies[0].text[:200])
    scores = [fmean(places[text]) for text in answers]
    return Ranked(scores, len(shown), len(shown) - rankings, first_wins)


def list_orders(texts: Sequence[str], orders: int, seed: int) -> list[list[int]]:
    """Return the orders in which the texts are shown: rotations of one that the seed draws."""
    first = sorted(range(len(texts)), key=lambda index: derive_seed(seed, texts[index]))
    count = min(orders, len(texts))
    shown = []
    for number in range(count):
        start = number * len(texts) // count
        shown.append(first[start:] + first[:start])
    return shown


def read_ranking(reply: str, count: int) -> list[int] | None:
    """Return the places of the answers, best first, counted from 0; None where there are none.

    The last chain such as `[2] > [1] > [3]` counts; it must name each of `count` answers once.
    """
    chains = CHAIN.findall(reply)
    if not chains:
        return None
    numbers = [int(number) - 1 for number in re.findall(r"\d+", chains[-1])]
    return numbers if sorted(numbers) == list(range(count)) else None
