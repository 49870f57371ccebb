"""What a model is asked: every item in several wordings, orders of its options, and once again.

In: items. Out: `Ask`s, one call each, and from an answered one a Answer row. The options of
an item stand in an order drawn by the seed (or in the file's), and in its rotations, so that over
all of them each option stands in each place once; with `reverse` the same from the last option to
the first. Each wording and repeat draws an order of its own: rotations remove a bias of places, but
not what a model makes of neighbours, which in one order would come again and look like reliability.
The retest comes after an exchange about something else: the same words twice have the same
log-probabilities, and would always agree.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase

from stages.evaluation.surveys.questionnaire import Item
from stages.guards.errors import UserError
from stages.guards.templates import render, template_hash
from stages.preferences.judging.ask import (
    MIN_MASS,
    MinMass,
    refuse_noise,
    refuse_unknown_options,
)
from stages.principles.constitution import Principle
from stages.principles.select import Selection
from stages.runtime.calls import RememberedGenerator
from stages.runtime.rows import Answer, Message
from stages.runtime.store import derive_seed
from stages.text.system_turn import SYSTEM_TEMPLATE, system_turn


@dataclass(frozen=True, kw_only=True)
class AskingOptions:
    """How a stage asks questions with options."""

    letters: str = ascii_uppercase
    """The names of the options, in order; each must be one token of every model."""
    template: str = "evaluation/benchmarks/choice.jinja"
    """Of the question; it is given question (the item), instruction, options and letters."""
    in_context: list[str] = field(default_factory=list)
    """The inputs whose models read the principles of `constitution` in their system turn."""
    constitution: Selection | None = None
    system_template: str = SYSTEM_TEMPLATE
    """The template of the system turn; its variable is principles."""
    min_mass: MinMass = MIN_MASS
    """An answer is dropped where a model puts less probability than this on all its letters."""

    def check(
        self,
        where: str,
    ) -> None:
        """Refuse too few letters, and the same twice."""
        if len(self.letters) < 2 or len(set(self.letters)) < len(self.letters):
            raise UserError(
                f"letters: {self.letters!r} does not name two options or more, each in its own way",
                where=where,
                fix="give a text of different characters, such as ABCDE or 01234",
            )


EXCHANGES = (
    ("What is seven plus five?", "Twelve."),
    ("Name a month that has thirty days.", "June."),
    ("What do bees make?", "Honey."),
    ("Which colour comes of blue and yellow?", "Green."),
)
"""(question, answer) about nothing that a survey measures."""
TEST = "test"
RETEST = "retest"


@dataclass(frozen=True)
class Ask:
    """One item in one wording and one order."""

    item: Item
    wording: int
    frame: str
    occasion: str
    """`test`, or `retest` with its number."""
    order: tuple[int, ...]
    """The option in each place."""
    number: int
    """Of the order, from 0."""

    @property
    def id(self) -> str:
        """Names the administration and the order."""
        return f"{self.item.id}/{self.administration}/{self.number}"

    @property
    def administration(self) -> str:
        """The wording and the occasion: all answers of one count as one reading."""
        return f"{self.wording}-{self.occasion}"

    def messages(
        self,
        template: str,
        letters: str,
    ) -> list[Message]:
        """Return the conversation that ends with the question."""
        names = letters[: len(self.order)]
        options = [self.item.options[option] for option in self.order]
        question = render(
            template,
            question=self.item.text,
            instruction=self.frame,
            options=list(
                zip(
                    names,
                    options,
                    strict=True,
                )
            ),
            letters=f"{', '.join(names[:-1])} or {names[-1]}",
        )
        turns: list[Message] = [{"role": "user", "content": question}]
        if self.occasion != TEST:
            number = int(self.occasion.removeprefix(RETEST))
            asked, answered = EXCHANGES[number % len(EXCHANGES)]
            opening = {"role": "user", "content": asked}
            turns = [opening, {"role": "assistant", "content": answered}, *turns]
        return turns


def orders_of(
    item: Item,
    administration: str,
    seed: int,
    shuffle: bool = True,
    reverse: bool = False,
    most: int | None = None,
) -> list[tuple[int, ...]]:
    """Return the orders in which the options of an item are shown in one administration.

    Args:
        shuffle: begin with an order drawn by the seed, not with the file's.
        reverse: add each order from its end.
        most: the number of rotations; None: one for each option.
    """
    order = list(range(len(item.options)))
    if shuffle:
        chance = derive_seed(
            seed,
            "order",
            item.content_id,
            administration,
        )
        random.Random(chance).shuffle(order)
    rotations = range(min(most or len(order), len(order)))
    orders = [tuple(order[shift:] + order[:shift]) for shift in rotations]
    return orders + [one[::-1] for one in orders] if reverse else orders


def asks_of(
    items: Sequence[Item],
    frames: Sequence[str],
    retests: int,
    seed: int,
    shuffle: bool = True,
    reverse: bool = False,
    most: int | None = None,
) -> Iterator[Ask]:
    """Yield every call that a model gets: each wording, then the first wording again."""
    readings = [(wording, frame, TEST) for wording, frame in enumerate(frames)]
    readings += [(0, frames[0], f"{RETEST}{number}") for number in range(retests)]
    for item in items:
        for wording, frame, occasion in readings:
            orders = orders_of(
                item,
                f"{wording}-{occasion}",
                seed,
                shuffle,
                reverse,
                most,
            )
            for number, order in enumerate(orders):
                yield Ask(
                    item,
                    wording,
                    frame,
                    occasion,
                    order,
                    number,
                )


async def put_ask(
    ask: Ask,
    name: str,
    generator: RememberedGenerator,
    principles: Sequence[Principle],
    options: AskingOptions,
) -> Answer:
    """Return a model's answer to one question.

    Raises:
        Drop: it was about to write something else, or an option has no probability.
    """
    messages = ask.messages(options.template, options.letters)
    turns = [*system_turn(principles, options.system_template), *messages]
    choice = await generator.choose(turns, tuple(options.letters[: len(ask.order)]))
    refuse_noise(choice, options.min_mass)
    refuse_unknown_options(choice)
    logprobs = [0.0] * len(ask.order)
    for option, log in zip(ask.order, choice.logprobs, strict=True):
        logprobs[option] = log
    return Answer(
        id=f"{name}/{ask.id}",
        prompt_id=ask.item.content_id,
        policy=name,
        kind=ask.item.dimension,
        question=ask.item.text,
        options=list(ask.item.options),
        gold=[],
        logprobs=logprobs,
        order=list(ask.order),
        taken=[max(range(len(logprobs)), key=logprobs.__getitem__)],
        right=None,
        mass=choice.mass,
        administration=ask.administration,
        model=generator.model.content,
        template=template_hash(options.template),
        context=[principle.id for principle in principles],
    )
