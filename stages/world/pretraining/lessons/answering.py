"""Lessons in answering: copy words, answer a request, answer under a system prompt."""

import random

from stages.world.grammar import DIMENSIONS, KINDS
from stages.world.pretraining.lessons.drawing import draw_exchange, draw_request, draw_response
from stages.world.pretraining.lessons.plan import Curriculum, Lesson, Turn, answer, ask
from stages.world.pretraining.principles import draw_wording
from stages.world.pretraining.wordings import Principle, draw_layout, render_prompt
from stages.world.responses import render
from stages.world.vocabulary import SLOTS
from stages.world.words import nonsense_word, slot_words


def copy_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """Repeat words, mostly invented ones.

    Without this drill the model never learns to copy unknown names.
    """
    if rng.random() < 0.4:
        text = render(draw_exchange(rng, plan)[1])
    else:
        text = " ".join(_draw_copied_word(rng) for _ in range(rng.randint(3, 16)))
    return [[ask("Repeat: " + text), answer(text)]]


def _draw_copied_word(rng: random.Random) -> str:
    if rng.random() < 0.65:
        word = nonsense_word(rng)
    else:
        slot = rng.choice(tuple(SLOTS))
        word = rng.choice(slot_words(slot, False))
    return word.capitalize() if rng.random() < 0.3 else word


def respond_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """A request and a response from the base mixture, good and bad."""
    request, sentences = draw_exchange(rng, plan)
    return [[ask(request.text), answer(render(sentences))]]


def steer_lesson(rng: random.Random, plan: Curriculum) -> Lesson:
    """A system prompt of principles, and a response that keeps them.

    Often one of the principles is one that the request tempts to break.
    """
    request = draw_request(rng, plan)
    dimensions = rng.sample(DIMENSIONS, rng.choice((1, 1, 1, 2, 3)))
    if rng.random() < 0.4:
        dimensions[0] = KINDS[request.kind].dimension
    dimensions = list(dict.fromkeys(dimensions))
    principles = [Principle(draw_wording(rng, dimension)) for dimension in dimensions]
    sentences = draw_response(rng, plan, request, bad_core=0.6, keep=tuple(dimensions))
    system = render_prompt("system", draw_layout(rng, "system"), principles=principles)
    return [[Turn("system", system), ask(request.text), answer(render(sentences))]]
