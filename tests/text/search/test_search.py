"""The search against a scripted model whose self-evaluation is known."""

import asyncio
import random
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest

from stages.runtime.generation import Completion
from stages.text.search.search import Search
from stages.text.search.tree import Options

LENGTH = 8
SMALL = Options(sizes=(1, 2), draws=4, most_draws=12, least=3, most=20, more=6)


class Letters:
    """A model that writes `b` with a probability of 0.8 (`bad`), else `a`, a letter a token, and
    ends after some letters. A score is the share of `a`, from -1 to 1.
    """

    def __init__(self, options=SMALL, bad=0.8, score=None, encode=None, max_tokens=99, seed=0):
        self.bad = bad
        self.seed = seed
        self.score = score or (lambda text: 2 * text.count("a") / len(text) - 1)
        self.scored = []
        self.drawn = []
        self.search = Search(options, self.draw, self.rate, encode, max_tokens)

    async def draw(self, text, tokens, purpose):
        self.drawn.append((text, tokens, purpose))
        rng = random.Random(f"{self.seed}/{text}/{purpose}")
        more = min(tokens, LENGTH - len(text))
        new = "".join("b" if rng.random() < self.bad else "a" for _ in range(more))
        return Completion(new, "stop" if tokens > more else "length", 1, more)

    async def rate(self, text):
        self.scored.append(text)
        return self.score(text)

    def run(self):
        return asyncio.run(self.search.run())


def test_the_search_finds_what_sampling_does_not():
    """Half of the letters that the model writes are `b`; the paper's constants find better ones."""
    found, plain = [], []
    for seed in range(8):
        letters = Letters(Options(sizes=(1, 2)), bad=0.5, seed=seed)
        end = letters.run()
        assert (end.ended, end.tokens, len(end.text)) == ("stop", LENGTH, LENGTH)
        assert letters.search.visits == len(letters.scored)
        found.append(letters.score(end.text))
        plain.append(letters.score(letters.scored[0]))
    assert fmean(found) > 0.5 > 0.2 > fmean(plain)


def test_a_bad_beginning_is_given_up():
    """The first letter decides, and the model begins well in one of five answers only."""
    first, found = [], []
    for seed in range(20):
        letters = Letters(
            Options(sizes=(1, 9)), seed=seed, score=lambda text: 1.0 if text[0] == "a" else -1.0
        )
        found.append(letters.run().text[0])
        first.append(letters.scored[0][0])
    # Where ten draws do not hold an `a`, it is found late, and is not visited most.
    assert found.count("a") >= 19 and first.count("a") < 7


def test_the_same_draws_give_the_same_search():
    first, second = Letters(), Letters()
    assert first.run().text == second.run().text
    assert first.drawn == second.drawn and first.scored == second.scored


def test_a_good_model_is_left_soon_and_a_hopeless_one_after_its_budget():
    good, hopeless = Letters(bad=0.0), Letters(score=lambda text: -1.0)
    good.run()
    hopeless.run()
    # The first visit of the root grows its children; a set has at least `least` + 1
    # visits when it is kept, and carries them on, so that a later one needs at most `more`.
    sets = 6  # "", 1, 3, 5, 7 letters, and the end
    assert good.search.visits <= SMALL.least + 2 + sets * SMALL.more
    assert hopeless.search.visits > good.search.visits
    assert SMALL.most < hopeless.search.visits <= SMALL.most * sets


@pytest.mark.parametrize("score", [-1.0, 0.0, 1.0])
def test_the_budget_of_a_set_is_kept(score):
    options = Options(sizes=(99,), draws=3, most_draws=5, least=4, most=9, more=2)
    letters = Letters(options, score=lambda text: score)
    end = letters.run()
    # One set holds the whole answer. Its draws: 1 ahead, 3, and where all are bad up to 5.
    assert end.ended == "stop" and len(end.text) == LENGTH
    assert letters.search.visits == 9 if score < 1 else letters.search.visits <= 9
    numbers = [purpose for _, _, purpose in letters.drawn if purpose != "rest"]
    assert numbers == [str(n) for n in range(5 if score < 0 else 3)]


def test_an_answer_ends_at_its_most_tokens():
    letters = Letters(max_tokens=5)
    end = letters.run()
    assert (len(end.text), end.ended, end.tokens) == (5, "length", 5)
    assert all(len(text) + tokens <= 5 for text, tokens, _ in letters.drawn)


def test_vectors_are_of_what_follows_each_node():
    asked = []

    def encode(texts):
        asked.append(list(texts))
        return [np.array([1.0, text.count("b") * 0.1]) for text in texts]

    letters = Letters(encode=encode)
    assert letters.run().text != Letters().run().text, "similar sets shared their scores"
    answers = [texts[0] for texts in asked]
    assert set(answers) <= {text[place:] for text in letters.scored for place in range(LENGTH)}
    deep = [texts for texts in asked if len(texts) > 1]
    assert deep and all(one.endswith(two) for texts in deep for one, two in pairwise(texts))


def test_tokens_without_a_text_are_passed_over():
    class Silent(Letters):
        async def draw(self, text, tokens, purpose):
            if purpose == "rest":
                return await super().draw(text, tokens, purpose)
            return Completion("", "length", 1, tokens)

    end = Silent().run()
    assert len(end.text) == LENGTH and end.ended == "stop"
