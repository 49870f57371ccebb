"""What all exams share: how many cases, in which words, and how outcomes are compared."""

import random
from dataclasses import dataclass
from typing import Any

from stages.world.pretraining.curriculum import EVERYTHING
from stages.world.pretraining.lessons.plan import Curriculum
from stages.world.requests import Request, make_request
from stages.world.responses import Sentence, make_response


@dataclass(frozen=True)
class Setting:
    """How many cases an exam has and which words they are made of."""

    cases: int = 400
    seed: int = 0
    split: str = "held_out"

    def plan(self) -> Curriculum:
        """The full-length mixture in this setting's words."""
        return Curriculum(shares=EVERYTHING.shares, nonsense=0.0, split=self.split)

    def draw(self, rng: random.Random, kind: str | None = None) -> tuple[Request, list[Sentence]]:
        """A request and a response of the base mixture."""
        request = make_request(rng, self.split, kind)
        return request, make_response(rng, request, self.split == "held_out")


def compare(answers: list[Any], expected: list[Any]) -> list[bool]:
    """Whether each answer is the expected one."""
    return [answer == gold for answer, gold in zip(answers, expected, strict=True)]


def slot_words_of(split: str) -> str:
    """What a row's name says about the words of its cases."""
    return split.replace("_", "-") + " slot words"
